"""The curve of a run, from what it logs: at which steps, and as which records.

Logs are those of transformers' Trainer: a mapping a step, with `eval_` before what validation
measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from westofn.artifacts.curve import Point

POINTS = 100
"""Points of training, at most; one an evaluation comes on top."""
EVALUATED = "eval_"
SUMMARY = "train_runtime"
"""Only the Trainer's last log has it, which is no point of the curve."""


def logged_steps(steps: int, every: int) -> list[int]:
    """The steps at which training is logged: at most `POINTS` at equal distances, and evaluations.

    Args:
        steps: Optimiser steps of the whole run.
        every: An evaluation so many steps, and one at the end.

    >>> logged_steps(5, 2), len(logged_steps(10000, 2000))
    ([1, 2, 3, 4, 5], 100)
    """
    stride = -(-steps // POINTS)
    return sorted({*range(stride, steps, stride), *range(every, steps, every), steps})


def curve_of(history: Iterable[Mapping[str, float]]) -> list[Point]:
    """The records of what was logged.

    >>> curve_of([{"loss": 0.5, "epoch": 1.0, "step": 2}, {"eval_loss": 0.6, "step": 2}])
    [{'split': 'train', 'step': 2, 'loss': 0.5}, {'split': 'validation', 'step': 2, 'loss': 0.6}]
    """
    return [_row(logs) for logs in history if SUMMARY not in logs]


def _row(logs: Mapping[str, float]) -> Point:
    evaluated = any(key.startswith(EVALUATED) for key in logs)
    measured = {
        key.removeprefix(EVALUATED): value
        for key, value in logs.items()
        if key not in ("epoch", "step")
    }
    split = "validation" if evaluated else "train"
    return {"split": split, "step": int(logs["step"]), **measured}
