from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from conftest import Run

from westofn.artifacts.prompt_measures import PROMPT_MEASURES
from westofn.errors import DataError
from westofn.execution.account import Account, Limit
from westofn.execution.guards import Reading
from westofn.report.metrics import collect_metrics
from westofn.report.rows import account_of_record


def measures(accuracy: float, *keys: str) -> dict[str, float]:
    """What the fixture has of an arm: levels with their ends, and the gain on every prompt."""
    level = {
        "accuracy": (accuracy, 0.02),
        "on_policy_accuracy": (accuracy + 0.1, 0.02),
        "best_of_n_gold": (5 * accuracy, 0.05),
        "best_of_n_win_rate": (accuracy + 0.1, 0.03),
    }
    found = {}
    for key in keys or tuple(level):
        value, half = level[key]
        gain = (accuracy - 0.70) * (5 if key == "best_of_n_gold" else 1)
        found |= {key: value, f"{key}_low": value - half, f"{key}_high": value + half}
        found |= {f"{key}_difference{end}": gain for end in ("", "_low", "_high")}
    return found


def test_base_has_its_two_accuracies_only(run: Run) -> None:
    expected = measures(0.74, "accuracy", "on_policy_accuracy")
    assert collect_metrics(run.inputs())["base"] == pytest.approx(expected, abs=1e-4)


def test_hf50_has_no_difference_to_itself(run: Run) -> None:
    assert not [key for key in collect_metrics(run.inputs())["hf50"] if "difference" in key]


def test_a_gain_that_differs_by_prompt_has_an_interval(run: Run) -> None:
    found = collect_metrics(run.inputs())["hf100"]
    assert found["accuracy_difference"] == pytest.approx(0.025)
    # ± 0.3 by turns on ten prompts: a standard error of 0.3 / sqrt(10) = 0.095
    assert found["accuracy_difference_high"] == pytest.approx(0.025 + 1.96 * 0.095, abs=0.03)
    assert found["accuracy_difference_low"] == pytest.approx(0.025 - 1.96 * 0.095, abs=0.03)


def test_arms_of_other_prompts_are_refused(run: Run) -> None:
    path = run.data / "eval/k1/prompt_measures.parquet"
    PROMPT_MEASURES.write(PROMPT_MEASURES.read(path).filter(pl.col("prompt_id") != "t3"), path)
    with pytest.raises(DataError, match="k1 and hf50 have accuracy of other test prompts"):
        run.inputs()


# Of the fixture's curve, 0.98 − 0.46 / n, and of its random pairs.
LABELS = {
    "label_accuracy_random": 0.76,
    "label_accuracy_n2": 0.75,
    "label_accuracy_n4": 0.865,
    "label_accuracy_n8": 0.9225,
    "label_accuracy_n16": 0.9512,
    "label_accuracy_n32": 0.9656,
    "label_accuracy_n64": 0.9728,
}


def test_iterations_have_every_key_of_the_contract(run: Run) -> None:
    expected = {
        **measures(0.715),
        "high_confidence_accuracy": 0.795,
        "ece": 0.0312,
        "label_accuracy": 0.96,
        "label_bound": 0.59,
        **LABELS,
        # 10 pairs; 0 and 5 are dropped for their confidence, 1 for its likelihood.
        "pairs_selected": 10,
        "pairs_kept": 7,
        "rl_reward": 1.5,
        "rl_gold": 3.6,
        "rl_win_rate": 0.81,
        "rl_kl": 5.2,
        "kappa": 8.0,
        "kappa_human": 4.0,
        "kappa_ratio": 2.0,
    }
    assert collect_metrics(run.inputs())["k1"] == pytest.approx(expected, abs=1e-4)


def test_human_arms_have_no_keys_of_synthetic_pairs(run: Run) -> None:
    metrics = collect_metrics(run.inputs())
    assert list(metrics) == ["hf50", "k1", "prior", "hf100", "base"]
    for name in ("hf50", "prior", "hf100"):
        assert not [key for key in metrics[name] if key.startswith(("label", "pairs", "rl"))]


def test_what_has_no_gold_has_no_gold_keys(make_run: Callable[..., Run]) -> None:
    metrics = collect_metrics(make_run(gold=False).inputs())
    for absent in ("best_of_n_gold", "on_policy_accuracy", "label_accuracy", "rl_gold"):
        assert absent not in metrics["k1"]
    assert metrics["k1"]["best_of_n_win_rate"] == 0.815


def test_null_means_not_measured(run: Run) -> None:
    run.evaluation("hf50", ece=None)
    assert "ece" not in collect_metrics(run.inputs())["hf50"]


def test_a_missing_file_names_the_stage_that_writes_it(run: Run) -> None:
    (run.data / "eval/hf100/curves.json").unlink()
    with pytest.raises(DataError, match=r"hf100/curves\.json: no such file; rerun eval"):
        run.inputs()


def test_a_missing_rl_curve_names_the_stage_that_writes_it(run: Run) -> None:
    (run.data / "loop/k1/rl/curve.json").unlink()
    with pytest.raises(DataError, match=r"rl/curve\.json: no such file; rerun rlhf"):
        run.inputs()


@pytest.mark.parametrize("value", [{"step": 1}, [1, 2], [[]]])
def test_a_curve_that_is_no_list_of_records_is_refused(run: Run, value: object) -> None:
    run.json("loop/k1/rl/curve.json", value)
    with pytest.raises(DataError, match="needs a list of JSON objects; rerun rlhf"):
        run.inputs()
    run.rl("k1", 0)
    run.json("eval/k1/curves.json", {"length": value})
    with pytest.raises(DataError, match=r"curves\.json: length: needs a list of JSON objects"):
        run.inputs()


def test_only_named_iterations_are_read(make_run: Callable[..., Run]) -> None:
    run = make_run(iterations=("k1", "k2"))
    run.iterations = ("k1",)
    assert "k2" not in collect_metrics(run.inputs())


def test_every_stage_has_its_rows_with_counts_and_shares(run: Run) -> None:
    run.accounts = [
        Account("sft", 0, 0, {}, "examples"),
        Account("hf100", 8, 2, {"too_long": 5, "cut": 1}, limit=Limit(32, 90)),
    ]
    rows = collect_metrics(run.inputs())["rows"]
    assert rows["sft"] == {"what": "examples", "in": 0, "used": 0, "used_share": 0.0}
    assert rows["hf100"] == {
        "what": "pairs",
        "in": 8,
        "used": 2,
        "used_share": 0.25,
        "dropped_too_long": 5,
        "dropped_too_long_share": 0.625,
        "dropped_cut": 1,
        "dropped_cut_share": 0.125,
        "max_response_tokens": 32,
        "response_tokens_for_95_percent": 90,
    }
    assert account_of_record("hf100", rows["hf100"]) == run.accounts[1]


def test_accuracy_within_the_limit_stands_beside_that_of_all_pairs(run: Run) -> None:
    run.evaluation("hf50", test_pairs_too_long=300, accuracy_within_limit=0.75)
    measures = collect_metrics(run.inputs())["hf50"]
    assert (measures["test_pairs_too_long"], measures["accuracy_within_limit"]) == (300, 0.75)


def test_readings_stand_by_guard_and_subject_with_their_limit(run: Run) -> None:
    assert "checks" not in collect_metrics(run.inputs())
    run.checks = [Reading("chance", "hf50", 0.58), Reading("chance", "k1", 0.49)]
    checks = collect_metrics(run.inputs())["checks"]
    assert checks == {"chance": {"limit": 0.5, "hf50": 0.58, "k1": 0.49}}
