"""Trains and measures one arm after another; what is measured survives a kill.

Every student is trained by the one function that trains all reward models, from the same SFT
weights, with the same optimiser steps and batch; only its data differs, or what its name says.
Linear students are heads on the frozen features of those weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from westofn.artifacts.integrity import read_sealed, write_sealed
from westofn.errors import DataError
from westofn.evaluation.arms import evaluate_arm
from westofn.evaluation.judges import GoldJudge
from westofn.evaluation.records import Record, Value
from westofn.execution.damage import drop
from westofn.models.ensemble import Ensemble
from westofn.params.reward import Learner, RewardModelParams
from westofn.runtime import Runtime
from westofn.study.inputs import StudyInputs
from westofn.study.synthetic import Pairs
from westofn.training.arms import preferences_from
from westofn.training.linear_head import LinearHead, train_linear_head
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.trained import TrainedReward

POINTWISE = Head("pointwise")
KEPT_FACTS = (
    "best_step",
    "covariance_power",
    "penalty",
    "validation_accuracy",
    "validation_calibrated_loss",
)


class Changes(TypedDict, total=False):
    """Where the training of an arm differs from that of the main pipeline's student.

    Attributes:
        head: The comparator; pointwise by default.
        params: Settings of the training; `student_rm` by default.
        policy: Folder of the policy whose weights it starts from; the SFT policy by default.
        fraction: Share of synthetic rows in the batch; that of `student_rm` by default.
        seed: Seed of the training, of a linear head that of a bootstrap sample; by default the
            run's, and no sample.
        learner: What learns; that of `student_rm` by default, but a network where `params` or a
            pairwise `head` are given.
        powers: Powers of a linear head's covariance prior, of which validation picks one; 0, the
            default, is no prior. Its samples are the pools of `unlabeled`.
    """

    head: Head
    params: RewardModelParams
    policy: Path
    fraction: float
    seed: int | None
    learner: Learner
    powers: tuple[float, ...]


@dataclass
class Lab:
    """Where the arms of one part are trained and measured.

    Attributes:
        inputs: Data, models and pools of the main pipeline.
        folder: Scratch folder of this part on these inputs; it keeps the finished arms.
        runtime: Hardware settings.
        arms: The measured numbers by the arm's name, in order.
        tables: Other records of the part, by name.
    """

    inputs: StudyInputs
    folder: Path
    runtime: Runtime
    arms: dict[str, Record] = field(default_factory=dict)
    tables: dict[str, list[Record]] = field(default_factory=dict)

    @property
    def labeled(self) -> Preferences:
        """HF50 as training data."""
        return preferences_from(self.inputs.labeled)

    def student(
        self,
        name: str,
        human: Preferences,
        synthetic: Pairs | Callable[[], Pairs] | None = None,
        *,
        note: Mapping[str, Value] | None = None,
        **changes: Unpack[Changes],
    ) -> None:
        """Train an arm, measure it as `eval` does, and keep its numbers only.

        Args:
            name: Name of the arm, used once in a part.
            human: The human half of the batch (D_L).
            synthetic: The other half, or a function that makes it (a teacher is trained only if the
                arm was not measured before), or None.
            note: Further numbers of the arm.
            changes: Where the training differs from the main pipeline's student.
        """

        def work() -> Record:
            pairs = synthetic() if callable(synthetic) else synthetic
            trained = self.train(name, human, pairs, **changes)
            return self._numbers(name, human, pairs, trained) | dict(note or {})

        self.arms[name] = self.remembered(name, work)

    def _numbers(
        self, name: str, human: Preferences, pairs: Pairs | None, trained: TrainedReward
    ) -> Record:
        """The numbers of an arm that are kept."""
        numbers = dict(self.measure(name, Ensemble.of(trained.scorer)))
        numbers |= {
            "human_pairs": len(human),
            "synthetic_pairs": 0 if pairs is None else len(pairs),
            **{key: trained.facts[key] for key in KEPT_FACTS if key in trained.facts},
        }
        if pairs is not None and isinstance(self.inputs.judge, GoldJudge):
            numbers["label_accuracy"] = pairs.label_accuracy(self.inputs.judge)
        return numbers

    def train(
        self,
        name: str,
        human: Preferences,
        synthetic: Pairs | None = None,
        **changes: Unpack[Changes],
    ) -> TrainedReward:
        """Train a reward model that stays in memory; arguments as of `student`."""
        head, params = changes.get("head", POINTWISE), changes.get("params")
        policy, fraction = changes.get("policy"), changes.get("fraction")
        seed, learner = changes.get("seed"), changes.get("learner")
        powers = changes.get("powers", (0.0,))
        inputs = self.inputs
        section = inputs.params.student_rm
        if learner is None:
            own = params is not None or head != POINTWISE
            learner = "network" if own else section.learner
        pairs = TrainingPairs(
            human,
            None if synthetic is None else synthetic.preferences,
            preferences_from(inputs.human.validation),
            section.synthetic_fraction if fraction is None else fraction,
        )
        recipe = Recipe(
            policy or inputs.policy_folder,
            inputs.params.reward_start,
            params or section,
            inputs.seed if seed is None else seed,
            head,
        )
        if learner == "linear_head":
            samples = inputs.unlabeled if any(powers) else None
            linear = LinearHead(powers, samples)
            trained = train_linear_head(name, pairs, linear, recipe, self.runtime, seed)
        else:
            scratch = self.folder / f"{name}-training"
            trained = train_reward_model(name, pairs, recipe, scratch, self.runtime)
            shutil.rmtree(scratch, ignore_errors=True)
        return replace(trained, scorer=inputs.reading_alike(trained.scorer))

    def teacher(self, name: str, human: Preferences, *, seed: int | None = None) -> Ensemble:
        """A base preference model by the recipe `base_rm`, on other data or with another seed."""
        base = self.inputs.params.base_rm
        head = Head(base.comparator, base.planes)
        trained = self.train(name, human, head=head, params=base, seed=seed, learner=base.learner)
        return Ensemble.of(trained.scorer)

    def measure(self, name: str, model: Ensemble) -> Record:
        """What `eval` measures of a model, without the synthetic pairs; numbers only."""
        inputs = self.inputs
        measured = evaluate_arm(
            name,
            model,
            preferences=inputs.test,
            pools=inputs.test_pools,
            judge=inputs.judge,
            seed=inputs.seed,
            judged=inputs.test_pools_judged,
        )
        return {key: value for key, value in measured.metrics.items() if not isinstance(value, str)}

    def subfolder(self, name: str) -> Path:
        """A folder of this part for work in progress."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def record(self, table: str, **values: Any) -> None:
        """Add a record to one of the part's tables."""
        self.tables.setdefault(table, []).append(values)

    def remembered(self, name: str, work: Callable[[], Record]) -> Record:
        """The work's numbers, from an earlier run of this part if that was killed after it."""
        path = self.folder / f"{name}.json"
        if path.exists():
            try:
                return read_sealed(path)
            except DataError as error:
                drop(name, path, str(error), "this arm is computed again")
        write_sealed(work(), path)
        return read_sealed(path)
