"""The figures of the study over seeds: titles, how to read them, panels."""

from __future__ import annotations

from collections.abc import Sequence

from westofn.report.figures import Figure, Panel
from westofn.study.catalogue import ACCURACIES, METRICS
from westofn.study.pages import charts
from westofn.study.pages.families import Family
from westofn.study.pages.points import (
    METHODS,
    ROUND_METRICS,
    by_round,
    by_size,
    confidence,
    curves,
    differences,
    fitted,
    forest,
    peaks,
    pool_sizes,
    round_rows,
    theorem,
)
from westofn.study.records import Run

NOTHING = "This study has no data for it."
ROW_HEIGHT, FRAME_HEIGHT = 34, 62
"""Pixels in a chart of arms for an arm, whose name may have two lines; and for axis and title."""
THEOREM_HEIGHT = 400
"""Pixels of a chart with a legend of five lines."""
DOTS = "A dot is a mean over seeds and its line the 95 % interval; filled: it excludes zero."
METHOD_TITLES = {"best_of_n": "best of n", "rl": "RL"}


def family_figure(runs: Sequence[Run], family: Family) -> Figure:
    """Paired differences of a family's arms, a panel a metric."""
    arms = differences(runs, family)
    panels = []
    for key in family.metrics:
        records, metric = forest(arms, key), METRICS[key]
        if records:
            unit = "points" if metric.is_share else "gold reward"
            chart = charts.forest(records, f"difference, {unit}")
            height = ROW_HEIGHT * len(records) + FRAME_HEIGHT
            panels.append(Panel(_capital(metric.name), chart, height))
    return _figure(family.key, family.title, f"{family.note} {DOTS}", panels)


def pool_size_figure(runs: Sequence[Run]) -> Figure:
    """Right labels and the student's gain against N."""
    sizes, panels = pool_sizes(runs), []
    labels = by_size(sizes, "label_accuracy")
    if labels:
        chart = charts.by_size(labels, "share of right labels", zero=False)
        panels.append(Panel("Right labels", chart))
    for metric in ACCURACIES:
        records = by_size(sizes, metric)
        if records:
            chart = charts.by_size(records, "difference to HF50, points", zero=True)
            panels.append(Panel(f"Student's {METRICS[metric].name}", chart))
    reading = (
        "West-of-N among the first N of the same candidates. A label is right where the gold "
        "annotator also prefers the chosen response. Bars: 95 % intervals over seeds. Dashed: no "
        "difference to HF50."
    )
    return _figure("pool_size", "West-of-N by pool size N", reading, panels)


def theorem_figure(runs: Sequence[Run]) -> Figure:
    """The theorem's probabilities against N, and right labels against confidence."""
    panels = []
    if records := theorem(runs):
        chart = charts.theorem(records)
        panels.append(Panel("Labels and their bounds by pool size N", chart, THEOREM_HEIGHT))
    if records := confidence(runs):
        chart = charts.confidence(records)
        panels.append(Panel("Labels by the base model's confidence", chart, THEOREM_HEIGHT))
    reading = (
        "P_θ is the base model's probability that the chosen response is better, P* the gold "
        "annotator's, and ε = |P_θ − P*|. The bound is the mean of P_θ − ε over the selected "
        "pairs; P* cannot lie below it with the largest ε that was measured, and may with the "
        "95 % quantile of ε. By confidence: all pairs of the pools in ten bins of P_θ; on the "
        "dashed diagonal the base model is calibrated. Bands and bars: 95 % intervals over seeds."
    )
    return _figure("theorem", "The theorem, measured", reading, panels)


def overoptimisation_figure(runs: Sequence[Run]) -> Figure:
    """Gold and proxy against sqrt(KL), by best-of-n and by RL."""
    panels = []
    for method in METHODS:
        records = curves(runs, method)
        if not records:
            continue
        gold = charts.gold_by_distance(records, fitted(runs, method), peaks(records))
        proxy = charts.proxy_by_distance(records)
        panels.append(Panel(f"Gold reward, {METHOD_TITLES[method]}", gold))
        panels.append(Panel(f"Proxy reward, {METHOD_TITLES[method]}", proxy))
    reading = (
        "The proxy is the student that is optimised, by taking the best of n candidates or by RL; "
        "gold is what the annotators of the world want. Where the proxy rises and gold falls, the "
        "student is exploited. Points of equal n or step are averaged over seeds, with 95 % bands; "
        "proxies are in standard deviations of each student's own. Diamond: the highest mean gold. "
        "Dashed: the curve of Gao et al. 2022 with the mean α and β, d(α − βd) for best of n and "
        "d(α − β log d) for RL."
    )
    return _figure("overoptimisation", "Over-optimisation", reading, panels)


def rounds_figure(runs: Sequence[Run]) -> Figure:
    """The main pipeline's metrics by round of the loop."""
    arms = round_rows(runs, ROUND_METRICS)
    panels = []
    for key in ROUND_METRICS:
        records, metric = by_round(arms, key), METRICS[key]
        if any(row["is_round"] for row in records):
            axis = metric.title if metric.is_share else "gold reward"
            panels.append(Panel(_capital(metric.name), charts.rounds(records, axis)))
    reading = (
        "In each round the last student is the new base model and the last policy, after RL, "
        "writes the new pools. RL gold is the mean gold reward of the policy that is trained "
        "against the round's student. Bars: 95 % intervals of the means over seeds, which hold "
        "what seeds differ by; the sentence above compares within seeds."
    )
    return _figure("rounds", "Rounds of the loop", reading, panels)


def _figure(key: str, title: str, reading: str, panels: Sequence[Panel]) -> Figure:
    return Figure(f"study_{key}", title, reading, tuple(panels), "" if panels else NOTHING)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
