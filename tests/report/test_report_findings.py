from __future__ import annotations

from collections.abc import Callable

from conftest import Run, interval

from westofn.report import findings
from westofn.report.plots import plot_records


def said(run: Run, figure: str) -> str:
    inputs = run.inputs()
    return " ".join(findings.findings(inputs, plot_records(inputs))[figure])


def test_a_difference_is_paired_by_prompt_and_says_whether_it_excludes_zero(
    make_run: Callable[..., Run],
) -> None:
    # k1 gains 0.015 on every prompt, HF100 0.025 ± 0.3 by turns.
    k1, k2, prior, hf100 = findings.headline(make_run(iterations=("k1", "k2")).inputs())
    assert k1.startswith(
        "k1 against HF50: +1.5 points on held-out human pairs (1.5 to 1.5, excludes zero); "
        "+1.5 points on on-policy gold pairs (1.5 to 1.5, excludes zero); "
    )
    assert k2.startswith("k2 against HF50: +6.0 points on held-out human pairs (6.0 to 6.0")
    assert "+0.30 of gold reward by best-of-n (0.30 to 0.30, excludes zero)" in k2  # 5 × 0.06
    assert prior.startswith("prior against HF50: +3.0 points")
    assert hf100.startswith("HF100 against HF50: +2.5 points on held-out human pairs (−")
    assert "includes zero); +2.5 points on on-policy" in hf100


def test_a_loss_is_said_with_its_sign(run: Run) -> None:
    run.evaluation("k1", **interval("accuracy", 0.64, 0.02))
    assert "−6.0 points on held-out human pairs (−6.0" in findings.headline(run.inputs())[0]


def test_the_single_seed_is_said(run: Run) -> None:
    assert "trained once (seed 7)" in findings.scope(run.inputs())


def test_labels_are_compared_with_small_pools_and_random_pairs(run: Run) -> None:
    text = said(run, "label_accuracy")
    # 0.98 − 0.46 / 64 = 0.9728 and 0.98 − 0.46 / 2 = 0.75
    assert text.startswith(
        "k1: 97.3 % (96.3 to 98.3) of labels are right at N = 64, 75.0 % at N = 2"
    )
    assert "76.0 % (73.0 to 79.0) for a random pair" in text
    # 0.60 − 0.6 / 64 and 0.95 − 0.5 / 64
    assert "ε = 0.35 the bound on P* is 59.1 %, P* itself 94.2 %" in text


def test_best_of_n_is_judged_by_gold_where_there_is_gold(make_run: Callable[..., Run]) -> None:
    text = said(make_run(iterations=("k1", "k2")), "best_of_n")
    assert "At n = 64, the choice of k1 has gold reward" in text
    assert "for HF50: +0.30 paired by prompt (0.30 to 0.30, excludes zero)." in text
    without = said(make_run(gold=False), "best_of_n")
    assert "At n = 63, the choice of k1 has a win rate of" in without
    assert "gold" not in without


def test_a_fall_of_gold_with_n_is_reported(run: Run) -> None:
    curve = [
        {"n": n, "kl": 0.0, **interval("gold", gold, 0.1)}
        for n, gold in ((1, 1.0), (2, 2.0), (4, 1.5))
    ]
    run.json("eval/hf50/curves.json", {"best_of_n": curve})
    assert "HF50 falls after n = 2." in said(run, "best_of_n")
    curve[2] |= interval("gold", 1.95, 0.1)
    run.json("eval/hf50/curves.json", {"best_of_n": curve})
    assert "HF50 does not rise after n = 2." in said(run, "best_of_n")


def test_overconfidence_is_weighted_by_pairs(run: Run) -> None:
    bins = [
        {"p_low": 0.5, "p_mean": 0.6, "accuracy": 0.6, "pairs": 300},
        {"p_low": 0.7, "p_mean": 0.9, "accuracy": 0.5, "pairs": 100},
    ]
    run.json("eval/hf50/curves.json", {"reliability": bins})
    # (300 · 0 + 100 · 0.4) / 400 = 0.1
    assert "HF50 3.1 points, overconfident by 10.0 on average" in said(run, "reliability")


def test_reward_that_rises_while_gold_falls_is_called_exploitation(run: Run) -> None:
    assert "exploits" not in said(run, "rl")
    run.json(
        "loop/k1/rl/metrics.json",
        {"rl_reward": 2.0, "sft_reward": 0.5, "rl_gold": 2.5, "sft_gold": 3.0, "rl_kl": 9.0},
    )
    text = said(run, "rl")
    assert "reward rises by 1.50 to 2.00, gold falls by 0.50 to 2.50 (the policy exploits" in text


def test_length_is_compared_with_always_the_longer(run: Run) -> None:
    text = said(run, "length")
    assert text.startswith("Always picking the longer response is right on 55.0 % of pairs.")
    assert "HF50 76.0 and 64.0 %" in text


def test_high_confidence_says_who_was_sure(make_run: Callable[..., Run]) -> None:
    assert "gold annotator is at least 80 %" in findings.sure_pairs(make_run().inputs())
    assert "autorater" in findings.sure_pairs(make_run(gold=False).inputs())
