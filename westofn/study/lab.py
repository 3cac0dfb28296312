"""Trains and measures one arm after another; what is measured survives a kill.

Every student is trained by the one function that trains all reward models, from the same SFT
weights, with the same optimiser steps and batch; only its data differs, or what its name says.
Linear students are heads on the frozen features of those weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from westofn.artifacts.json_file import read_json, write_json
from westofn.evaluation.arms import evaluate_arm
from westofn.evaluation.judges import GoldJudge
from westofn.evaluation.records import Record, Value
from westofn.models.ensemble import Ensemble
from westofn.params.reward import RewardModelParams
from westofn.params.student_rm import Learner
from westofn.runtime import Runtime
from westofn.study.inputs import StudyInputs
from westofn.study.synthetic import Pairs
from westofn.training.arms import preferences_from
from westofn.training.linear_head import LinearHead, Samples, train_linear_head
from westofn.training.preference import (
    Head,
    Preferences,
    TrainedReward,
    train_reward_model,
)

POINTWISE = Head("pointwise")
KEPT_FACTS = (
    "best_step",
    "covariance_power",
    "penalty",
    "validation_accuracy",
    "validation_calibrated_loss",
)


@dataclass
class Lab:
    """Where the arms of one part are trained and measured.

    Attributes:
        inputs: What the main pipeline left.
        folder: Scratch folder of this part on these inputs: finished arms wait there.
        runtime: Hardware settings.
        arms: What was measured so far, by the arm's name, in order.
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
        head: Head = POINTWISE,
        params: RewardModelParams | None = None,
        policy: Path | None = None,
        fraction: float | None = None,
        seed: int | None = None,
        learner: Learner | None = None,
        powers: tuple[float, ...] = (0.0,),
        note: Mapping[str, Value] | None = None,
    ) -> None:
        """Train an arm, measure it as `eval` does, and keep its numbers only.

        Args:
            name: The arm's; once a part.
            human: What stands in the human half of the batch (D_L).
            synthetic: What stands in the other half, or how to make it (a teacher is trained only
                where the arm was not measured before), or None.
            head: The comparator; students are pointwise.
            params: Where they differ from `student_rm`.
            policy: Whose weights it starts from, where it is not the SFT policy.
            fraction: Share of synthetic rows where it differs from `student_rm`.
            seed: Where it differs from the run's.
            learner: Where it differs from `student_rm`, see `train`.
            powers: Of a linear head's covariance prior, see `train`.
            note: Further numbers of the arm.
        """

        def work() -> Record:
            pairs = synthetic() if callable(synthetic) else synthetic
            trained = self.train(
                name, human, pairs, head=head, params=params, policy=policy,
                fraction=fraction, seed=seed, learner=learner, powers=powers,
            )  # fmt: skip
            return self._numbers(name, human, pairs, trained) | dict(note or {})

        self.arms[name] = self.remembered(name, work)

    def _numbers(
        self, name: str, human: Preferences, pairs: Pairs | None, trained: TrainedReward
    ) -> Record:
        """What is kept of an arm."""
        found = dict(self.measure(name, Ensemble.of(trained.scorer)))
        found |= {
            "human_pairs": len(human),
            "synthetic_pairs": 0 if pairs is None else len(pairs),
            **{key: trained.facts[key] for key in KEPT_FACTS if key in trained.facts},
        }
        if pairs is not None and isinstance(self.inputs.judge, GoldJudge):
            found["label_accuracy"] = pairs.label_accuracy(self.inputs.judge)
        return found

    def train(
        self,
        name: str,
        human: Preferences,
        synthetic: Pairs | None = None,
        *,
        head: Head = POINTWISE,
        params: RewardModelParams | None = None,
        policy: Path | None = None,
        fraction: float | None = None,
        seed: int | None = None,
        learner: Learner | None = None,
        powers: tuple[float, ...] = (0.0,),
    ) -> TrainedReward:
        """Train a reward model that stays in memory; see `student`.

        What learns is `student_rm.learner`, unless `learner` says otherwise; where other `params`
        or a pairwise head are given, a network. A linear head may have a covariance prior: of
        `powers` validation picks one, 0 is none, and its samples are the pools of `unlabeled`.
        """
        inputs = self.inputs
        section = inputs.params.student_rm
        if learner is None:
            own = params is not None or head != POINTWISE
            learner = "network" if own else section.learner
        pairs = None if synthetic is None else synthetic.preferences
        validation = preferences_from(inputs.human.validation)
        share = section.synthetic_fraction if fraction is None else fraction
        start, folder = inputs.params.reward_start, policy or inputs.policy_folder
        arm_seed = inputs.seed if seed is None else seed
        if learner == "linear_head":
            pools = inputs.unlabeled if any(powers) else None
            samples = None if pools is None else Samples(pools.prompts, pools.responses)
            trained = train_linear_head(
                name, human, pairs, validation,
                linear=LinearHead(powers, samples), policy=folder, start=start,
                readout=section.readout, synthetic_fraction=share, seed=arm_seed,
                runtime=self.runtime,
            )  # fmt: skip
        else:
            scratch = self.folder / f"{name}-training"
            trained = train_reward_model(
                name, human, pairs, validation,
                policy=folder, start=start, head=head, params=params or section,
                synthetic_fraction=share, seed=arm_seed, scratch=scratch, runtime=self.runtime,
            )  # fmt: skip
            shutil.rmtree(scratch, ignore_errors=True)
        return replace(trained, scorer=inputs.reading_alike(trained.scorer))

    def teacher(self, name: str, human: Preferences, *, seed: int | None = None) -> Ensemble:
        """A base preference model by the recipe `base_rm`, on other data or with another seed."""
        base = self.inputs.params.base_rm
        head = Head(base.comparator, base.planes)
        trained = self.train(name, human, head=head, params=base, seed=seed)
        return Ensemble.of(trained.scorer)

    def measure(self, name: str, model: Ensemble) -> Record:
        """What `eval` measures of a model, without the synthetic pairs; numbers only."""
        inputs = self.inputs
        found = evaluate_arm(
            name,
            model,
            preferences=inputs.test,
            pool=inputs.test_pool,
            judge=inputs.judge,
            seed=inputs.seed,
            judged=inputs.test_pool_judged,
        )
        return {key: value for key, value in found.metrics.items() if not isinstance(value, str)}

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
        if path.is_file():
            return read_json(path)
        found = work()
        write_json(found, path)
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
