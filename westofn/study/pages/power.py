"""The smallest differences that the seeds of a table could have seen."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from westofn.study.catalogue import METRICS, SHOWN
from westofn.study.means import Row
from westofn.study.pages.templates import sentence


def power_line(
    rows: Sequence[Row], against: str, seeds: int, metrics: Sequence[str] = SHOWN
) -> str:
    """The smallest effect that a table's seeds could have seen, a sentence; empty without one.

    Rows differ in their spread: the effect of a metric is the middle one of the table's rows.

    Args:
        rows: Rows of the table; those without differences do not count.
        against: What the differences are to.
        seeds: How many seeds the table has.
        metrics: Keys of METRICS, in the order of the sentence.
    """
    sizes = []
    for key in metrics:
        metric = METRICS[key]
        cells = [row.differences[key] for row in rows if key in row.differences]
        known = [cell.detectable for cell in cells if cell.detectable is not None]
        if known and metric.gain:
            sizes.append((metric.scale * median(known), metric))
    if not sizes:
        return ""
    several = sum(bool(row.differences) for row in rows) > 1
    return sentence("power", seeds=seeds, against=against, sizes=sizes, several=several)
