"""What the records of the map say together: means over seeds, intervals, rank correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.map.settings import Place
from westofn.core.intervals import MeanInterval, mean_interval
from westofn.core.metrics import rank_correlation

Record = Mapping[str, Any]
RESAMPLES = 2000


@dataclass(frozen=True)
class CellSummary:
    """One place over its seeds.

    Attributes:
        place: Where.
        records: One a seed.
    """

    place: Place
    records: Sequence[Record]

    def gain(self, arm: str, metric: str) -> MeanInterval:
        """An arm less HF50, with its t-interval over seeds."""
        return mean_interval([record["gains"][arm][metric] for record in self.records])

    def level(self, metric: str) -> MeanInterval:
        """HF50."""
        return mean_interval([record["hf50"][metric] for record in self.records])

    def kappa(self, key: str) -> float | None:
        """The median over seeds of `policy`, `human` or `ratio`; None where most have none."""
        measured = [r["forecast"]["kappa"][key] for r in self.records if r["forecast"]["kappa"]]
        return float(np.median(measured)) if 2 * len(measured) > len(self.records) else None

    def foreseen(self, arm: str, metric: str) -> float:
        """The forecast's gain, a mean over seeds."""
        return float(np.mean([r["forecast"]["gains"][arm][metric]["mean"] for r in self.records]))


def cells(records: Sequence[Record], kind: str) -> list[CellSummary]:
    """The places of one kind of head, in order."""
    grouped: dict[Place, list[Record]] = {}
    for record in records:
        if record["kind"] == kind:
            place = Place(record["alignment"], record["off_policyness"], record["labels"])
            grouped.setdefault(place, []).append(record)
    return [CellSummary(place, grouped[place]) for place in sorted(grouped)]


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over cells, and its 95 % bootstrap interval over seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def over_cells(summaries: Sequence[CellSummary], x: Any, y: Any) -> Correlation:
    """Rank correlation of two numbers of a record, whose cell means are compared.

    Args:
        summaries: Cells with the same seeds.
        x: Record -> number or None; a cell without numbers is left out.
        y: The same.
    """
    seeds = sorted({record["seed"] for cell in summaries for record in cell.records})
    by_seed = [{record["seed"]: record for record in cell.records} for cell in summaries]

    def correlate(drawn: Sequence[int]) -> float:
        points = []
        for cell in by_seed:
            pairs = [(x(cell[s]), y(cell[s])) for s in drawn if s in cell]
            both = [(a, b) for a, b in pairs if a is not None and b is not None]
            if both:
                points.append(np.mean(both, axis=0))
        xs, ys = np.array(points).T
        return rank_correlation(xs, ys)

    rng = np.random.default_rng(0)
    drawn = [correlate(rng.choice(seeds, len(seeds)).tolist()) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Correlation(correlate(seeds), float(low), float(high))


def ratio(record: Record) -> float | None:
    """Log of κ/κ_H; None where it was not measured."""
    kappa = record["forecast"]["kappa"]
    return float(np.log(max(kappa["ratio"], 1e-3))) if kappa else None


def gain_of(arm: str, metric: str) -> Any:
    """Record -> the gain of an arm."""
    return lambda record: record["gains"][arm][metric]


def foreseen_of(arm: str, metric: str) -> Any:
    """Record -> the forecast's mean gain of an arm."""
    return lambda record: record["forecast"]["gains"][arm][metric]["mean"]
