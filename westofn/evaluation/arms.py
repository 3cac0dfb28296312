"""One evaluated model: everything that data/eval/NAME holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.artifacts.pools import Pools
from westofn.evaluation.best_of_n import evaluate_best_of_n
from westofn.evaluation.candidate_rewards import judge_pools, model_rewards
from westofn.evaluation.held_out import evaluate_preferences
from westofn.evaluation.judges import FloatArray, GoldJudge, RewardJudge
from westofn.evaluation.on_policy import OnPolicyPairs, evaluate_on_policy, on_policy_pairs
from westofn.evaluation.pairs import score_pairs
from westofn.evaluation.records import Record
from westofn.evaluation.synthetic import SyntheticInputs, evaluate_synthetic
from westofn.models.ensemble import Ensemble


@dataclass(frozen=True)
class ArmEvaluation:
    """What is written for one model.

    Attributes:
        metrics: metrics.json: flat; a key that is absent was not measured; numbers are finite.
        curves: curves.json: records by curve; a curve that is absent was not measured.
        pair_scores: Table PAIR_SCORES.
        pool_scores: Table POOL_SCORES; 0 rows for a pairwise model.
        by_prompt: Table PROMPT_MEASURES.
    """

    metrics: Record
    curves: dict[str, list[Record]]
    pair_scores: pl.DataFrame
    pool_scores: pl.DataFrame
    by_prompt: pl.DataFrame


def evaluate_arm(
    model: str,
    ensemble: Ensemble,
    *,
    preferences: pl.DataFrame,
    pools: Pools,
    judge: RewardJudge,
    seed: int,
    judged: FloatArray | None = None,
    synthetic: SyntheticInputs | None = None,
) -> ArmEvaluation:
    """Measure one model by every measure that applies to it.

    Held-out preferences always; on-policy pairs where the judge is gold; best-of-n where the model
    is pointwise; the synthetic pairs where `synthetic` is given. `judge` in the metrics names the
    judge.

    Args:
        model: The arm's name, such as hf50 or k1.
        ensemble: The model, or several read as one by their mean.
        preferences: Table PREFERENCES; the rows with split test are read.
        pools: The SFT policy's candidates on test prompts.
        judge: The independent judge.
        seed: The run's seed. Draws and resamples do not depend on the model.
        judged: (P, N) the judge's rewards of `pools`, where several models are measured on it.
        synthetic: The iteration's synthetic pairs.

    Raises:
        DataError: There is no test pair, or the tables do not belong together.
        ModelError: The model answers with NaN or infinity.
    """
    test = preferences.filter(pl.col("split") == "test")
    held_out = evaluate_preferences(model, ensemble, test, judge, seed=seed)
    result = ArmEvaluation(
        metrics={"judge": judge.name, **held_out.metrics},
        curves={"reliability": held_out.reliability, "length": held_out.length},
        pair_scores=held_out.scores,
        pool_scores=POOL_SCORES.empty(),
        by_prompt=held_out.by_prompt,
    )
    judged = judge_pools(judge, pools) if judged is None else judged
    rewards = model_rewards(model, ensemble, pools) if ensemble.comparator.gives_rewards else None
    if judge.name == "gold":
        drawn = on_policy_pairs(pools, judged, seed=seed)
        if drawn.pairs.height:
            result = _with_on_policy(result, model, ensemble, rewards, drawn, seed)
    if rewards is not None:
        best = evaluate_best_of_n(model, rewards, pools, judged, judge.name, seed=seed)
        result = replace(
            result,
            metrics=result.metrics | best.metrics,
            curves=result.curves | {"best_of_n": best.curve},
            pool_scores=best.scores,
            by_prompt=pl.concat([result.by_prompt, best.by_prompt]),
        )
    return result if synthetic is None else _with_synthetic(result, synthetic, judge, seed)


def _with_on_policy(
    so_far: ArmEvaluation,
    model: str,
    ensemble: Ensemble,
    rewards: FloatArray | None,
    drawn: OnPolicyPairs,
    seed: int,
) -> ArmEvaluation:
    scored = (
        score_pairs(model, ensemble, drawn.pairs) if rewards is None else drawn.from_pools(rewards)
    )
    measured = evaluate_on_policy(model, scored, drawn, seed=seed)
    return replace(
        so_far,
        metrics=so_far.metrics | measured.metrics,
        pair_scores=pl.concat([so_far.pair_scores, measured.scores]),
        by_prompt=pl.concat([so_far.by_prompt, measured.by_prompt]),
    )


def _with_synthetic(
    so_far: ArmEvaluation, synthetic: SyntheticInputs, judge: RewardJudge, seed: int
) -> ArmEvaluation:
    gold = judge if isinstance(judge, GoldJudge) else None
    measured = evaluate_synthetic(synthetic, gold, seed=seed)
    curves = {"label_accuracy": measured.label_accuracy} if measured.label_accuracy else {}
    return replace(so_far, metrics=so_far.metrics | measured.metrics, curves=so_far.curves | curves)
