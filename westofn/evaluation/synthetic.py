"""Synthetic pairs: correctness of their labels, the bound, and their likelihood under the policy.

Label correctness and ε need the gold annotator, which only the embedded world has; likelihoods need
the policy that sampled the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from westofn.artifacts.decisions import REASONS
from westofn.artifacts.json_file import read_as
from westofn.artifacts.pools import IndexArray, Pools
from westofn.core.bound import Epsilon, epsilon, pair_bound
from westofn.core.metrics import bootstrap_interval, correctness
from westofn.core.rounds import anchored
from westofn.core.seeds import derive_seed
from westofn.errors import DataError
from westofn.evaluation.candidate_rewards import (
    PoolPairs,
    draw_pairs,
    judge_pools,
    require_finite,
)
from westofn.evaluation.judges import FloatArray, GoldJudge, sigmoid
from westofn.evaluation.records import Record, with_interval
from westofn.models.ensemble import Anchor, Ensemble
from westofn.models.policy import Policy, log_likelihood
from westofn.models.reward import Scorer
from westofn.models.scoring import TextPools
from westofn.progress import track

MAX_PROMPTS = 256
"""Prompts on whose pools ε is measured, at most."""
MAX_COMPARISONS = 2_000_000
"""Pairs of those pools, at most, by a comparator that embeds each response once."""
JOINT_PAIRS_PER_PROMPT = 8
"""Pairs of each of those pools by a cross-encoder, which needs two forward passes a pair."""
MAX_HUMAN_PAIRS = 512
"""Human pairs whose likelihood is measured, at most."""

_PROMPTS_A_BLOCK = 64


@dataclass(frozen=True)
class SyntheticInputs:
    """One iteration's pairs, with the models and tables that they were made from.

    Attributes:
        base: The model, or the models, that labelled them.
        policy: The policy that sampled the candidates.
        pools: The candidates of D_U.
        pairs: Table PAIRS.
        nested: Table NESTED_PAIRS.
        decisions: Table DECISIONS.
        human: Rows of table PREFERENCES: the human training pairs, to compare likelihoods with.
        anchor: The first round's base model, where it judged beside `base`.
    """

    base: Ensemble
    policy: Policy
    pools: Pools
    pairs: pl.DataFrame
    nested: pl.DataFrame
    decisions: pl.DataFrame
    human: pl.DataFrame
    anchor: Anchor | None = None


@dataclass(frozen=True)
class SyntheticEvaluation:
    """One iteration's pairs: flat metrics, and label correctness against N (empty without gold)."""

    metrics: Record
    label_accuracy: list[Record]


def anchor_weight(summary: Path) -> float:
    """Weight of the first round's base model in the labels, as `won_select` noted it.

    Raises:
        DataError: The file is missing or damaged.
    """
    return read_as(lambda facts: float(facts.get("anchor", 0.0)), summary, "won_select")


def evaluate_synthetic(
    inputs: SyntheticInputs, gold: GoldJudge | None, *, seed: int
) -> SyntheticEvaluation:
    """Measure the pairs of an iteration.

    - pairs_selected, pairs_kept; kept_by_REASON: pairs that this reason did not drop.
    - pair_logprob_per_token: log π(y|x) / tokens, mean over chosen and rejected of the selected
      pairs (also `_chosen`, `_rejected`), human_logprob_per_token: of human pairs, same policy.
    - With gold: see `evaluate_labels`.

    Raises:
        DataError: Pairs, decisions and candidates do not belong together.
        ModelError: The base model answers with NaN or infinity.
    """
    kept = _kept(inputs.pairs, inputs.decisions)
    metrics: Record = {
        "pairs_selected": inputs.pairs.height,
        "pairs_kept": int(kept.sum()),
        **_kept_by(inputs.decisions),
        **_likelihoods(inputs, seed),
    }
    if gold is None:
        return SyntheticEvaluation(metrics, [])
    labels = evaluate_labels(inputs, gold, kept, seed=seed)
    return SyntheticEvaluation(metrics | labels.metrics, labels.label_accuracy)


def evaluate_labels(
    inputs: SyntheticInputs, gold: GoldJudge, kept: NDArray[np.bool_], *, seed: int
) -> SyntheticEvaluation:
    """Label correctness, the measured ε and the bound (arXiv 2401.12086, theorem of section 3).

    - label_accuracy: share of selected pairs with gold(chosen) > gold(rejected), ties half.
    - label_accuracy_kept: the same share among the pairs that the filter kept. Both have 95 %
      bootstrap intervals over prompts.
    - label_accuracy_random, the control: a random pair of the same pool in the order that the base
      model prefers, which is what N = 2 gives; the expectation over the measured pool pairs.
      (A label by coin flip is right in one half.)
    - label_p_true, label_p_true_kept: mean P*(chosen ≻ rejected), what the bound speaks of.
    - label_epsilon: sup |P_θ − P*| over pool pairs and selected pairs; label_epsilon_q95: 95 % of
      the pool pairs have at most this gap; label_epsilon_pairs: pool pairs measured (all pairs of
      up to MAX_PROMPTS random prompts; a sample of them for a joint comparator).
    - label_bound: mean over the selected pairs of P_θ − ε, at least 0, with the sup; it holds for
      every pair. label_bound_q95: the same with the quantile: tighter, and not a theorem, since a
      selected pair is not a random one; label_bound_q95_holds: share of selected pairs for which
      P* ≥ P_θ − ε_q95.

    Args:
        inputs: The pairs.
        gold: The annotator.
        kept: bool, the rows of `inputs.pairs` that the filter kept.
        seed: The run's seed.
    """
    rewards = judge_pools(gold, inputs.pools)
    selected = _labels(inputs.pairs, inputs.pools, rewards, gold, "pairs")
    nested = _labels(inputs.nested, inputs.pools, rewards, gold, "nested_pairs")
    measured = _random_prompts(inputs.pools, seed)
    drawn, margin = compare_pools(inputs.base, inputs.pools.take(measured), seed, inputs.anchor)
    gold_margin = drawn.difference(rewards[measured])
    gap = epsilon(sigmoid(margin).ravel(), gold.p_from_margins(gold_margin).ravel())
    sup = max(gap.sup, selected.largest_gap, nested.largest_gap)
    bootstrap = derive_seed(seed, "eval", "labels")
    # Agreement is 1 where both signs are the same, 0 where opposite, 1/2 where either is 0.
    agreement = (np.sign(margin) * np.sign(gold_margin) + 1.0) / 2.0
    random = bootstrap_interval(agreement.mean(1), seed=bootstrap)
    metrics = {
        **with_interval("label_accuracy", bootstrap_interval(selected.right, seed=bootstrap)),
        **with_interval("label_accuracy_random", random),
        "label_p_true": float(selected.p_true.mean()),
        "label_epsilon": sup,
        "label_epsilon_q95": gap.q95,
        "label_epsilon_pairs": gap.pairs,
        **_bounds("label_bound", selected, sup, gap),
        "label_bound_q95_holds": float((selected.p_true >= selected.p_model - gap.q95).mean()),
    }
    if kept.any():
        right = bootstrap_interval(selected.right[kept], seed=bootstrap)
        metrics |= with_interval("label_accuracy_kept", right)
        metrics["label_p_true_kept"] = float(selected.p_true[kept].mean())
    sizes = inputs.nested["n"].to_numpy()
    curve = [
        _curve_record(int(n), nested.take(sizes == n), sup, gap, bootstrap)
        for n in np.unique(sizes)
    ]
    return SyntheticEvaluation(metrics, curve)


def compare_pools(
    base: Ensemble, pools: Pools, seed: int, anchor: Anchor | None = None
) -> tuple[PoolPairs, FloatArray]:
    """The base model's margins of pool pairs, first over second; of several models the mean.

    An anchor judges beside it, as in `westofn.pairing.select`.

    Returns:
        The pairs, and (P, K) margins. All pairs of each pool while they number no more than
        MAX_COMPARISONS, else as many random ones a prompt as that allows; a joint comparator has
        JOINT_PAIRS_PER_PROMPT random ones.

    Raises:
        ModelError: A margin is NaN or infinite.
    """
    models = [base, anchor.model] if anchor else [base]
    if any(model.comparator.reads_pairs for model in models):
        per_prompt = JOINT_PAIRS_PER_PROMPT
    else:
        per_prompt = max(1, MAX_COMPARISONS // len(pools.prompt_ids))
    drawn = draw_pairs(pools, per_prompt, seed, "epsilon")
    margins = _margins(base, pools, drawn)
    if anchor:
        margins = anchored(margins, _margins(anchor.model, pools, drawn), anchor.weight)
    margin = margins.double().numpy()
    require_finite("base", "pool pairs", margin)
    return drawn, margin


def _random_prompts(pools: Pools, seed: int) -> IndexArray:
    """Rows of at most MAX_PROMPTS random prompts, ascending."""
    count = len(pools.prompt_ids)
    if count <= MAX_PROMPTS:
        return np.arange(count)
    rng = np.random.default_rng(derive_seed(seed, "epsilon", "prompts"))
    return np.sort(rng.choice(count, MAX_PROMPTS, replace=False))


def _margins(ensemble: Ensemble, pools: Pools, drawn: PoolPairs) -> Tensor:
    """(P, K) fp32, the mean over members."""
    return torch.stack([_member_margins(m, pools, drawn) for m in ensemble.members]).mean(0)


def _member_margins(member: Scorer, pools: Pools, drawn: PoolPairs) -> Tensor:
    compare = member.comparator.compare(TextPools(member, pools.prompts, pools.responses))
    first, second = torch.tensor(drawn.first), torch.tensor(drawn.second)
    prompts = torch.arange(len(first))[:, None].expand_as(first)
    blocks = [
        compare(*(indices[start : start + _PROMPTS_A_BLOCK].flatten() for indices in columns))
        for columns in [(prompts, first, second)]
        for start in track(range(0, len(first), _PROMPTS_A_BLOCK), "margins", "blocks")
    ]
    return torch.cat(blocks).view(first.shape)


@dataclass(frozen=True)
class _Labels:
    """Pairs under gold, all (pairs,): right or wrong, P_θ and P* of chosen over rejected."""

    right: FloatArray
    p_model: FloatArray
    p_true: FloatArray

    @property
    def largest_gap(self) -> float:
        return float(np.abs(self.p_model - self.p_true).max())

    def take(self, rows: NDArray[np.bool_]) -> _Labels:
        return _Labels(self.right[rows], self.p_model[rows], self.p_true[rows])


def _labels(
    frame: pl.DataFrame, pools: Pools, rewards: FloatArray, gold: GoldJudge, table: str
) -> _Labels:
    rows = pools.rows_of(frame, table)
    chosen, rejected = (pools.indices_of(frame, side, table) for side in ("chosen", "rejected"))
    margin = rewards[rows, chosen] - rewards[rows, rejected]
    p_model = frame["p_chosen"].to_numpy().astype(np.float64)
    return _Labels(correctness(margin), p_model, gold.p_from_margins(margin))


def _bounds(key: str, labels: _Labels, sup: float, gap: Epsilon) -> Record:
    return {
        key: float(pair_bound(labels.p_model, min(sup, 1.0)).mean()),
        f"{key}_q95": float(pair_bound(labels.p_model, gap.q95).mean()),
    }


def _curve_record(n: int, labels: _Labels, sup: float, gap: Epsilon, seed: int) -> Record:
    interval = bootstrap_interval(labels.right, seed=seed)
    return {
        "n": n,
        "accuracy": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p_true": float(labels.p_true.mean()),
        **_bounds("bound", labels, sup, gap),
    }


def _kept(pairs: pl.DataFrame, decisions: pl.DataFrame) -> NDArray[np.bool_]:
    joined = pairs.select("prompt_id").join(
        decisions.select("prompt_id", "kept"), on="prompt_id", how="left", maintain_order="left"
    )
    undecided = joined["kept"].null_count()
    if undecided or decisions.height != pairs.height:
        raise DataError(
            f"decisions: {decisions.height} rows for {pairs.height} pairs, {undecided} pairs "
            "without one; needs one a pair: rerun filter"
        )
    return joined["kept"].to_numpy()


def _kept_by(decisions: pl.DataFrame) -> Record:
    dropped = dict(decisions["dropped_by"].drop_nulls().value_counts().iter_rows())
    return {f"kept_by_{reason}": decisions.height - dropped.get(reason, 0) for reason in REASONS}


def _likelihoods(inputs: SyntheticInputs, seed: int) -> Record:
    pools, pairs = inputs.pools, inputs.pairs
    rows = pools.rows_of(pairs, "pairs")
    synthetic = {
        side: pools.logprob_per_token[rows, pools.indices_of(pairs, side, "pairs")]
        for side in ("chosen", "rejected")
    }
    return {
        **_by_side("pair_logprob_per_token", synthetic),
        **_by_side("human_logprob_per_token", _human_likelihoods(inputs, seed)),
    }


def _human_likelihoods(inputs: SyntheticInputs, seed: int) -> dict[str, FloatArray]:
    human = inputs.human
    if not human.height:
        return {}
    if human.height > MAX_HUMAN_PAIRS:
        human = human.sample(MAX_HUMAN_PAIRS, seed=derive_seed(seed, "eval", "human"))
    likelihoods = {}
    for side in ("chosen", "rejected"):
        both = log_likelihood(inputs.policy, human["prompt"].to_list(), human[side].to_list())
        likelihoods[side] = (both.logprob.double() / both.n_tokens).numpy()
    return likelihoods


def _by_side(key: str, values: dict[str, FloatArray]) -> Record:
    if not values:
        return {}
    means = {f"{key}_{side}": float(per_token.mean()) for side, per_token in values.items()}
    return {key: sum(means.values()) / len(means), **means}
