"""How much human data, how noisy, and how the student is regularised; with and without West-of-N.

Fractions are of D_L. Where the human data changes, the base model is trained on it too, so `west`
arms use no label that their counterpart lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from westofn.core.seeds import derive_seed
from westofn.study.inputs import west_of_n
from westofn.study.lab import Lab
from westofn.study.synthetic import Pairs
from westofn.training.arms import preferences_from
from westofn.training.pairs import Preferences

AMOUNTS = (0.25, 0.5)
FLIPS = (0.1, 0.2)
DROPOUTS = (0.0, 0.5)


def run(lab: Lab) -> None:
    """Amount, noise, regularisation."""
    hf50 = lab.labeled
    for amount in AMOUNTS:
        fewer = hf50.take(range(max(1, round(amount * len(hf50)))))
        _with_and_without(lab, f"human{round(100 * amount)}", fewer)
    # West-of-N on top of all human pairs: D_U's prompts are then labelled twice.
    _with_and_without(lab, "human200", preferences_from(lab.inputs.human.train), alone=False)
    for rate in FLIPS:
        _with_and_without(lab, f"noise{round(100 * rate)}", flipped(hf50, rate, lab.inputs.seed))
    if lab.inputs.params.student_rm.learner == "linear_head":
        return  # which has no dropout
    west = lab.inputs.west
    for dropout in DROPOUTS:
        params = lab.inputs.params.student_rm.model_copy(update={"dropout": dropout})
        name = f"dropout{round(100 * dropout)}"
        lab.student(name, hf50, params=params)
        lab.student(f"{name}_west", hf50, west, params=params)


def _with_and_without(lab: Lab, name: str, human: Preferences, *, alone: bool = True) -> None:
    if alone:
        lab.student(name, human)
    lab.student(f"{name}_west", human, _taught_by(lab, name, human))


def _taught_by(lab: Lab, name: str, human: Preferences) -> Callable[[], Pairs]:
    def west() -> Pairs:
        teacher = lab.teacher(f"{name}-teacher", human)
        return west_of_n(teacher, lab.inputs.unlabeled)

    return west


def flipped(pairs: Preferences, rate: float, seed: int) -> Preferences:
    """The same pairs, each with the given probability in the wrong order; nested in the rate."""
    draws = np.random.default_rng(derive_seed(seed, "study", "noise")).random(len(pairs))
    sides = zip(pairs.chosen, pairs.rejected, (draws < rate).tolist(), strict=True)
    order = [(b, a) if flip else (a, b) for a, b, flip in sides]
    return replace(pairs, chosen=[a for a, _ in order], rejected=[b for _, b in order])
