"""The embedded world, end to end at a tiny size: what a newcomer does, in the README's order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import polars as pl
import pytest

from tests.e2e.conftest import Clone
from westofn.params.whole import load_params
from westofn.study.run import FIRST

# The tests go on from one another, in their order and in one clone.
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def clone(make_clone: Callable[..., Clone]) -> Clone:
    """After `dvc repro`, committed."""
    clone = make_clone()
    clone.run("dvc", "repro")
    clone.commit("reproduced")
    return clone


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def metrics(clone: Clone) -> dict[str, dict[str, float]]:
    loaded: dict[str, dict[str, float]] = json.loads((clone.root / "metrics.json").read_text())
    return loaded


def test_repro_writes_metrics_of_every_arm(clone: Clone) -> None:
    found = metrics(clone)
    assert list(found) == sorted(found)
    assert set(found) == {"base", "hf50", "hf100", "prior", "k1", "rows", "checks"}
    for arm in ("hf50", "hf100", "prior", "k1"):
        assert found[arm].keys() >= {
            "accuracy",
            "accuracy_low",
            "accuracy_high",
            "high_confidence_accuracy",
            "ece",
            "on_policy_accuracy",
            "best_of_n_gold",
            "best_of_n_win_rate",
        }
    for arm in ("hf100", "k1"):
        for key in ("accuracy", "on_policy_accuracy", "best_of_n_gold", "best_of_n_win_rate"):
            low, mean, high = (
                found[arm][f"{key}_difference{end}"] for end in ("_low", "", "_high")
            )
            assert low <= mean <= high
            # Rounded to four digits each.
            assert mean == pytest.approx(found[arm][key] - found["hf50"][key], abs=2e-4)
            assert found[arm][f"{key}_low"] <= found[arm][key] <= found[arm][f"{key}_high"]
    assert found["k1"].keys() >= {
        "label_accuracy",
        "label_bound",
        "pairs_selected",
        "pairs_kept",
        "rl_reward",
        "rl_gold",
        "rl_win_rate",
        "rl_kl",
    }


def test_repro_writes_a_page_and_plots(clone: Clone) -> None:
    page = (clone.root / "data/report/report.html").read_text(encoding="utf-8")
    assert "West-of-N" in page
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page)
    assert (clone.root / "data/plots/png/best_of_n.png").stat().st_size > 1000


def test_dvc_draws_the_curves_of_every_model(clone: Clone) -> None:
    for command in ("show", "diff"):
        output = clone.run("dvc", "plots", command)
        assert "failed to load" not in output
        page = (clone.root / "dvc_plots/index.html").read_text(encoding="utf-8")
        for model in ("k0/policy", "k0/rm", "k1/rm", "k1/policy"):
            assert f"loop/{model}/curve.json" in page
        for model in ("hf50", "hf100", "prior"):
            assert f"reference/{model}/curve.json" in page
        for title in ("Loss", "Accuracy", "Margin", "Reward in RL", "Gradient norm"):
            assert f'"title": "{title}"' in page


def test_what_is_written_live_is_a_metric_that_git_does_not_see(clone: Clone) -> None:
    latest = json.loads((clone.root / "dvclive/latest/metrics.json").read_text())
    assert latest["step"] > 0
    assert latest["model"] in clone.run("dvc", "exp", "show", "--md")
    assert "failed to load" not in clone.run("dvc", "metrics", "diff")
    assert "dvclive" not in clone.run("git", "status", "--short")


def test_synthetic_pairs_differ_from_human_ones_by_a_column_alone(clone: Clone) -> None:
    human = pl.read_parquet(clone.root / "data/prepared/preferences.parquet")
    synthetic = pl.read_parquet(clone.root / "data/loop/k1/synthetic/preferences.parquet")
    assert human.schema == synthetic.schema
    assert set(synthetic["label_source"]) == {"west_of_n"}
    assert not set(synthetic["prompt_id"]) & set(
        human.filter(pl.col("split") == "test")["prompt_id"]
    )


def test_a_second_repro_does_nothing(clone: Clone) -> None:
    assert ran(clone.run("dvc", "repro")) == set()


def test_cards_of_exports_know_the_parameters_and_measures_of_the_run(clone: Clone) -> None:
    clone.run("python", "-m", "westofn", "export", "pairs", "../exports/pairs/k1.jsonl")
    clone.run("python", "-m", "westofn", "export", "rm", "../exports/student")
    pairs, student = (
        (clone.root.parent / "exports" / name / "README.md").read_text()
        for name in ("pairs", "student")
    )
    for text in (pairs, student):
        assert "As dvc.lock records them for this content" in text
        assert "n_candidates: 8" in text
        assert "license: apache-2.0" in text  # all of it is of the embedded world
        assert "algorithm: ppo" not in text  # of rlhf, which made neither
    assert "synthetic_fraction: 0.5" in student
    accuracy = json.loads((clone.root / "data/eval/k1/metrics.json").read_text())["accuracy"]
    assert f"| held-out preferences, accuracy | {accuracy:.4f} (" in student
    assert f"value: {accuracy}\n" in student


def test_the_study_is_left_out_and_goes_on_from_what_is_there(clone: Clone) -> None:
    assert not (clone.root / "data/study").exists()
    assert clone.run("dvc", "status") == "Data and pipelines are up to date.\n"
    switch = clone.root / "study/run.yaml"
    off = switch.read_text()
    switch.write_text("run: [once]\nrounds: [k1]\n")  # as the experiments of `make study` set it
    assert "study_pools" in clone.run("dvc", "status")
    first = "study/dvc.yaml:study_pools@once"
    assert ran(clone.run("dvc", "repro", "--dry", first)) == {first}
    # As `make study` asks: stages of both files, or a whole file too, in one command.
    for others in (FIRST[:-1], ("dvc.yaml",)):
        group = first.removesuffix("@once")
        assert ran(clone.run("dvc", "repro", "--dry", *others, group)) == {first}
    switch.write_text(off)


def test_scratch_is_empty_after_a_run(clone: Clone) -> None:
    assert [path for path in (clone.root / ".scratch").rglob("*") if path.is_file()] == []


def test_an_experiment_reruns_what_follows_the_changed_parameter(clone: Clone) -> None:
    output = clone.run("dvc", "exp", "run", "-S", "filter.quantile=0.5")
    assert "filter@k1" in ran(output)
    assert ran(output) <= {"check", "filter@k1", "student_rm@k1", "eval@k1", "rlhf@k1", "report"}
    kept = metrics(clone)["k1"]
    assert kept["pairs_kept"] < kept["pairs_selected"]
    assert load_params(clone.root / "params.yaml").filter.quantile == 0.5
    difference = clone.run("dvc", "metrics", "diff", "--all")
    assert "k1.pairs_kept" in difference


def test_a_second_iteration_leaves_the_first_cached(clone: Clone) -> None:
    before = metrics(clone)["k1"]
    output = clone.run("dvc", "exp", "run", "-S", "+loop.k2={prev: k1}")
    assert {"sample@k2", "won_select@k2", "filter@k2", "student_rm@k2", "eval@k2"} <= ran(output)
    assert not {name for name in ran(output) if name.endswith("@k1")}
    found = metrics(clone)
    assert found["k1"] == before
    assert found["k2"]["pairs_selected"] == before["pairs_selected"]
    assert "k2" in clone.run("dvc", "exp", "show", "--md")


def test_tuning_runs_up_to_the_student_and_writes_the_quantiles_alone(clone: Clone) -> None:
    params = clone.root / "params.yaml"
    params.write_text(re.sub(r"( quantile:) [0-9.]+", r"\1 0.75", params.read_text(), count=1))
    before, others = params.read_text(), clone.run("git", "status", "--short")
    output = clone.run(
        *("python", "-m", "westofn", "tune", "filter"),
        *("--quantiles", "0,0.5", "--likelihood-quantiles", "0"),
    )
    rows = re.findall(r"^ +([12]) +(0|0\.5) +0 +(\d+) ", output, re.MULTILINE)
    assert {(quantile, rank) for rank, quantile, _ in rows} in (
        {("0", "1"), ("0.5", "2")},
        {("0", "2"), ("0.5", "1")},
    )
    kept = {quantile: int(count) for _, quantile, count in rows}
    assert 0 < kept["0.5"] < kept["0"]
    assert "20 validation pairs" in output
    winner = float(next(quantile for rank, quantile, _ in rows if rank == "1"))
    # A digit less, so a space more: the comment stays in its column.
    assert params.read_text() == before.replace(" quantile: 0.75", f" quantile: {winner} ", 1)
    assert clone.run("git", "status", "--short") == others
    assert "tune-filter" not in clone.run("dvc", "exp", "list")
    found = ran(clone.run("dvc", "repro", "student_rm@k1"))
    assert found <= {"check"}, "the student comes from the cache"


def test_a_failed_setting_is_told_with_its_stage(clone: Clone) -> None:
    before = (clone.root / "params.yaml").read_text()
    output = clone.run(
        *("python", "-m", "westofn", "tune", "filter"),
        *("--quantiles", "0.99", "--likelihood-quantiles", "0.99"),
        code=2,
    )
    assert "westofn: experiment tune-filter-k1-0.99-0.99: dvc ended with exit code" in output
    assert "filter: all 30 pairs are dropped" in output
    assert "Traceback" not in output
    assert (clone.root / "params.yaml").read_text() == before


def test_a_bad_value_fails_in_check_and_leaves_the_outputs(clone: Clone) -> None:
    before = metrics(clone)
    params = clone.root / "params.yaml"
    good = params.read_text()
    params.write_text(re.sub(r"quantile: [0-9.]+", "quantile: 1.5", good, count=1))
    output = clone.run("dvc", "repro", code=255)
    params.write_text(good)
    assert "filter.quantile is 1.5" in output
    assert "Traceback" not in output
    assert ran(output) == {"check"}
    assert metrics(clone) == before
