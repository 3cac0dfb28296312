from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Run

from tests.browser import CHROMIUM, open_page
from westofn.execution.account import Account, Limit
from westofn.execution.guards import Reading
from westofn.report import build, html, page
from westofn.report.build import ReportPaths, build_report

HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\"> \"double\" & 'single' <b>bold</b>"
)
NARROW = "main { max-width: 400px; }"  # no window of a headless Chromium is
PROBE = """
  const of = (id) => document.getElementById(id);
  const rows = () => document.querySelectorAll("#pair-rows tr:not(.pool)").length;
  const cell = (column) => document.querySelector("#pair-rows tr").children[column];
  const first = (column) => (cell(column).querySelector(".body") || cell(column)).textContent;
  const found = () => of("found").textContent;
  const type = (id, value) => { of(id).value = value; of(id).dispatchEvent(new Event("input")); };
  const press = (selector) => document.querySelector(selector).click();
  window.addEventListener("load", () => setTimeout(() => {
    const seen = { start: [rows(), found(), of("page").textContent] };
    seen.hostile = first(1);
    press("#next"); seen.second = [rows(), of("page").textContent, of("next").disabled];
    type("status", "likelihood"); seen.likelihood = [found(), first(9)];
    type("status", "dropped"); seen.dropped = found();
    type("status", ""); type("query", "POST 7:"); seen.search = [found(), first(0)];
    type("query", '<img src=x onerror="'); seen.quotes = found();
    type("query", "no such text"); seen.nothing = [rows(), found()];
    type("query", "");
    press("th[data-column=p_chosen] button"); seen.descending = first(3);
    press("th[data-column=p_chosen] button"); seen.ascending = first(3);
    seen.sort = document.querySelector("th[data-column=p_chosen]").getAttribute("aria-sort");
    seen.figures = document.querySelectorAll("[data-figure] svg").length;
    const legends = [...document.querySelectorAll("[data-figure] .role-legend")];
    const right = (element) => element.getBoundingClientRect().right;
    const cut = legends.filter((each) => right(each) > right(each.closest("svg")));
    seen.legends = [legends.length > 3, cut.length];
    const cells = document.querySelectorAll(".numbers tbody th, .pairs tbody td:first-child");
    seen.sticky = [...new Set([...cells].map((cell) => getComputedStyle(cell).position))];
    seen.images = document.querySelectorAll("img").length;
    seen.bold = document.querySelectorAll("#pair-rows b").length;
    seen.title = document.title;
    seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    tell(seen);
  }, 1500));
"""


class Fetches(HTMLParser):
    """Collects what a page would fetch, and its scripts by type."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.places: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = [str(value) for name, value in attrs if name in ("src", "href", "data")]
        self.places += [value.removeprefix("#") for value in named if value.startswith("#")]
        self.ids += [str(value) for name, value in attrs if name == "id"]
        self.fetched += [value for value in named if not value.startswith("#")]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]


def paths(run: Run) -> ReportPaths:
    out = run.data.parent / "out"
    return ReportPaths(
        out / "metrics.json", out / "headlines.json", out / "plots", out / "report.html"
    )


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds: the PNGs and the drawing library."""
    monkeypatch.setattr(build, "figure_png", lambda figure: figure.key.encode())
    monkeypatch.setattr(html, "drawing_library", lambda: "window.vegaEmbed = () => {};")


@pytest.mark.usefixtures("no_drawing")
def test_equal_inputs_give_equal_bytes(make_run: Callable[..., Run]) -> None:
    run = make_run(iterations=("k1", "k2"))
    files: list[dict[Path, bytes]] = []
    for _ in range(2):
        build_report(run.inputs(), paths(run))
        out = paths(run).page.parent
        files.append({path: path.read_bytes() for path in out.rglob("*") if path.is_file()})
        shutil.rmtree(out)
    assert len(files[0]) == 2 + 1 + 6 + 6
    assert files[0] == files[1]


@pytest.mark.usefixtures("no_drawing")
def test_plots_without_data_are_empty_and_their_old_png_goes(
    make_run: Callable[..., Run],
) -> None:
    build_report(make_run().inputs(), (out := paths(make_run())))
    assert (out.plots / "png/label_accuracy.png").read_bytes() == b"label_accuracy"
    build_report(make_run(gold=False).inputs(), out)
    assert json.loads((out.plots / "label_accuracy.json").read_text()) == []
    assert not (out.plots / "png/label_accuracy.png").exists()
    assert "No figure. These data have no gold annotator" in out.page.read_text()


@pytest.mark.usefixtures("no_drawing")
def test_the_page_fetches_nothing(run: Run) -> None:
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text()
    parser = Fetches()
    parser.feed(text)
    assert parser.fetched == []
    assert parser.tags.count("script") == 6
    assert "default-src 'none'" in text
    assert parser.inline == []  # a strict policy refuses styles and handlers in attributes


@pytest.mark.usefixtures("no_drawing")
def test_the_contents_lead_to_every_section_and_early_to_the_pairs(run: Run) -> None:
    run.checks = [Reading("cut", "sample k1", 0.02), Reading("cut", "rlhf k1", 0.8)]
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text()
    parser = Fetches()
    parser.feed(text)
    sections = re.findall(r'<section aria-labelledby="([^"]+)"', text)
    assert parser.places == sections
    assert set(sections) <= set(parser.ids)
    assert sections.index("pairs") == 1
    assert "Synthetic pairs (10)" in text


@pytest.mark.usefixtures("no_drawing")
def test_a_guard_that_fails_warns_at_the_top_and_one_that_holds_is_listed(run: Run) -> None:
    build_report(run.inputs(), paths(run))
    assert 'id="checks"' not in paths(run).page.read_text()
    run.checks = [Reading("cut", "sample k1", 0.02), Reading("cut", "rlhf k1", 0.8)]
    build_report(run.inputs(), paths(run))
    head, _, rest = paths(run).page.read_text().partition("</header>")
    assert "responses that the limit of tokens cut: rlhf k1 80.0\u00a0%, needs at most" in head
    assert "checked: responses that the limit of tokens cut: sample k1 2.0\u00a0% (at" in rest
    assert "checked:" not in head


@pytest.mark.usefixtures("no_drawing")
def test_the_ends_of_an_interval_are_joined_by_a_word(run: Run) -> None:
    run.evaluation("k1", best_of_n_gold=-16.1, best_of_n_gold_low=-19.08, best_of_n_gold_high=-13.1)
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text()
    assert "−19.08 to −13.10" in text
    assert not re.search(r"\d–[−\d]", text)


@pytest.mark.usefixtures("no_drawing")
def test_text_of_data_and_parameters_never_becomes_markup(run: Run) -> None:
    run.prompts(lambda row: HOSTILE)
    run.selection("k1", lambda row, index: HOSTILE + str(index))
    run.json("prepared/counts.json", {HOSTILE: 3})
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text()
    parser = Fetches()
    parser.feed(text)
    assert "img" not in parser.tags
    assert "b" not in parser.tags
    assert parser.tags.count("script") == 6
    assert 'onerror=\\"document' in text.replace("\\\\", "\\")  # it is there, as text
    assert "&lt;/script&gt;" in text  # the hostile count


@pytest.mark.usefixtures("no_drawing")
def test_a_sampled_page_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page.embed_pairs
    monkeypatch.setattr(page, "embed_pairs", lambda inputs: whole(inputs, max_pairs=4))
    build_report(run.inputs(), paths(run))
    assert "4 of 10 selected pairs are here" in paths(run).page.read_text()


@pytest.mark.usefixtures("no_drawing")
def test_an_iteration_by_another_selector_is_not_called_west_of_n(run: Run) -> None:
    run.json("loop/k1/pairs/summary.json", {"n_candidates": 4, "selector": "random_pair"})
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text()
    assert "k1, random pair" in text
    assert "West-of-N k1" not in text


def test_importing_the_report_imports_no_model_or_drawing_library() -> None:
    heavy = "{'torch', 'transformers', 'altair', 'vl_convert', 'jinja2'}"
    code = (
        "import sys, westofn.report.build, westofn.report.console; "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the page's script")
def test_a_browser_draws_the_figures_and_finds_sorts_and_pages_hostile_pairs(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "figure_png", lambda figure: figure.key.encode())
    run = make_run(pairs=40, iterations=("k1",))
    run.selection("k1", lambda row, index: f"{HOSTILE} {index}" if row < 3 else f"answer {index}")
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text()
    assert len(text.encode()) < 5_000_000
    opened = open_page(text, PROBE, tmp_path, style=NARROW)
    seen = opened.seen
    assert opened.console == []
    assert seen["start"] == [10, "40 of 40 pairs", "Page 1 of 4"]
    assert seen["hostile"] == f"{HOSTILE} 0"
    assert seen["second"] == [10, "Page 2 of 4", False]
    assert seen["likelihood"] == ["1 of 40 pairs", "dropped: likelihood"]
    # Of 40 pairs every fifth is dropped for its confidence, and one for its likelihood.
    assert seen["dropped"] == "9 of 40 pairs"
    assert seen["search"][0] == "1 of 40 pairs"
    assert seen["search"][1].startswith("Post 7:")
    assert seen["quotes"] == "3 of 40 pairs"
    assert seen["nothing"] == [0, "0 of 40 pairs"]
    # p_chosen is (row + 0.5) / 40: 39.5 / 40 rounds up to 0.988, 0.5 / 40 = 0.0125.
    assert seen["descending"] == "0.988"
    assert seen["ascending"] == "0.013"
    assert seen["sort"] == "ascending"
    assert seen["figures"] == 1 + 2 + 5 + 1 + 4 + 1
    assert seen["legends"] == [True, 0]  # none ends beyond its figure
    assert seen["sticky"] == ["sticky"]
    assert (seen["images"], seen["bold"]) == (0, 0)
    assert seen["title"] == "West-of-N synthetic preferences: results"
    assert seen["overflow"] == 0  # wide tables scroll inside their own container


POOLS = """
  const of = (id) => document.getElementById(id);
  const focus = (element) => { element.focus(); return document.activeElement === element; };
  const button = () => document.querySelector("#pair-rows .unfold");
  const shape = (element) => {
    const { left, right, top, bottom } = element.getBoundingClientRect();
    return { x: Math.round((left + right) / 2), y: Math.round((top + bottom) / 2) };
  };
  window.addEventListener("load", () => setTimeout(() => {
    const buttons = document.querySelectorAll("#pair-rows .unfold");
    const place = of(button().getAttribute("aria-controls"));
    const seen = { button: button().textContent, pools: buttons.length, sampled: !!of("pooled") };
    seen.closed = [button().getAttribute("aria-expanded"), place.hidden, place.children.length];
    seen.focus = focus(button());
    button().click();
    seen.open = [button().getAttribute("aria-expanded"), place.hidden, place.cells[0].colSpan];
    seen.rows = [...place.querySelectorAll(".candidates tbody tr")].map((row) =>
      [...row.cells].map((cell) => (cell.querySelector(".whole-text") || cell).textContent));
    seen.badges = [...place.querySelectorAll(".candidates tbody tr")].map((row) =>
      [...row.querySelectorAll(".badge")].map((each) => each.textContent).join(" "));
    seen.strips = [...place.querySelectorAll("svg")].map((each) =>
      [each.role, each.ariaLabel, each.querySelectorAll(".tick").length]);
    const strip = place.querySelector("svg");
    const [chosen, rejected] = [strip.querySelector(".chosen"), strip.querySelector(".rejected")];
    seen.order = shape(rejected).x < shape(chosen).x && shape(chosen).y < shape(rejected).y;
    seen.colours = [chosen, rejected].map((each) => getComputedStyle(each).fill);
    const body = place.querySelector(".pool-body").getBoundingClientRect();
    const view = document.querySelector(".of-pairs").getBoundingClientRect();
    seen.inView = body.left >= view.left && body.right <= view.right && body.width > 300;
    seen.readable = place.querySelector(".candidates td.text").clientWidth >= 190;
    const long = place.querySelector("details");
    const short = long.querySelector("summary");
    seen.long = [long.open, short.textContent.length, focus(short)];
    seen.region = focus(place.querySelector(".candidates"));
    of("status").value = "kept"; of("status").dispatchEvent(new Event("input"));
    const unfolded = () => document.querySelectorAll("#pair-rows .pool:not([hidden])").length;
    seen.kept = unfolded();
    of("status").value = ""; of("status").dispatchEvent(new Event("input"));
    seen.again = [unfolded(), button().getAttribute("aria-expanded")];
    button().click();
    seen.folded = unfolded();
    seen.foreign = document.querySelectorAll("img, #pair-rows b").length;
    seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    tell(seen);
  }, 1000));
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the page's script")
@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize(
    ("flags", "colours"),
    [
        ((), ["rgb(26, 127, 75)", "rgb(179, 38, 30)"]),
        (
            ("--blink-settings=preferredColorScheme=0",),
            ["rgb(111, 207, 151)", "rgb(242, 147, 140)"],
        ),
    ],
)
def test_a_browser_unfolds_the_pool_of_a_pair(
    run: Run, tmp_path: Path, flags: tuple[str, ...], colours: list[str]
) -> None:
    texts = [HOSTILE, "a word " * 60, "same", "same"]
    run.selection("k1", lambda row, index: texts[(index - row) % 4])
    run.margins("k1", lambda row, index: (1.5, -1.5, -0.25, -0.25)[(index - row) % 4])
    run.human({row: [("same", HOSTILE)] for row in range(10)})
    build_report(run.inputs(), paths(run))
    opened = open_page(paths(run).page.read_text(), POOLS, tmp_path, *flags, style=NARROW)
    seen = opened.seen
    assert opened.console == []
    assert (seen["button"], seen["pools"], seen["sampled"]) == ("Pool of 4", 10, False)
    assert seen["closed"] == ["false", True, 0]
    assert seen["open"] == ["true", False, 10]
    assert seen["rows"] == [
        ["1", HOSTILE, "1.50", "−0.60", "10", "0.00rank 3"],
        ["2", "same", "−0.25", "−0.80", "10", "1.00rank 1"],
        ["4", texts[1], "−1.50", "−0.70", "10", ""],
    ]
    assert seen["badges"] == ["best chosen", "×2", "worst rejected"]
    ends = "the teacher's best 1.50; its worst −1.50; ▼\u00a0chosen 1.50; ▲\u00a0rejected −1.50."
    assert seen["strips"][0] == ["img", f"Mean margin: −1.50 to 1.50; {ends}", 3]
    assert seen["strips"][1][1].startswith("Share of human comparisons won: 0.00 to 1.00; the")
    assert (seen["order"], seen["inView"], seen["readable"]) == (True, True, True)
    assert seen["colours"] == colours
    assert seen["long"][0] is False
    assert seen["long"][1] < 160 < len(texts[1])
    assert (seen["focus"], seen["long"][2], seen["region"]) == (True, True, True)
    assert (seen["again"], seen["folded"]) == ([1, "true"], 0)
    assert seen["kept"] == 0  # the first pair is dropped; the filter hides it with its pool
    assert (seen["foreign"], seen["overflow"]) == (0, 0)


@pytest.mark.usefixtures("no_drawing")
def test_the_page_says_how_many_pairs_have_their_pool(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_report(run.inputs(), paths(run))
    assert "Each pair can show the pool" in paths(run).page.read_text()
    whole = page.embed_pairs
    monkeypatch.setattr(page, "embed_pairs", lambda inputs: whole(inputs, max_pool_bytes=2_500))
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text()
    assert re.search(r"[2-9] of these pairs, taken at equal distances, can show the pool", text)
    assert "Pairs with a pool" in text
    monkeypatch.setattr(page, "embed_pairs", lambda inputs: whole(inputs, max_pool_bytes=90))
    build_report(run.inputs(), paths(run))
    assert "the responses are too long for this page" in paths(run).page.read_text()


@pytest.mark.usefixtures("no_drawing")
def test_the_page_has_the_account_of_every_stage_and_opens_with_the_warnings(run: Run) -> None:
    run.accounts = [
        Account("sft", 200, 200, {}, "examples", ["3 prompts trimmed"]),
        Account("hf100", 179, 46, {"too_long": 133}, limit=Limit(32, 90)),
    ]
    build_report(run.inputs(), paths(run))
    text = paths(run).page.read_text().replace("\u00a0", " ")
    warning = "hf100: 74 % of pairs are too long for sft.max_response_tokens 32; 90 keeps"
    assert text.count(warning) == 1
    assert text.index(warning) < text.index('id="headline"')
    assert re.search(r"hf100</th><td>179</td><td>pairs</td><td>46</td><td>25.7</td>", text)
    assert "<small>3 prompts trimmed</small>" in text
