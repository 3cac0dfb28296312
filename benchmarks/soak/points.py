"""The points at which a stage meets a fault: all of them, or a sample that covers its whole run."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.soak.faults import CALLS, KINDS, Call


@dataclass(frozen=True)
class Point:
    """One fault.

    Attributes:
        stage: Name of the stage in dvc.yaml.
        earlier: Whether other outputs of an earlier run lie there; DVC removes them first.
        kind: One of `KINDS`.
        target: Number of the call that meets it.
    """

    stage: str
    earlier: bool
    kind: str
    target: int


def points_of(stage: str, calls: Mapping[bool, Sequence[Call]]) -> list[Point]:
    """Every point of a stage.

    Args:
        stage: Name of the stage.
        calls: The calls of a run without a fault, by whether outputs of an earlier run lie there.
    """
    return [
        Point(stage, earlier, kind, target)
        for kind in KINDS
        for earlier, listed in calls.items()
        for target, call in enumerate(listed)
        if call.name in CALLS.get(kind, (call.name,))
    ]


def shares(sizes: Mapping[str, int], points: int) -> dict[str, int]:
    """Divide a number of points among stages or kinds; what small ones leave goes to the others.

    >>> shares({"a": 3, "b": 50, "c": 50}, 43)
    {'a': 3, 'b': 20, 'c': 20}
    """
    divided = {}
    names = sorted(sizes, key=lambda name: sizes[name])
    for index, name in enumerate(names):
        divided[name] = min(sizes[name], points // (len(names) - index))
        points -= divided[name]
    return divided


def drawn(points: Sequence[Point], size: int, seed: int) -> list[Point]:
    """Draw points of a stage, of every kind equally many if there are enough of each."""
    kinds = {kind: [point for point in points if point.kind == kind] for kind in KINDS}
    sizes = shares({kind: len(listed) for kind, listed in kinds.items()}, size)
    return [point for kind in KINDS for point in spread(kinds[kind], sizes[kind], seed)]


def spread(points: Sequence[Point], size: int, seed: int) -> list[Point]:
    """Draw one point from each of `size` equal stretches of a list.

    >>> listed = [Point("code", False, "kill", target) for target in range(100)]
    >>> [point.target // 25 for point in spread(listed, 4, seed=0)]
    [0, 1, 2, 3]
    """
    draw = random.Random(f"{seed}/{points[:1]}")
    edges = [len(points) * index // size for index in range(size + 1)] if size else []
    return [points[draw.randrange(*edge)] for edge in pairwise(edges)]
