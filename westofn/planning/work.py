"""The work of each stage, as a number of responses.

A response that is read once counts 1, in training 3 (forward and backward pass), and more in RL. A
stage takes `start + work x rate` seconds. Two probes measure both, so the weights matter only where
the parts of a stage grow differently between probe and run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.evaluation.forecasting import MOST_PAIRS, MOST_PROMPTS, MOST_SAMPLES
from westofn.evaluation.policy import SAMPLES_A_PROMPT
from westofn.params.whole import Params
from westofn.sources.data import labeled_half
from westofn.training.linear_head import MOST_SAMPLES as MOST_CANDIDATES

TRAINED = 3
"""Work of a response that is trained on: a forward pass, and a backward pass of twice its work."""
RL_RESPONSE = 9
"""Work of a response in RL: drawn, scored by reference and reward model, learned by two models."""
PROBED = 3
"""Work of a response at a point of RL's curve: drawn and scored."""


@dataclass(frozen=True)
class Counts:
    """Rows of prepared data.

    Attributes:
        sft_validation: Demonstrations of split validation.
        half: Human pairs of HF50.
        train: Human pairs of HF100.
        validation: Human pairs of split validation.
        autorater: Human pairs of split autorater.
        test: Human pairs of split test.
        unlabeled: Prompts of D_U.
        test_prompts: Test prompts.
    """

    sft_validation: int
    half: int
    train: int
    validation: int
    autorater: int
    test: int
    unlabeled: int
    test_prompts: int

    @classmethod
    def read(cls, prepared: Path) -> Counts:
        """Count the rows that `prepare` wrote.

        Raises:
            DataError: A table is missing or damaged.
        """
        preferences = PREFERENCES.read(prepared / "preferences.parquet")
        prompts = PROMPTS.read(prepared / "prompts.parquet")
        demonstrations = SFT.read(prepared / "sft.parquet")

        def rows(frame: pl.DataFrame, split: str) -> int:
            return frame.filter(pl.col("split") == split).height

        return cls(
            sft_validation=rows(demonstrations, "validation"),
            half=labeled_half(preferences, prompts).height,
            train=rows(preferences, "train"),
            validation=rows(preferences, "validation"),
            autorater=rows(preferences, "autorater"),
            test=rows(preferences, "test"),
            unlabeled=rows(prompts, "unlabeled"),
            test_prompts=rows(prompts, "test"),
        )


def kind_of(stage: str) -> str:
    """Return the name of a stage without its item.

    >>> kind_of("sample@k1"), kind_of("sft")
    ('sample', 'sft')
    """
    return stage.partition("@")[0]


def work_of(stage: str, params: Params, counts: Counts) -> float:
    """Return the work of a stage; 0 for a stage whose time does not depend on the data's size.

    Args:
        stage: Name of the stage in dvc.yaml, such as `sample@k1`.
        params: All parameters.
        counts: Rows of the prepared data.
    """
    work = _WORK.get(kind_of(stage))
    return work(params, counts, stage.partition("@")[2]) if work else 0.0


def _pool_rows(params: Params, counts: Counts) -> float:
    return counts.unlabeled * params.sample.n_candidates


def _test_pool_rows(params: Params, counts: Counts) -> float:
    return counts.test_prompts * params.sample.n_candidates


def _sft(params: Params, counts: Counts, _: str) -> float:
    sft = params.sft
    read = sft.evaluations * min(sft.validation_rows, counts.sft_validation)
    return TRAINED * sft.steps * sft.batch_size + read


def _reward_model(
    params: Params,
    section: str,
    counts: Counts,
    pairs: float,
    *,
    learner: str = "",
    extra: float = 0,
) -> float:
    """Work of a reward model: `pairs` train it, and a linear head reads `extra` responses."""
    recipe = params.base_rm if section == "base_rm" else params.student_rm
    members = params.base_rm.members if section == "base_rm" else 1
    validation = 2 * min(recipe.validation_pairs, counts.validation)
    if (learner or recipe.learner) == "linear_head":
        return 2 * pairs + (1 + members) * validation + extra
    trained = TRAINED * 2 * recipe.steps * recipe.batch_size
    return members * recipe.runs * (trained + recipe.evaluations * validation)


def _base_rm(params: Params, counts: Counts, _: str) -> float:
    return _reward_model(params, "base_rm", counts, counts.half)


def _reference_rm(params: Params, counts: Counts, item: str) -> float:
    pairs = counts.half if item == "hf50" else counts.train
    return _reward_model(params, "student_rm", counts, pairs)


def _autorater(params: Params, counts: Counts, _: str) -> float:
    if not counts.autorater:
        return 0.0
    learner = params.reward.learner
    return _reward_model(params, "student_rm", counts, counts.autorater, learner=learner)


def _student_rm(params: Params, counts: Counts, _: str) -> float:
    with_prior = params.student_rm.covariance_power != 0
    extra = min(MOST_CANDIDATES, _pool_rows(params, counts)) if with_prior else 0
    pairs = counts.half + counts.unlabeled
    return _reward_model(params, "student_rm", counts, pairs, extra=extra)


def _prior_rm(params: Params, counts: Counts, _: str) -> float:
    extra = min(MOST_CANDIDATES, _pool_rows(params, counts))
    return _reward_model(
        params, "student_rm", counts, counts.half, learner="linear_head", extra=extra
    )


def _forecast(params: Params, counts: Counts, _: str) -> float:
    pairs = min(MOST_PAIRS, counts.half) + min(MOST_PAIRS, counts.validation)
    samples = min(MOST_SAMPLES, params.sample.n_candidates)
    return 2 * pairs + min(MOST_PROMPTS, counts.unlabeled) * samples


def _eval(params: Params, counts: Counts, item: str) -> float:
    judges = 1 + bool(counts.autorater)
    members = params.base_rm.members if item == "base" else 1
    read = members * (2 * counts.test + judges * _test_pool_rows(params, counts))
    if item in params.loop:
        read += params.base_rm.members * _pool_rows(params, counts) + 2 * counts.half
    return read


def _rlhf(params: Params, counts: Counts, _: str) -> float:
    rlhf = params.rlhf
    points = (rlhf.evaluations + 2) * counts.test_prompts * SAMPLES_A_PROMPT
    return RL_RESPONSE * rlhf.steps * rlhf.batch_size * rlhf.epochs + PROBED * points


_WORK: dict[str, Callable[[Params, Counts, str], float]] = {
    "sft": _sft,
    "base_rm": _base_rm,
    "reference_rm": _reference_rm,
    "autorater": _autorater,
    "eval_pool": lambda params, counts, _: _test_pool_rows(params, counts),
    "sample": lambda params, counts, _: _pool_rows(params, counts),
    "won_select": lambda params, counts, _: _pool_rows(params, counts),
    "filter": lambda params, counts, _: _pool_rows(params, counts),
    "student_rm": _student_rm,
    "prior_rm": _prior_rm,
    "forecast": _forecast,
    "eval_reference": _eval,
    "eval": _eval,
    "rlhf": _rlhf,
}
