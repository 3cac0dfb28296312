"""Held-out preferences: how often, and how surely, a model agrees with the annotators."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.core import metrics
from westofn.core.seeds import derive_seed
from westofn.errors import DataError
from westofn.evaluation.by_prompt import by_prompt
from westofn.evaluation.judges import FloatArray, RewardJudge, margins
from westofn.evaluation.pairs import PairRewards, pair_scores, score_pairs
from westofn.evaluation.records import Record, measured, with_interval
from westofn.models.ensemble import Ensemble

SURE = 0.8
"""An annotator is sure from this probability of the preferred response on."""
SURE_SHARE = 0.5
"""The share of pairs that counts as sure where only an autorater's margins tell."""


@dataclass(frozen=True)
class PreferenceEvaluation:
    """One model on held-out pairs.

    Attributes:
        metrics: Flat, see `evaluate_preferences`.
        reliability: Bins of equal mass over the probability of the label that the model gives.
        length: Bins of equal mass over the length difference, chosen − rejected, in tokens.
        scores: Table PAIR_SCORES, set `test`.
        by_prompt: Table PROMPT_MEASURES, accuracy.
    """

    metrics: Record
    reliability: list[Record]
    length: list[Record]
    scores: pl.DataFrame
    by_prompt: pl.DataFrame


def evaluate_preferences(
    model: str, ensemble: Ensemble, pairs: pl.DataFrame, judge: RewardJudge, *, seed: int
) -> PreferenceEvaluation:
    """Measure accuracy, calibration and length bias on labelled pairs, by any comparator.

    - accuracy: ties count half; its interval is a 95 % bootstrap over prompts. All pairs count,
      and responses are read whole, so that arms and limits are compared on the same pairs.
    - prompts_trimmed: pairs whose prompt loses its beginning.
    - test_pairs_too_long: pairs with a response beyond the limit of tokens, which training drops;
      accuracy_within_limit: over the other pairs, absent where all or none are within.
    - high_confidence_accuracy: agreement with the label on the pairs of which the annotators were
      sure (the paper's measure), told by, in this order, as `high_confidence_by` says:
      `gold` (P* of either response ≥ 0.8), `annotator` (the pairs' own p_chosen ≥ 0.8 or ≤ 0.2),
      `autorater` (the half with the largest |margin| of the independent judge: a proxy). Absent
      when no pair qualifies; `high_confidence_pairs` counts them.
    - ece: of the label that the model gives, in bins of equal mass; brier: (1 − p_chosen)².
    - length: tokens without the end token; the longest and shortest baselines look at nothing else.
      accuracy_over_length: accuracy less that of the better of the two, paired by prompt;
      length_rank_correlation is Spearman's, margin against difference in length.
    - margin_spread: root mean square of the margins, logits.

    Args:
        model: Its name in the table of scores.
        ensemble: The model, or several read as one.
        pairs: Rows of table PREFERENCES.
        judge: Tells which pairs are sure.
        seed: The run's seed; every model is resampled alike.

    Raises:
        DataError: There are no pairs.
        ModelError: The model answers with NaN or infinity.
    """
    if not pairs.height:
        raise DataError(
            "preferences: 0 pairs with split test, needs at least 1; raise prepare's test size "
            "and rerun prepare"
        )
    scored = score_pairs(model, ensemble, pairs)
    right = metrics.correctness(scored.margin)
    groups = pairs["prompt_id"].to_numpy()
    interval = metrics.bootstrap_interval(right, groups, seed=derive_seed(seed, "eval", "test"))
    label = metrics.confidence_and_correctness(scored.p_chosen)
    tokens = _tokens(ensemble, pairs)
    length = metrics.length_diagnostics(tokens["chosen"], tokens["rejected"], scored.margin)
    longer = np.subtract(tokens["chosen"], tokens["rejected"]).astype(np.float64)
    by_length = metrics.correctness(longer if length.longest_accuracy >= 0.5 else -longer)
    over_length = metrics.paired_bootstrap_difference(
        right, by_length, groups, seed=derive_seed(seed, "eval", "test")
    )
    return PreferenceEvaluation(
        metrics={
            "test_pairs": pairs.height,
            **with_interval("accuracy", interval),
            **_within_limit(ensemble, tokens, right),
            "prompts_trimmed": sum(ensemble.encoder.trims(pairs["prompt"].to_list())),
            **_high_confidence(pairs, scored, judge),
            "ece": metrics.expected_calibration_error(label.confidence, label.correct),
            "margin_spread": float(np.sqrt(np.square(scored.margin).mean())),
            **with_interval("accuracy_over_length", over_length),
            **_with_length(scored.margin, longer),
            "brier": metrics.brier(scored.p_chosen, np.ones(pairs.height)),
            **measured(
                {
                    "length_correlation": length.length_correlation,
                    "longest_accuracy": length.longest_accuracy,
                    "shortest_accuracy": length.shortest_accuracy,
                    "accuracy_when_chosen_longer": length.accuracy_when_chosen_longer,
                    "accuracy_when_chosen_shorter": length.accuracy_when_chosen_shorter,
                }
            ),
        },
        reliability=[
            asdict(part) for part in metrics.reliability_curve(label.confidence, label.correct)
        ],
        length=[asdict(part) for part in length.bins],
        scores=pair_scores(model, "test", pairs, scored),
        by_prompt=by_prompt(model, "accuracy", pairs["prompt_id"].to_list(), right),
    )


def _with_length(margin: FloatArray, longer: FloatArray) -> Record:
    """The rank correlation of margin and difference in length; nothing where a rank is missing."""
    if len(margin) < 2:
        return {}
    return {"length_rank_correlation": metrics.rank_correlation(margin, longer)}


def _high_confidence(pairs: pl.DataFrame, scored: PairRewards, judge: RewardJudge) -> Record:
    by, sure = _sure_pairs(pairs, judge)
    if not sure.any():
        return {}
    return {
        "high_confidence_by": by,
        "high_confidence_pairs": int(sure.sum()),
        "high_confidence_accuracy": metrics.accuracy(scored.margin, sure),
    }


def _sure_pairs(pairs: pl.DataFrame, judge: RewardJudge) -> tuple[str, NDArray[np.bool_]]:
    """Who says so, and bool (pairs,)."""
    annotated = pairs["p_chosen"]
    if judge.name != "gold" and annotated.null_count() < pairs.height:
        # A hard label does not tell how sure its annotator was: such pairs stay out.
        return "annotator", _is_sure(annotated.cast(pl.Float64).fill_null(0.5).to_numpy())
    columns = ("prompt_id", "prompt", "chosen", "rejected")
    ids, prompts, chosen, rejected = (pairs[name].to_list() for name in columns)
    margin = margins(judge, ids, prompts, chosen, rejected)
    if judge.name == "gold":
        return "gold", _is_sure(judge.p_from_margins(margin))
    largest = np.sort(np.abs(margin))[-math.ceil(SURE_SHARE * len(margin)) :]
    return "autorater", np.abs(margin) >= largest[0]


def _is_sure(p: FloatArray) -> NDArray[np.bool_]:
    # Rounded: 0.2 of a float32 column is 0.2000000030.
    return np.maximum(p, 1.0 - p).round(6) >= SURE


def _tokens(ensemble: Ensemble, pairs: pl.DataFrame) -> dict[str, list[int]]:
    """Tokens of the responses by side, without the end token."""
    read = ensemble.encoder.response_lengths
    return {side: read(pairs[side].to_list()) for side in ("chosen", "rejected")}


def _within_limit(
    ensemble: Ensemble, tokens: dict[str, list[int]], right: FloatArray
) -> dict[str, float | int]:
    """How many pairs training would drop as too long, and the accuracy over the others."""
    limit = ensemble.encoder.template.max_response_tokens
    within = np.maximum(tokens["chosen"], tokens["rejected"]) <= limit
    numbers: dict[str, float | int] = {
        "max_response_tokens": limit,
        "test_pairs_too_long": int((~within).sum()),
    }
    if within.any() and not within.all():
        numbers["accuracy_within_limit"] = float(right[within].mean())
    return numbers
