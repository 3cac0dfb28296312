"""One finding a figure, in words computed from the data.

A difference to HF50 is paired by test prompt and says whether its 95 % interval excludes zero.
"""

from __future__ import annotations

from westofn.core.intervals import side_of
from westofn.report.differences import difference_key
from westofn.report.inputs import PRIOR, Arm, Record, ReportInputs
from westofn.report.numbers import (
    Measure,
    decimal,
    decimal_interval,
    measure,
    overlap,
    percent,
    percent_interval,
    signed,
)
from westofn.report.plots import Records, arm_name

REFERENCE = "hf50"
GAINS = {
    "accuracy": "on held-out human pairs",
    "on_policy_accuracy": "on on-policy gold pairs",
    "best_of_n_gold": "of gold reward by best-of-n",
    "best_of_n_win_rate": "of wins by best-of-n",
}
"""Measure -> where an arm gains it."""
SURE_PAIRS = {
    "gold": "the pairs of which the gold annotator is at least 80 % sure",
    "annotator": "the pairs of which their annotators were at least 80 % sure",
    "autorater": "the half of the pairs that the autorater sets farthest apart",
}
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
            sentences.append(f"{arm_name(name)} against HF50: {'; '.join(gains)}.")
    return sentences


def sure_pairs(inputs: ReportInputs) -> str:
    """Which pairs the high-confidence accuracy is over; empty where it was not measured."""
    by = {
        str(arm.metrics["high_confidence_by"])
        for arm in inputs.arms.values()
        if "high_confidence_by" in arm.metrics
    }
    texts = [f"High-confidence accuracy is over {SURE_PAIRS[who]}." for who in sorted(by)]
    return " ".join(texts)


def scope(inputs: ReportInputs) -> str:
    """What the intervals hold and what they leave out."""
    return (
        "Intervals are 95 % and hold the variation between test prompts. Every model was trained "
        f"once (seed {inputs.seed}), so the variation between training seeds is not in them. "
        "Differences to HF50 are paired by prompt: one whose interval excludes zero is one between "
        "these two trained models, which another seed may not show."
    )


def findings(inputs: ReportInputs, records: dict[str, Records]) -> dict[str, list[str]]:
    """The findings of each figure, by the figure's key; no text where there is nothing to say."""
    said = {
        "label_accuracy": [_labels(inputs, name, records) for name in inputs.iterations],
        "best_of_n": _best_of_n(inputs, records["best_of_n"]),
        "reliability": [_reliability(inputs, records["reliability"])],
        "length": [_length(inputs)],
        "rl": [_rl(inputs, name) for name in inputs.iterations],
        "training": [],
    }
    return {key: [text for text in texts if text] for key, texts in said.items()}


def gain_over_hf50(arm: Arm, key: str, where: str) -> str:
    """The paired difference in words; empty where it was not measured."""
    gain = measure(arm.metrics, difference_key(key))
    if gain is None:
        return ""
    share = key != "best_of_n_gold"
    scale, digits = (100, 1) if share else (1, 2)
    text = f"{signed(scale * gain.value, digits)}{' points' if share else ''} {where}"
    if gain.low is None or gain.high is None:
        return text
    ends = " to ".join(decimal(scale * end, digits) for end in (gain.low, gain.high))
    zero = "includes" if side_of(gain.low, gain.high, 0.0) == "around" else "excludes"
    return f"{text} ({ends}, {zero} zero)"


def _labels(inputs: ReportInputs, name: str, records: dict[str, Records]) -> str:
    rows = [row for row in records["label_accuracy"] if row["arm"] == arm_name(name)]
    if not rows:
        return ""
    first, last = rows[0], rows[-1]
    text = (
        f"{arm_name(name)}: {percent_interval(_point(last))} of labels are right at "
        f"N = {last['n']}, {percent(first['accuracy'])} % at N = {first['n']}"
    )
    control = measure(inputs.arms[name].metrics, "label_accuracy_random")
    if control is not None:
        text += f" and {percent_interval(control)} for a random pair"
    return f"{text}.{_bound(inputs.arms[name].metrics, last)}"


def _point(row: Record) -> Measure:
    return Measure(row["accuracy"], row.get("low"), row.get("high"))


def _bound(metrics: Record, last: Record) -> str:
    """The bound at the last N, beside the probability that it bounds.

    That it holds is no finding: the largest error is measured over these pairs too.
    """
    if "bound" not in last or "label_epsilon" not in metrics:
        return ""
    text = (
        f" With the largest measured error ε = {decimal(metrics['label_epsilon'])} the bound on "
        f"P* is {percent(last['bound'])} %"
    )
    if "p_true" in last:
        text += f", P* itself {percent(last['p_true'])} %"
    if "bound_q95" in last and "label_bound_q95_holds" in metrics:
        text += (
            f"; with the 95 % quantile of the error it is {percent(last['bound_q95'])} %, "
            f"and {percent(metrics['label_bound_q95_holds'])} % of pairs keep it"
        )
    return f"{text}."


def _best_of_n(inputs: ReportInputs, records: Records) -> list[str]:
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
    ours, theirs = _at(last, key), _at(reference, key)
    write = decimal_interval if key == "gold" else percent_interval
    size = last["n"] if key == "gold" else last.get("win_rate_n", last["n"])
    what = "gold reward" if key == "gold" else "a win rate of"
    gain = gain_over_hf50(arm, f"best_of_n_{key}", "paired by prompt")
    return (
        f"At n = {size}, the choice of {arm_name(name)} has {what} {write(ours)} against "
        f"{write(theirs)} for HF50{f': {gain}' if gain else ''}."
    )


def _at(row: Record, key: str) -> Measure:
    return Measure(row[key], row.get(f"{key}_low"), row.get(f"{key}_high"))


def _peak(name: str, rows: Records, key: str) -> str:
    """Over-optimisation: the truth falls again while n still grows."""
    if not rows:
        return ""
    best = max(rows, key=lambda row: row[key])
    if best is rows[-1]:
        return ""
    outside = overlap(_at(best, key), _at(rows[-1], key))
    word = "falls" if outside is False else "does not rise"
    return f"{arm_name(name)} {word} after n = {best['n']}."


def _reliability(inputs: ReportInputs, records: Records) -> str:
    parts = []
    for name in inputs.order:
        ece = inputs.arms[name].metrics.get("ece")
        rows = [row for row in records if row["arm"] == arm_name(name)]
        if ece is not None and rows:
            parts.append(f"{arm_name(name)} {percent(ece)} points, {_bias(rows)}")
    return f"Expected calibration error: {'; '.join(parts)}." if parts else ""


def _bias(rows: Records) -> str:
    pairs = sum(row["pairs"] for row in rows)
    gap = sum(row["pairs"] * (row["p_mean"] - row["accuracy"]) for row in rows) / pairs
    if abs(gap) < CALIBRATED:
        return "on average neither over- nor underconfident"
    return f"{'over' if gap > 0 else 'under'}confident by {percent(abs(gap))} on average"


def _length(inputs: ReportInputs) -> str:
    sentences = []
    baseline = next((arm.metrics for arm in inputs.arms.values()), {})
    if "longest_accuracy" in baseline:
        sentences.append(
            f"Always picking the longer response is right on "
            f"{percent(baseline['longest_accuracy'])} % of pairs."
        )
    shares = [text for name in inputs.order if (text := _longer_and_shorter(inputs, name))]
    if shares:
        sentences.append(
            "Right where the chosen response is the longer, and where it is the shorter: "
            f"{'; '.join(shares)}."
        )
    return " ".join(sentences)


def _longer_and_shorter(inputs: ReportInputs, name: str) -> str:
    metrics = inputs.arms[name].metrics
    longer = metrics.get("accuracy_when_chosen_longer")
    shorter = metrics.get("accuracy_when_chosen_shorter")
    if longer is None or shorter is None:
        return ""
    return f"{arm_name(name)} {percent(longer)} and {percent(shorter)} %"


def _rl(inputs: ReportInputs, name: str) -> str:
    metrics = inputs.iterations[name].rl_metrics
    if "rl_reward" not in metrics or "sft_reward" not in metrics:
        return ""
    reward = metrics["rl_reward"] - metrics["sft_reward"]
    text = f"{arm_name(name)}: reward {_change(reward)} to {decimal(metrics['rl_reward'])}"
    if "rl_gold" in metrics and "sft_gold" in metrics:
        gold = metrics["rl_gold"] - metrics["sft_gold"]
        text += f", gold {_change(gold)} to {decimal(metrics['rl_gold'])}"
        if reward > 0 > gold:
            text += " (the policy exploits the reward model)"
    if "rl_kl" in metrics:
        text += f", at a KL of {decimal(metrics['rl_kl'])} nats from the SFT policy"
    won = measure(metrics, "rl_win_rate")
    if won is not None:
        text += f"; it wins {percent_interval(won)} of comparisons with the SFT policy"
    return f"{text}."


def _change(difference: float) -> str:
    return f"{'rises' if difference >= 0 else 'falls'} by {decimal(abs(difference))}"
