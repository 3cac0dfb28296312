"""One finding a figure, in words computed from the data.

A difference to HF50 is paired by test prompt and says whether its 95 % interval excludes zero.
"""

from __future__ import annotations

from westofn.core.intervals import side_of
from westofn.report.differences import difference_key
from westofn.report.inputs import PRIOR, Arm, Record, ReportInputs
from westofn.report.numbers import Measure, measure, overlap
from westofn.report.plots import Records, arm_name
from westofn.report.templates import sentence

REFERENCE = "hf50"
GAINS = {
    "accuracy": "on held-out human pairs",
    "on_policy_accuracy": "on on-policy gold pairs",
    "best_of_n_gold": "of gold reward by best-of-n",
    "best_of_n_win_rate": "of wins by best-of-n",
}
"""Measure -> where an arm gains it."""
CALIBRATED = 0.02
"""A mean gap between stated probability and accuracy below this is not called a bias."""


def headline(inputs: ReportInputs) -> list[str]:
    """What every arm gains over HF50, by every headline measure."""
    sentences = []
    for name in inputs.order:
        gains = [
            gain
            for key, where in GAINS.items()
            if (gain := gain_over_hf50(inputs.arms[name], key, where))
        ]
        if gains and name in (*inputs.iterations, PRIOR, "hf100"):
            sentences.append(sentence("headline", arm=arm_name(name), gains=gains))
    return sentences


def sure_pairs(inputs: ReportInputs) -> str:
    """Which pairs the high-confidence accuracy is over; empty where it was not measured."""
    key = "high_confidence_by"
    judges = {str(arm.metrics[key]) for arm in inputs.arms.values() if key in arm.metrics}
    return " ".join(sentence("sure_pairs", by=judge) for judge in sorted(judges))


def scope(inputs: ReportInputs) -> str:
    """What the intervals hold and what they leave out."""
    return sentence("scope", seed=inputs.seed)


def findings(inputs: ReportInputs, records: dict[str, Records]) -> dict[str, list[str]]:
    """The findings of each figure, by the figure's key; no text where there is nothing to say."""
    texts = {
        "label_accuracy": [_labels(inputs, name, records) for name in inputs.iterations],
        "best_of_n": _best_of_n(inputs, records["best_of_n"]),
        "reliability": [_calibration(inputs, records["reliability"])],
        "length": [_longest(inputs), _by_length(inputs)],
        "rl": [_rl(inputs, name) for name in inputs.iterations],
        "training": [],
    }
    return {key: [text for text in of_figure if text] for key, of_figure in texts.items()}


def gain_over_hf50(arm: Arm, key: str, where: str) -> str:
    """The paired difference in words; empty where it was not measured."""
    gain = measure(arm.metrics, difference_key(key))
    if gain is None:
        return ""
    side = "" if gain.low is None or gain.high is None else side_of(gain.low, gain.high, 0.0)
    return sentence("gain", gain=gain, is_share=key != "best_of_n_gold", where=where, side=side)


def _labels(inputs: ReportInputs, name: str, records: dict[str, Records]) -> str:
    rows = [row for row in records["label_accuracy"] if row["arm"] == arm_name(name)]
    if not rows:
        return ""
    first, last, metrics = rows[0], rows[-1], inputs.arms[name].metrics
    return sentence(
        "labels",
        arm=arm_name(name),
        right=Measure(last["accuracy"], last.get("low"), last.get("high")),
        n=last["n"],
        right_first=first["accuracy"],
        n_first=first["n"],
        random=measure(metrics, "label_accuracy_random"),
        bound=_bound(metrics, last),
    )


def _bound(metrics: Record, last: Record) -> str:
    """The bound at the last N, beside the probability that it bounds."""
    if "bound" not in last or "label_epsilon" not in metrics:
        return ""
    return sentence(
        "bound",
        epsilon=metrics["label_epsilon"],
        bound=last["bound"],
        p_true=last.get("p_true"),
        bound_q95=last.get("bound_q95"),
        keep_q95=metrics.get("label_bound_q95_holds"),
    )


def _best_of_n(inputs: ReportInputs, records: Records) -> list[str]:
    """Each arm's choice against HF50's, and where an arm stops to gain."""
    key = "gold" if any("gold" in row for row in records) else "win_rate"
    curves = {
        name: [row for row in records if row["arm"] == arm_name(name) and key in row]
        for name in inputs.order
    }
    reference = curves.get(REFERENCE)
    if not reference:
        return []
    sentences = [
        _against_reference(inputs.arms[name], name, curves[name][-1], reference[-1], key)
        for name in (*inputs.iterations, PRIOR)
        if curves.get(name) and curves[name][-1]["n"] == reference[-1]["n"]
    ]
    peaks = [text for name, rows in curves.items() if (text := _peak(name, rows, key))]
    return sentences + peaks


def _against_reference(arm: Arm, name: str, last: Record, reference: Record, key: str) -> str:
    by_gold = key == "gold"
    return sentence(
        "best_of_n",
        arm=arm_name(name),
        n=last["n"] if by_gold else last.get("win_rate_n", last["n"]),
        by_gold=by_gold,
        ours=measure(last, key),
        theirs=measure(reference, key),
        gain=gain_over_hf50(arm, f"best_of_n_{key}", "paired by prompt"),
    )


def _peak(name: str, rows: Records, key: str) -> str:
    """Over-optimisation: the truth falls again while n still grows."""
    if not rows:
        return ""
    best = max(rows, key=lambda row: row[key])
    if best is rows[-1]:
        return ""
    top, end = (
        Measure(row[key], row.get(f"{key}_low"), row.get(f"{key}_high")) for row in (best, rows[-1])
    )
    return sentence("peak", arm=arm_name(name), n=best["n"], falls=overlap(top, end) is False)


def _calibration(inputs: ReportInputs, records: Records) -> str:
    arms = []
    for name in inputs.order:
        error = inputs.arms[name].metrics.get("ece")
        rows = [row for row in records if row["arm"] == arm_name(name)]
        if error is not None and rows:
            arms.append((arm_name(name), error, _bias(rows)))
    return sentence("calibration", arms=arms, negligible=CALIBRATED) if arms else ""


def _bias(rows: Records) -> float:
    """Mean stated probability less the accuracy, over all pairs of the bins."""
    pairs = sum(row["pairs"] for row in rows)
    gap: float = sum(row["pairs"] * (row["p_mean"] - row["accuracy"]) for row in rows) / pairs
    return gap


def _longest(inputs: ReportInputs) -> str:
    baseline = next((arm.metrics for arm in inputs.arms.values()), {})
    if "longest_accuracy" not in baseline:
        return ""
    return sentence("longest", accuracy=baseline["longest_accuracy"])


def _by_length(inputs: ReportInputs) -> str:
    longer, shorter = "accuracy_when_chosen_longer", "accuracy_when_chosen_shorter"
    measured = {name: inputs.arms[name].metrics for name in inputs.order}
    arms = [
        (arm_name(name), metrics[longer], metrics[shorter])
        for name, metrics in measured.items()
        if longer in metrics and shorter in metrics
    ]
    return sentence("by_length", arms=arms) if arms else ""


def _rl(inputs: ReportInputs, name: str) -> str:
    metrics = inputs.iterations[name].rl_metrics
    if "rl_reward" not in metrics or "sft_reward" not in metrics:
        return ""
    return sentence(
        "rl",
        arm=arm_name(name),
        reward=metrics["rl_reward"],
        sft_reward=metrics["sft_reward"],
        gold=metrics.get("rl_gold"),
        sft_gold=metrics.get("sft_gold"),
        kl=metrics.get("rl_kl"),
        wins=measure(metrics, "rl_win_rate"),
    )
