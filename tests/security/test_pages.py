"""The pages in a real browser, with texts of an attacker in every place that data reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.browser import CHROMIUM, open_page
from tests.report.conftest import Run
from tests.study.planted import planted
from westofn.artifacts.decisions import DECISIONS
from westofn.execution.guards import Reading
from westofn.exporting.questions import Question, label_page
from westofn.report import build
from westofn.report.build import ReportPaths, build_report
from westofn.report.inputs import read_inputs
from westofn.study.pages.html import write_study_page

RUN_CODE = "window.owned = true"
HOSTILE = (
    f"</script><script>{RUN_CODE}</script><img src=x onerror='{RUN_CODE}'>"
    f'<svg/onload="{RUN_CODE}"><a href="javascript:{RUN_CODE}">x</a> '
    f"\"onfocus='{RUN_CODE}' autofocus x=\" {{{{7*7}}}} <!--<script> \u2028\u2029\u202e 😀"
)
HALF_A_PAIR = HOSTILE + "\ud800"
LOOK = """
  const look = () => ({
    owned: "owned" in window,
    scripts: [...document.scripts].filter((script) => script.src).length,
    foreign: document.querySelectorAll(
      "img, iframe, object, embed, base, a[href^=javascript], [onerror], [onload], [onfocus]"
    ).length,
    figures: document.querySelectorAll("[data-figure] svg").length,
    ground: getComputedStyle(document.body).backgroundColor,
  });
  const of = (id) => document.getElementById(id);
"""
SAFE = {"owned": False, "scripts": 0, "foreign": 0}
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
IN_THE_DARK = "--blink-settings=preferredColorScheme=0"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the pages' scripts")


def report_page(tmp_path: Path) -> str:
    run = Run(tmp_path / "data", pairs=12, iterations=("k1",), gold=True)
    run.prompts(lambda row: HOSTILE + str(row))
    run.selection("k1", lambda row, index: HOSTILE + str(index))
    run.json("prepared/counts.json", {HOSTILE: 3})
    path = run.data / "loop/k1/synthetic/decisions.parquet"
    decisions = DECISIONS.read(path).with_columns(
        dropped_by=pl.when(pl.col("kept")).then(None).otherwise(pl.lit("likelihood"))
    )
    DECISIONS.write(decisions, path)
    inputs = read_inputs(
        run.data,
        ("k1",),
        base_model={HALF_A_PAIR: HALF_A_PAIR, "family": HOSTILE},
        students={"k1": {HOSTILE: HOSTILE}},
        accounts=[],
        checks=[Reading("chance", HOSTILE, 0.4)],
        seed=7,
    )
    out = ReportPaths(
        tmp_path / "metrics.json",
        tmp_path / "headlines.json",
        tmp_path / "plots",
        tmp_path / "report.html",
    )
    build_report(inputs, out)
    return out.page.read_text()


def study_page(tmp_path: Path) -> str:
    study = planted()
    for seed in study.runs:
        for table in ("fits", "curves"):
            for row in seed["tables"][table]:
                row["student"] = {"hf50": HALF_A_PAIR}.get(row["student"], row["student"])
    write_study_page(study, tmp_path / "study.html")
    return (tmp_path / "study.html").read_text()


def labelling_page(tmp_path: Path) -> str:
    del tmp_path
    return label_page([Question(f"q{n}", f"{HOSTILE}{n}", HOSTILE, HOSTILE, 0.5) for n in range(3)])


PAGES: dict[str, Callable[[Path], str]] = {
    "report": report_page,
    "study": study_page,
    "labelling": labelling_page,
}


@pytest.fixture(autouse=True)
def no_pngs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "figure_png", lambda figure: figure.key.encode())


def opened(page: str, probe: str, folder: Path, *flags: str) -> tuple[dict[str, Any], list[str]]:
    script = f'{LOOK} addEventListener("load", () => setTimeout(() => {{ {probe} }}, 1500));'
    result = open_page(page, script, folder, *flags)
    return result.seen, result.console


def test_a_hostile_report_is_text_and_its_search_pages_and_tips_work(tmp_path: Path) -> None:
    seen, console = opened(
        report_page(tmp_path),
        """
        const mark = document.querySelector("[data-figure] svg .mark-symbol path");
        const { x, y } = mark.getBoundingClientRect();
        const at = { bubbles: true, clientX: x + 1, clientY: y + 1 };
        mark.dispatchEvent(new PointerEvent("pointermove", at));
        const shown = of("vg-tooltip-element");
        const cell = document.querySelector("#pair-rows .body").textContent;
        document.querySelector("#pair-rows .unfold").click();
        const pool = document.querySelector("#pair-rows .pool .whole-text").textContent;
        of("query").value = "<script>WINDOW.owned";
        of("query").dispatchEvent(new Event("input"));
        tell({ ...look(), cell, pool, found: of("found").textContent,
               tip: shown && getComputedStyle(shown).visibility });
        """,
        tmp_path,
    )
    assert console == []
    assert {key: seen[key] for key in SAFE} == SAFE
    assert seen["cell"] == seen["pool"] == HOSTILE + "0"
    assert seen["found"] == "12 of 12 pairs"
    assert seen["figures"] >= 10
    assert (seen["tip"], seen["ground"]) == ("visible", LIGHT)


def test_a_hostile_study_is_text_and_follows_a_dark_scheme(tmp_path: Path) -> None:
    seen, console = opened(study_page(tmp_path), "tell(look());", tmp_path, IN_THE_DARK)
    assert console == []
    assert {key: seen[key] for key in SAFE} == SAFE
    assert seen["figures"] >= 30
    assert seen["ground"] == DARK


def test_a_hostile_question_is_text_and_can_be_answered_undone_and_downloaded(
    tmp_path: Path,
) -> None:
    seen, console = opened(
        labelling_page(tmp_path),
        """
        const prompt = of("prompt").textContent;
        document.querySelector("[data-label=a]").click();
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "t" }));
        of("undo").click();
        let saved = "";
        HTMLAnchorElement.prototype.click = function () { saved = this.download + this.href; };
        of("download").click();
        tell({ ...look(), prompt, saved, status: of("status").textContent, lines: lines() });
        """,
        tmp_path,
    )
    assert console == []
    assert {key: seen[key] for key in SAFE} == SAFE
    assert seen["prompt"] == HOSTILE + "0"
    assert seen["status"] == "Question 2 of 3, 1 answered"
    assert '"label":"a"' in seen["lines"]
    assert seen["saved"].startswith("answers.jsonlblob:")


@pytest.mark.parametrize("name", PAGES)
def test_markup_that_escaping_missed_would_not_run(name: str, tmp_path: Path) -> None:
    page = PAGES[name](tmp_path)
    missed = f"<script>{RUN_CODE}</script><img src=x onerror='{RUN_CODE}'><b style='color: red'>"
    page = page.replace("<main>", f"<main>{missed}")
    probe = """
      let evaluated = true;
      try { eval("1"); } catch (error) { evaluated = false; }
      const colour = getComputedStyle(document.querySelector("b")).color;
      fetch("file:///etc/hostname").then(() => true, () => false).then((fetched) =>
        tell({ owned: look().owned, evaluated, fetched, red: colour === "rgb(255, 0, 0)" }));
    """
    seen, console = opened(page, probe, tmp_path)
    assert seen == {"owned": False, "evaluated": False, "fetched": False, "red": False}
    assert len([line for line in console if "Content Security Policy" in line]) >= 4
