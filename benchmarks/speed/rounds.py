"""Ours and its peers in turn: medians of ratios of processor time, and their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Work = Callable[[], object]


@dataclass(frozen=True)
class Timed:
    """A loop beside one peer.

    Attributes:
        loop: Name of the loop.
        peer: Name of the peer.
        ours: Median of ours, seconds of processor time.
        theirs: Median of the peer's.
        ratios: The peer's time / ours of every round, ascending.
    """

    loop: str
    peer: str
    ours: float
    theirs: float
    ratios: list[float]

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)


@dataclass(frozen=True)
class Part:
    """A part of a loop.

    Attributes:
        name: As shown.
        seconds: Reads the processor time of the part from a result of the loop.
    """

    name: str
    seconds: Callable[[Any], float]


def compare(
    loop: str,
    ours: Work,
    peers: Mapping[str, Work],
    rounds: int,
    same: Callable[[object, object], bool],
    part: Part | None = None,
) -> list[Timed]:
    """Run ours and every peer once to compare the results, then in turn, `rounds` times.

    Args:
        loop: Name of the loop.
        ours: The loop.
        peers: What else does it, by name.
        rounds: Number of rounds.
        same: Returns whether the peer's result (second) is that of ours.
        part: A part of the loop, which gets a row of its own before that of the loop.

    Raises:
        AssertionError: A peer gives another result.
    """
    works = {"": ours, **peers}
    results = {name: work() for name, work in works.items()}
    for name in peers:
        if not same(results[""], results[name]):
            raise AssertionError(f"{loop}: {name} gives another result")
    whole: dict[str, list[float]] = {name: [] for name in works}
    inside: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.process_time()
            result = work()
            whole[name].append(time.process_time() - started)
            if part:
                inside[name].append(part.seconds(result))
    return [*(_timed(part.name, inside) if part else []), *_timed(loop, whole)]


def _timed(loop: str, seconds: Mapping[str, list[float]]) -> list[Timed]:
    """A row for every peer, from the seconds of the rounds; ours are those of the name ""."""
    mine, timed = seconds[""], []
    for name, theirs in seconds.items():
        if not name:
            continue
        ratios = sorted(b / a for a, b in zip(mine, theirs, strict=True))
        timed.append(Timed(loop, name, statistics.median(mine), statistics.median(theirs), ratios))
        print(
            f"{loop}, {name}: {timed[-1].ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )
    return timed
