"""A study whose every difference is known: arm = HF50 of the seed + an effect + a pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from westofn.study.catalogue import GROUPS
from westofn.study.records import Study

PATTERN = (-0.01, 0.0, 0.01)
"""What seeds add to an effect: standard deviation 0.01, so the t-interval is ± 2.484 points."""
EFFECTS = {"hf50": 0.0, "west": 0.03, "hf100": 0.05, "shuffled": -0.2, "best_random": 0.01}
OTHER_EFFECT = 0.04


def planted(seeds: Sequence[int] = (3, 4, 5)) -> Study:
    """Every group of the catalogue, every table, three rounds; at most three seeds."""
    return Study(list(seeds), [run(place) for place in range(len(seeds))])


def run(place: int) -> dict[str, Any]:
    """One seed's run."""
    return {"main": _main(place), "arms": _arms(place), "tables": _tables(place)}


def arm(place: int, effect: float) -> dict[str, float]:
    """HF50 differs from seed to seed by much more than any effect."""
    moved = effect + (PATTERN[place] if effect else 0.0)
    return {
        "accuracy": 0.5 + 0.1 * place + moved,
        "on_policy_accuracy": 0.4 + 0.1 * place + moved,
        "best_of_n_gold": 3.0 + place + 10 * moved,
        "label_accuracy": 0.6 + moved,
    }


def _arms(place: int) -> dict[str, dict[str, dict[str, float]]]:
    parts: dict[str, dict[str, dict[str, float]]] = {"overoptimisation": {}}
    for group in GROUPS:
        for name in group.arms:
            effect = 0.0 if name == group.against else EFFECTS.get(name, OTHER_EFFECT)
            parts.setdefault(group.part, {})[name] = arm(place, effect)
    for power in range(1, 7):  # N = 2 … 64: effects 0.01 … 0.06
        parts["selection"][f"n{2**power}"] = arm(place, 0.01 * power)
    return parts


def _main(place: int) -> dict[str, dict[str, float]]:
    effects = {"hf50": 0.0, "hf100": 0.05, "k1": 0.03, "k2": 0.04, "k3": 0.06}
    main = {name: arm(place, effect) for name, effect in effects.items()}
    for number, name in enumerate(("k1", "k2", "k3")):
        main[name]["rl_gold"] = 5.0 + place - 2 * number + 10 * PATTERN[place] * number
    return main


def _tables(place: int) -> dict[str, list[dict[str, Any]]]:
    shift = PATTERN[place]
    theorem = [
        {
            "n": 2**power,
            "correct": 0.7 + 0.04 * power + shift * power,
            "p_true": 0.7 + 0.03 * power,
            "p_model": 0.65 + 0.04 * power,
            "bound": 0.1 + 0.01 * power,
            "bound_q95": 0.3 + 0.05 * power,
        }
        for power in range(1, 7)
    ]
    confidence = [
        {
            "bin": bin_,
            "p_model": 0.525 + 0.05 * bin_,
            "p_true": 0.52 + 0.05 * bin_,
            "correct": 0.51 + 0.05 * bin_ + (shift if bin_ else 0.0),
        }
        for bin_ in range(10)
    ]
    curves, fits = [], []
    for student in ("hf50", "hf100", "west"):
        for method, at in (("best_of_n", "n"), ("rl", "step")):
            curves += [_point(student, method, at, place, d) for d in range(5)]
            fits.append(
                {
                    "student": student,
                    "method": method,
                    "alpha": 3.0,
                    "beta": 0.5,
                    "largest_distance": 4.0,
                    "gold_at_start": 1.0 + place,
                }
            )
    return {"theorem": theorem, "confidence": confidence, "curves": curves, "fits": fits}


def _point(student: str, method: str, at: str, place: int, d: int) -> dict[str, Any]:
    """Gold is d(3 − d / 2) by best-of-n: 0, 2.5, 4, 4.5, 4, and one less a seed at the end."""
    form = d * (3 - 0.5 * d) if method == "best_of_n" else d * (3 - 0.5 * math.log(d or 1))
    return {
        "student": student,
        "method": method,
        at: 2**d,
        "kl": float(d * d),
        "distance": float(d),
        "proxy": float(d) + PATTERN[place],
        "gold": 1.0 + place + form + (10 * PATTERN[place] if d == 4 else 0.0),
    }
