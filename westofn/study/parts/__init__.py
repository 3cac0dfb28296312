"""The parts of the study: one module each, which offers `run(lab)`, and one DVC stage each.

A part is named here and nowhere else: its module, its stage in study/dvc.yaml, its output
data/study/NAME.json and its records in study.json follow from the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """The names of the parts, in the order of study/dvc.yaml."""

    NETWORKS = "networks"
    BASELINES = "baselines"
    SYNTHETIC_BASES = "synthetic_bases"
    SELECTION = "selection"
    TEACHERS = "teachers"
    DATA = "data"
    SIZE = "size"
    OVEROPTIMISATION = "overoptimisation"
    ITERATIONS = "iterations"

    @property
    def module(self) -> str:
        """The module that trains and measures its arms."""
        return f"westofn.study.parts.{self.value}"

    @property
    def stage(self) -> str:
        """Its stage in study/dvc.yaml."""
        return f"study_{self.value}"

    def output(self, iteration: str = "") -> str:
        """The file that its stage writes, from the root of the repository.

        Args:
            iteration: The round of the loop that it measures; empty where it measures none.

        >>> Part.SIZE.output(), Part.ITERATIONS.output("k2")
        ('data/study/size.json', 'data/study/iterations/k2.json')
        """
        name = f"{self.value}/{iteration}" if iteration else self.value
        return f"data/study/{name}.json"


@dataclass(frozen=True)
class Inputs:
    """What a part reads, below data/.

    Attributes:
        paths: Files and folders.
        by_iteration: Whether it runs once for each round of the loop, and reads the reward model
            and the policy of that round too.
    """

    paths: tuple[str, ...]
    by_iteration: bool = False

    def of(self, iteration: str) -> tuple[str, ...]:
        """All paths, with those of a round; empty where the part measures no round."""
        folder = f"loop/{iteration}"
        return (*self.paths, f"{folder}/policy", f"{folder}/rm") if iteration else self.paths


_MEASURING = ("prepared", "world", "autorater")
_TRAINING = (
    *_MEASURING,
    "loop/k0/policy",
    "loop/k1/candidates.parquet",
    "eval_pool/candidates.parquet",
)
_TEACHER, _POOLS, _VERDICTS = "loop/k0/rm", "study/pools", "study/verdicts.parquet"
_REFERENCES = ("reference/hf50", "reference/hf100")

INPUTS: Mapping[Part, Inputs] = {
    Part.NETWORKS: Inputs((*_TRAINING, _TEACHER)),
    Part.BASELINES: Inputs((*_TRAINING, _TEACHER, _POOLS, _VERDICTS)),
    Part.SYNTHETIC_BASES: Inputs((*_TRAINING, _POOLS, _VERDICTS)),
    Part.SELECTION: Inputs((*_TRAINING, _TEACHER)),
    Part.TEACHERS: Inputs((*_TRAINING, _TEACHER, _POOLS)),
    Part.DATA: Inputs((*_TRAINING, _TEACHER)),
    Part.SIZE: Inputs((*_TRAINING, _TEACHER)),
    Part.OVEROPTIMISATION: Inputs(
        (*_MEASURING, "loop/k0/policy", "loop/k1/rm", *_REFERENCES, _POOLS)
    ),
    Part.ITERATIONS: Inputs((*_MEASURING, *_REFERENCES), by_iteration=True),
}
"""What each part reads; study/dvc.yaml and the code of the part are compared with it."""
