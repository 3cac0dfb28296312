"""The study's page on a planted study: points, findings, figures and what is not drawn."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.study.planted import planted
from westofn.errors import DataError
from westofn.report import build, html
from westofn.report.figures import figure_png, figure_specs
from westofn.study.means import main_difference, table_difference
from westofn.study.pages import families, findings
from westofn.study.pages import points as records
from westofn.study.pages.figures import NOTHING
from westofn.study.pages.html import ORDER, ShownFigure, shown_figures, write_study_page
from westofn.study.records import Study, read_study

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = {family.key: family for family in families.FAMILIES}
PANELS = {
    "study_baselines": 3,
    "study_prior": 3,
    "study_networks": 3,
    "study_pool_size": 3,
    "study_selectors": 2,
    "study_filters": 2,
    "study_mixing": 2,
    "study_comparators": 2,
    "study_ensembles": 2,
    "study_conditions": 2,
    "study_synthetic_bases": 3,
    "study_theorem": 2,
    "study_overoptimisation": 4,
    "study_rounds": 4,
}


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_the_committed_study_can_be_read() -> None:
    study = read_study(ROOT / "study.json")
    assert len(study.runs) == len(study.seeds)
    assert bool(shown_figures(study)) is bool(study.seeds)


def drawn(study: Study) -> dict[str, ShownFigure]:
    return {item.figure.key: item for item in shown_figures(study)}


@pytest.mark.parametrize(
    ("value", "needed"),
    [
        ({"runs": []}, "seeds: needs a list of whole numbers"),
        ({"runs": [], "seeds": [True]}, "seeds: needs a list of whole numbers"),
        ({"runs": [], "seeds": [0, 1]}, "0 runs, needs one a seed, 2"),
        ({"runs": 3, "seeds": []}, "no list of runs"),
        ({"runs": [{"main": {}, "arms": []}], "seeds": [7]}, "seed 7: arms, tables: needs a JSON"),
        ({"runs": ["x"], "seeds": [7]}, "seed 7: main, arms, tables: needs a JSON"),
    ],
)
def test_a_broken_study_is_refused_with_what_it_needs(
    tmp_path: Path, value: object, needed: str
) -> None:
    path = written(tmp_path / "study.json", value)
    with pytest.raises(DataError, match=re.escape(needed)) as caught:
        read_study(path)
    assert str(caught.value).startswith(str(path))
    assert "make study" in str(caught.value)


def test_differences_are_paired_by_seed() -> None:
    # HF50 moves by 10 points a seed, West-of-N with it: 3 ± 4.303 · 1 / sqrt(3) = 2.484 points.
    rows = records.differences(planted().runs, FAMILIES["baselines"])
    west = next(row for row in rows if row.arm == "west").differences["accuracy"]
    assert west.mean == pytest.approx(0.03)
    assert west.half == pytest.approx(0.02484, abs=1e-5)


def test_a_forest_has_a_row_an_arm_filled_where_the_interval_excludes_zero() -> None:
    rows = records.differences(planted().runs, FAMILIES["baselines"])
    forest = {row["arm"]: row for row in records.forest(rows, "accuracy")}
    assert "HF50" not in forest
    assert {"West-of-N", "HF100", "RLAIF", "RLCD", "HF50, again", "shuffled labels"} <= set(forest)
    assert forest["West-of-N"]["difference"] == pytest.approx(3.0)
    assert forest["West-of-N"]["low"] == pytest.approx(0.516, abs=1e-3)
    assert forest["West-of-N"]["excludes_zero"] is True
    # 1 ± 2.484 points
    assert forest["best against random"]["excludes_zero"] is False
    assert forest["RLCD, rescored by the\njudge"]["excludes_zero"] is True


def test_gold_is_not_scaled_to_points() -> None:
    rows = records.differences(planted().runs, FAMILIES["baselines"])
    forest = {row["arm"]: row for row in records.forest(rows, "best_of_n_gold")}
    assert forest["shuffled labels"]["difference"] == pytest.approx(-2.0)


def test_the_finding_names_effects_only() -> None:
    text = findings.compared(planted().runs, FAMILIES["baselines"])
    held_out, _, _ = text.partition("; ")
    assert held_out.startswith("Against HF50: held-out accuracy higher with West-of-N, HF100, self")
    assert "“RLAIF, soft labels”" in held_out
    assert held_out.endswith("and lower with shuffled labels (−20.0 points)")
    assert "best against random" not in text
    assert "best-of-64 gold" in text
    assert "shuffled labels (−2.00)" in text


def test_arms_are_also_compared_with_the_one_that_they_vary() -> None:
    # Against HF50 all are at 4 points or, without filter, at 6; so with filters they lose 2 ± 0.
    text = findings.compared(planted().runs, FAMILIES["filters"])
    assert text.startswith("Against HF50: held-out accuracy higher with each of the 7 arms;")
    assert "Against no filter: held-out accuracy lower with each of the 6 arms" in text


def test_west_of_n_is_compared_within_each_setting() -> None:
    rows = records.differences(planted().runs, FAMILIES["conditions"])
    assert [row.title for row in rows] == list(families.CONDITIONS.values())
    values = {row.arm: row.differences["accuracy"].mean for row in rows}
    assert values["west"] == pytest.approx(0.03)
    assert values["noise20_west"] == pytest.approx(0.04)
    assert values["human200_west"] == pytest.approx(0.04 - 0.05)  # against HF100


def test_pool_sizes_are_compared_by_seed_and_in_order() -> None:
    sizes = records.pool_sizes(planted().runs)
    assert [n for n, _ in sizes] == [2, 4, 8, 16, 32, 64]
    # 0.06 − 0.01 in every seed alike: 5 ± 0 points
    text = findings.pool_size(planted().runs)
    assert text.startswith(
        "From N = 2 to N = 64: the share of right labels is higher by 5.0 points (5.0 to 5.0);"
    )
    labels = records.by_size(sizes, "label_accuracy")
    assert labels[0]["value"] == pytest.approx(0.61)  # a share
    gains = records.by_size(sizes, "accuracy")
    assert gains[-1]["value"] == pytest.approx(6.0)  # points


def test_the_theorem_is_said_over_n_and_over_confidence() -> None:
    text = findings.theorem(planted().runs)
    # 5 powers of 0.04, whose seeds differ by 5 · 0.01: 20 ± 5 · 2.484 = 12.42
    assert (
        "From N = 2 to N = 64: the share of right labels is higher by 20.0 points (7.6 to 32.4"
        in text
    )
    assert "the bound with the largest ε is higher by 5.0 points" in text
    # 9 bins of 0.05, the last of which has the pattern of the seeds
    assert (
        "most sure tenth of pairs: the share of right labels is higher by 45.0 points (42.5" in text
    )


def test_gold_peaks_where_its_mean_over_seeds_does() -> None:
    curve = records.curves(planted().runs, "best_of_n")
    assert [row["arm"] for row in records.peaks(curve)] == ["HF50", "HF100", "West-of-N"]
    # d(3 − d / 2) is 4.5 at d = 3 and 4 at d = 4, where seeds differ by 0.1: ± 0.248
    assert {row["n"] for row in records.peaks(curve)} == {8}
    text = findings.overoptimisation(planted().runs)
    assert (
        "Gold by best-of-n: HF50 is highest at d = 3.00 (n = 8) and at the end it is lower by "
        "0.50 (0.25 to 0.75);" in text
    )
    # d(3 − log(d) / 2) still rises at d = 4
    assert "Gold by RL: HF50 is highest at d = 4.00 (step = 16), the last that was measured" in text


def test_the_fitted_curve_begins_at_the_mean_gold_and_ends_at_the_largest_distance() -> None:
    fit = [row for row in records.fitted(planted().runs, "best_of_n") if row["arm"] == "HF50"]
    assert (fit[0]["distance"], fit[0]["gold"]) == (0.0, 2.0)  # starts of 1, 2 and 3
    assert fit[-1]["distance"] == 4.0
    assert fit[-1]["gold"] == pytest.approx(2.0 + 4 * (3 - 0.5 * 4))


def test_a_figure_of_differences_says_what_its_seeds_could_have_seen() -> None:
    power = {key: item.power for key, item in drawn(planted()).items()}
    levels = {key for key, text in power.items() if not text}
    assert levels == {"study_theorem", "study_overoptimisation"}
    # Seeds differ by 0.01, so (4.303 + 1.061) · 1 / sqrt(3) = 3.1 points; gold by ten times that.
    assert power["study_baselines"] == (
        "With three seeds, a true difference to HF50 smaller than 3.1 points of held-out accuracy "
        "/ 3.1 points of on-policy accuracy / 0.31 of best-of-64 gold would be detected with "
        "less than 80 % probability (median over the rows)."
    )
    assert not any(item.power for item in shown_figures(planted((7,))))


def test_differences_that_the_paper_reports_say_what_they_exclude() -> None:
    # West-of-N 3 ± 2.484 points, self-training 4 ± 2.484: the paper has +1.6 and −0.7.
    text = findings.compared(planted().runs, FAMILIES["baselines"])
    assert (
        "Beside the paper's numbers on TL;DR: West-of-N by held-out accuracy reproduces: excludes "
        "zero, includes the paper's +1.6; self-training (N = 2) by held-out accuracy reversed: "
        "excludes zero on the other side, and the paper's −0.7." in text
    )
    rounds = findings.rounds(planted().runs)
    assert "held-out accuracy reproduces: excludes zero, includes the paper's +1.6." in rounds
    assert "paper" not in findings.compared(planted().runs, FAMILIES["filters"])


def test_a_point_that_a_seed_lacks_is_not_drawn() -> None:
    study = planted()
    study.runs[0]["tables"]["curves"] = [
        row for row in study.runs[0]["tables"]["curves"] if row.get("n") != 16
    ]
    assert {row["n"] for row in records.curves(study.runs, "best_of_n")} == {1, 2, 4, 8}
    where: list[dict[str, Any]] = [
        {"student": "hf50", "method": "best_of_n", "n": n} for n in (16, 8)
    ]
    assert table_difference(study.runs, "curves", "gold", *where) is None


def test_seeds_without_the_studys_arms_are_named_and_leave_its_figures() -> None:
    study = planted()
    short = Study([*study.seeds, 9], [*study.runs, {**study.runs[0], "arms": {}, "tables": {}}])
    assert "Only 3 of these seeds have all parts" in findings.scope(short)
    captions = {key: item.numbers.caption for key, item in drawn(short).items()}
    assert captions.pop("study_rounds") == "Means over 4 seeds"
    assert all("3 of 4 seeds" in caption for caption in captions.values())
    assert len(captions) == len(PANELS) - 1
    assert "Only" not in findings.scope(study)
    assert records.theorem(short.runs) == records.theorem(study.runs) != []


def test_rounds_stand_between_the_references_and_are_compared_by_seed() -> None:
    runs = planted().runs
    rows = records.round_rows(runs, ("accuracy", "rl_gold"))
    assert [row.title for row in rows] == ["HF50", "k1", "k2", "k3", "HF100"]
    gold = records.by_round(rows, "rl_gold")
    assert [row["arm"] for row in gold] == ["k1", "k2", "k3"]
    text = findings.rounds(runs)
    assert "k1 against HF50: held-out accuracy is higher by 3.0 points (0.5 to 5.5)" in text
    # 0.06 − 0.03 in every seed; gold falls by 4, with 2 · 0.1 · 2.484 = 0.50
    assert "k3 against k1: held-out accuracy is higher by 3.0 points (3.0 to 3.0)" in text
    assert "RL gold is lower by 4.00 (3.50 to 4.50)" in text
    assert main_difference(runs, "k1", "hf50", "rl_gold") is None  # HF50 trains no policy


def test_one_seed_has_no_interval_and_no_effect() -> None:
    study = planted((7,))
    assert findings.scope(study).startswith("Seed 7; one seed has no interval")
    for item in shown_figures(study):
        if not item.finding.startswith("Gold by"):
            assert "unknown, one seed" in item.finding, item.figure.key
        assert not re.search(r"is (higher|lower)|(higher|lower) with", item.finding)
    forest = records.forest(records.differences(study.runs, FAMILIES["baselines"]), "accuracy")
    assert not any(row["excludes_zero"] or "low" in row for row in forest)
    for item in shown_figures(study):
        assert figure_specs(item.figure)


def test_every_figure_has_its_panels_a_finding_and_numbers() -> None:
    shown = drawn(planted())
    assert {key: len(item.figure.panels) for key, item in shown.items()} == PANELS
    for item in shown.values():
        assert item.finding.endswith(".")
        assert item.numbers.rows
        widths = {len(row.cells) for row in item.numbers.rows}
        assert widths == {len(item.numbers.heads)}


def test_specs_name_their_axes_and_bring_no_colours() -> None:
    specs = [spec for item in shown_figures(planted()) for spec in figure_specs(item.figure)]
    assert len(specs) == sum(PANELS.values())
    for spec in specs:
        assert spec["width"] == "container"
        assert "config" not in spec
        titles = {
            layer["encoding"][channel].get("title", "")
            for layer in spec["layer"]
            for channel in ("x", "y")
            if channel in layer["encoding"]
        }
        assert titles - {None, ""}, spec["description"]
        colours = {
            json.dumps(layer["encoding"]["color"]["scale"])
            for layer in spec["layer"]
            if "color" in layer["encoding"]
        }
        assert all("range" not in json.loads(scale) for scale in colours)


def test_what_was_not_measured_says_so_and_leaves_the_rest() -> None:
    study = planted()
    for run in study.runs:
        del run["arms"]["teachers"]
        del run["tables"]["theorem"], run["tables"]["confidence"]
    absent = {key: item for key, item in drawn(study).items() if not item.figure.panels}
    assert set(absent) == {"study_comparators", "study_ensembles", "study_theorem"}
    assert {item.figure.why_absent for item in absent.values()} == {NOTHING}
    assert not any(item.finding for item in absent.values())


def test_without_gold_the_policies_accuracy_and_gold_are_left_out() -> None:
    study = planted()
    for run in study.runs:
        for part in run["arms"].values():
            for arm in part.values():
                arm.pop("on_policy_accuracy"), arm.pop("best_of_n_gold"), arm.pop("label_accuracy")
    baselines = drawn(study)["study_baselines"].figure
    assert [panel.title for panel in baselines.panels] == ["Held-out accuracy"]
    assert "on-policy" not in findings.pool_size(study.runs)


def test_a_study_figure_is_drawn_as_png() -> None:
    png = figure_png(drawn(planted())["study_comparators"].figure)
    assert png.startswith(b"\x89PNG\r\n")


def test_every_family_has_its_place_on_the_page() -> None:
    assert {family.key for family in families.FAMILIES} < set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page goes, without what takes seconds: the PNGs and the drawing library."""
    monkeypatch.setattr(build, "figure_png", lambda figure: figure.key.encode())
    monkeypatch.setattr(html, "drawing_library", lambda: "window.vegaEmbed = () => {};")
    return tmp_path / "study" / "study.html"


def test_a_page_without_a_study_says_how_to_run_one(page: Path) -> None:
    write_study_page(Study([], []), page)
    text = page.read_text()
    assert "No study has been run" in text
    assert "<code>make study</code>" in text
    assert "embedded world with the committed parameters" in text
    assert "<figure>" not in text
    assert not list(page.parent.glob("png/*"))


def test_the_page_shows_every_figure_and_names_its_seeds(page: Path) -> None:
    write_study_page(planted(), page)
    text = page.read_text()
    for key, panels in PANELS.items():
        assert text.count(f'data-figure="{key}"') == panels
        assert (page.parent / f"png/{key}.png").read_bytes() == key.encode()
    assert "Seeds 3, 4, 5: each has its own world" in text
    assert "embedded world with the committed parameters" in text
    assert text.count("<details>") == text.count("<summary>") == len(PANELS)
    assert len(text.encode()) < 1_000_000  # without the drawing library, which has 0.8 MB


def test_the_page_fetches_nothing(page: Path) -> None:
    write_study_page(planted(), page)
    tags = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
    assert not re.search(r"<[^>]*\b(src|href|data)=", tags)
    assert "default-src 'none'" in tags


def test_text_of_study_json_never_becomes_markup(page: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    study = planted()
    for seed in study.runs:
        seed["tables"]["fits"][0]["student"] = hostile
        seed["tables"]["curves"][0]["student"] = hostile
    write_study_page(study, page)
    text = page.read_text()
    assert "<img" not in text
    assert "&lt;/script&gt;&lt;img src=x" in text  # in the table of fits
