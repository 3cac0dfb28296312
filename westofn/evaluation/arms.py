"""One evaluated model: everything that data/eval/NAME holds."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.evaluation.best_of_n import evaluate_best_of_n
from westofn.evaluation.judges import FloatArray, GoldJudge, Judge
from westofn.evaluation.on_policy import evaluate_on_policy, on_policy_pairs
from westofn.evaluation.pools import Pool, judge_pool
from westofn.evaluation.preferences import evaluate_preferences
from westofn.evaluation.records import Record
from westofn.evaluation.synthetic import SyntheticInputs, evaluate_synthetic
from westofn.models.reward import Scorer


@dataclass(frozen=True)
class ArmEvaluation:
    """What is written for one model.

    Attributes:
        metrics: metrics.json: flat; a key that is absent was not measured; numbers are finite.
        curves: curves.json: records by curve; a curve that is absent was not measured.
        pair_scores: Table PAIR_SCORES.
        pool_scores: Table POOL_SCORES; 0 rows for a pairwise model.
    """

    metrics: Record
    curves: dict[str, list[Record]]
    pair_scores: pl.DataFrame
    pool_scores: pl.DataFrame


def evaluate_arm(
    model: str,
    scorer: Scorer,
    *,
    preferences: pl.DataFrame,
    pool: Pool,
    judge: Judge,
    seed: int,
    synthetic: SyntheticInputs | None = None,
) -> ArmEvaluation:
    """Measure one model on all that there is to measure it on.

    Held-out preferences always; on-policy pairs where the judge is gold; best-of-n where the model
    is pointwise; the synthetic pairs where `synthetic` is given. `judge` in the metrics names the
    judge.

    Args:
        model: The arm's name, such as hf50 or k1.
        scorer: The model.
        preferences: Table PREFERENCES; the rows with split test are read.
        pool: The SFT policy's candidates on test prompts.
        judge: The independent judge.
        seed: The run's seed. Draws and resamples do not depend on the model.
        synthetic: The iteration's synthetic pairs.

    Raises:
        DataError: There is no test pair, or the tables do not belong together.
        ModelError: The model answers with NaN or infinity.
    """
    test = preferences.filter(pl.col("split") == "test")
    held_out = evaluate_preferences(model, scorer, test, judge, seed=seed)
    result = ArmEvaluation(
        metrics={"judge": judge.name, **held_out.metrics},
        curves={"reliability": held_out.reliability, "length": held_out.length},
        pair_scores=held_out.scores,
        pool_scores=POOL_SCORES.empty(),
    )
    judged = judge_pool(judge, pool)
    if judge.name == "gold":
        result = _with_on_policy(result, model, scorer, pool, judged, seed)
    if scorer.comparator == "pointwise":
        result = _with_best_of_n(result, model, scorer, pool, judged, judge, seed)
    return result if synthetic is None else _with_synthetic(result, synthetic, judge, seed)


def _with_on_policy(
    so_far: ArmEvaluation, model: str, scorer: Scorer, pool: Pool, gold: FloatArray, seed: int
) -> ArmEvaluation:
    found = evaluate_on_policy(model, scorer, on_policy_pairs(pool, gold, seed=seed), seed=seed)
    if found is None:
        return so_far
    return ArmEvaluation(
        so_far.metrics | found.metrics,
        so_far.curves,
        pl.concat([so_far.pair_scores, found.scores]),
        so_far.pool_scores,
    )


def _with_best_of_n(
    so_far: ArmEvaluation,
    model: str,
    scorer: Scorer,
    pool: Pool,
    judged: FloatArray,
    judge: Judge,
    seed: int,
) -> ArmEvaluation:
    found = evaluate_best_of_n(model, scorer, pool, judged, judge.name, seed=seed)
    return ArmEvaluation(
        so_far.metrics | found.metrics,
        so_far.curves | {"best_of_n": found.curve},
        so_far.pair_scores,
        found.scores,
    )


def _with_synthetic(
    so_far: ArmEvaluation, synthetic: SyntheticInputs, judge: Judge, seed: int
) -> ArmEvaluation:
    gold = judge if isinstance(judge, GoldJudge) else None
    found = evaluate_synthetic(synthetic, gold, seed=seed)
    curves = {"label_accuracy": found.label_accuracy} if found.label_accuracy else {}
    return ArmEvaluation(
        so_far.metrics | found.metrics,
        so_far.curves | curves,
        so_far.pair_scores,
        so_far.pool_scores,
    )
