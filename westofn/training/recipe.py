"""How a reward model is trained, whatever its pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from westofn.networks.adapters import Facts
from westofn.params.comparator import ComparatorName
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams


@dataclass(frozen=True)
class Head:
    """Which comparator to put on the weights that a reward model starts from."""

    comparator: ComparatorName
    planes: int = 0


@dataclass(frozen=True)
class Recipe:
    """How a reward model is trained, whatever its pairs.

    Attributes:
        policy: Folder of the policy whose limits are taken over, and by default its weights and
            tokenizer.
        start: The section `reward_start`.
        params: Optimiser, loss, dropout, centering, runs.
        seed: The run's seed; arms with equal seeds share the head's initial weights.
        head: The comparator.
    """

    policy: Path
    start: RewardStartParams
    params: RewardModelParams
    seed: int
    head: Head = Head("pointwise")


def start_facts(recipe: Recipe) -> Facts:
    """Which weights the model started from, where they are not the policy's."""
    name = recipe.start.model
    return {} if name == "policy" else {"start": Path(name).name}
