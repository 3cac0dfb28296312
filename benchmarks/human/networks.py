"""HF50, HF100 and West-of-N as trained networks, on the labels of one draw."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from torch import Tensor

from benchmarks.human.corpus import Corpus, Features
from benchmarks.human.data import PAIR_COLUMNS
from benchmarks.human.linear import Labels, LinearJudge, measure_margins
from benchmarks.kept import trained_network
from westofn.artifacts.pools import Pools
from westofn.core.selection import exact_best_worst
from westofn.evaluation.records import Record
from westofn.models.ensemble import Ensemble, mean_rewards
from westofn.models.reward import Scorer
from westofn.models.scoring import pair_margins, pool_margins
from westofn.params.base_rm import BaseRmParams
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams
from westofn.params.student_rm import StudentRmParams
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.recipe import Head
from westofn.training.recipe import Recipe as TrainingRecipe

PROMPTS_AT_ONCE = 32
POINTWISE = Head("pointwise")


@dataclass(frozen=True)
class Recipe:
    """How networks are trained.

    Attributes:
        base: The teacher, section `base_rm`.
        student: All arms, section `student_rm`.
        start: Section `reward_start`.
    """

    base: BaseRmParams
    student: StudentRmParams
    start: RewardStartParams


def network_arms(
    corpus: Corpus, features: Features, labels: Labels, recipe: Recipe, judge: LinearJudge | None
) -> dict[str, Record]:
    """Train HF50, HF100, the teacher and its student, and measure all but the teacher.

    Args:
        corpus: Policy, pools and pairs.
        features: The corpus's, for the judge and the nearest test pairs.
        labels: Rows of the train pairs.
        recipe: How reward models are trained.
        judge: Judges best-of-n, where the task has one.
    """
    arms = _Arms(corpus, recipe)
    half, full = arms.human(labels.half), arms.human(labels.full)
    hf50 = arms.train("hf50", half)
    teacher = hf50 if corpus.task.teacher == "hf50" else arms.teacher(half)
    trained = {
        "hf50": hf50,
        "hf100": arms.train("hf100", full),
        "west": arms.train("west", half, _west_of_n(teacher, corpus.pools)),
    }
    return {name: _measure(scorer, corpus, features, judge) for name, scorer in trained.items()}


@dataclass(frozen=True)
class _Arms:
    corpus: Corpus
    recipe: Recipe

    def human(self, rows: Tensor) -> Preferences:
        return preferences_of(self.corpus.texts.pairs["train"][rows.tolist()])

    def train(
        self,
        name: str,
        human: Preferences,
        synthetic: Preferences | None = None,
        head: Head = POINTWISE,
        params: RewardModelParams | None = None,
    ) -> Scorer:
        corpus, student = self.corpus, self.recipe.student
        validation = preferences_of(corpus.texts.pairs["validation"])
        return trained_network(
            name,
            TrainingPairs(human, synthetic, validation, student.synthetic_fraction),
            TrainingRecipe(
                corpus.policy_folder, self.recipe.start, params or student, corpus.seed, head
            ),
            corpus.folder / f"{name}-scratch",
        )

    def teacher(self, half: Preferences) -> Scorer:
        base = self.recipe.base
        return self.train("base", half, head=Head(base.comparator, base.planes), params=base)


def preferences_of(pairs: pl.DataFrame) -> Preferences:
    """Human pairs as hard labels."""
    prompts, chosen, rejected = (pairs[name].to_list() for name in PAIR_COLUMNS)
    return Preferences(prompts, chosen, rejected, [1.0] * pairs.height)


def _west_of_n(teacher: Scorer, pools: Pools) -> Preferences:
    """The pair of every pool of which the teacher is surest."""
    chosen: list[str] = []
    rejected: list[str] = []
    for start in range(0, len(pools.prompts), PROMPTS_AT_ONCE):
        part = pools.responses[start : start + PROMPTS_AT_ONCE]
        prompts = pools.prompts[start : start + PROMPTS_AT_ONCE]
        pairs = exact_best_worst(pool_margins(teacher, prompts, part))
        chosen += [pool[i] for pool, i in zip(part, pairs.best.tolist(), strict=True)]
        rejected += [pool[i] for pool, i in zip(part, pairs.worst.tolist(), strict=True)]
    return Preferences(pools.prompts, chosen, rejected, [1.0] * len(chosen))


def _measure(
    scorer: Scorer, corpus: Corpus, features: Features, judge: LinearJudge | None
) -> Record:
    test = corpus.texts.pairs["test"]
    prompts, chosen, rejected = (test[name].to_list() for name in PAIR_COLUMNS)
    record = measure_margins(pair_margins(scorer, prompts, chosen, rejected), features)
    if judge is not None:
        rewards = mean_rewards(
            Ensemble.of(scorer), corpus.test_pools.prompts, corpus.test_pools.responses
        )
        record["win_rate"] = judge.win_rate(features, rewards)
    return record
