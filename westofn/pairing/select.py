"""One pseudo-labelled pair a prompt, by the base model's comparisons of its pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from westofn.artifacts.pools import Pools
from westofn.core.comparators import lower_confidence_margins, mean_margin, pair_margin
from westofn.core.comparators import margins as all_margins
from westofn.core.seeds import derive_seed, prompt_keys, uniforms
from westofn.core.selection import (
    BestWorst,
    Selector,
    default_sizes,
    nested_best_worst,
    select_pairs,
)
from westofn.core.tournament import Compare, tournament_best_worst
from westofn.execution.progress import track
from westofn.models.ensemble import Anchor, Ensemble
from westofn.models.reward import Scorer
from westofn.models.scoring import joint_margins, score_pools

# Bounds the (prompts, N, N) margins that stand in memory at once.
MARGINS_AT_ONCE = 2**22
JOINT_BATCH = 256


@dataclass(frozen=True)
class Selection:
    """The pairs of all prompts.

    Attributes:
        pairs: One ordered pair a prompt.
        nested: The West-of-N pair among the first n candidates, by n; only n = N where the
            comparator was asked for a tournament.
        pool_std: (P,) standard deviation over the pool of each candidate's mean margin (their mean
            is 0 by skew symmetry); None for a tournament.
        forward_passes: Responses, or ordered pairs for a joint comparator, that went through it;
            through all members of an ensemble and the anchor together.
    """

    pairs: BestWorst
    nested: dict[int, BestWorst]
    pool_std: Tensor | None
    forward_passes: int


def select(
    base: Ensemble,
    pools: Pools,
    *,
    method: str,
    selector: Selector,
    seed: int,
    pessimism: float = 0.0,
    anchor: Anchor | None = None,
) -> Selection:
    """Choose a pair of every pool.

    Args:
        base: The base preference model, or an ensemble of them, of any comparator.
        pools: The candidates.
        method: `exact` looks at all ordered pairs, `tournament` eliminates.
        selector: Which pair; a tournament gives `west` only.
        seed: Draws for the random selectors and for the tournament's brackets.
        pessimism: A pair's margin is the members' mean less this many of their standard deviations;
            p_chosen is that margin's probability. A single model has no deviation.
        anchor: The first round's base model, beside which a later round's `base` judges; deviations
            are then over the anchor's members.

    Raises:
        ValueError: A tournament, which needs skew-symmetric margins, with pessimism.
    """
    if method == "tournament":
        if pessimism:
            raise ValueError(f"pessimism is {pessimism}, a tournament needs 0: use method exact")
        return _tournament(base, pools, seed, anchor)
    count = pools.n_candidates
    members = len(base.members) + (len(anchor.model.members) if anchor else 0)
    step = max(1, MARGINS_AT_ONCE // (members * count**2))
    parts, nested, stds = [], [], []
    for start in track(range(0, len(pools.prompts), step), "comparing candidates", "batches"):
        stop = start + step
        block = pools.prompts[start:stop], pools.responses[start:stop]
        prompt_ids = pools.prompt_ids[start:stop]
        of_members = _members_margins(base, *block)
        if anchor:
            of_members = anchor.beside(of_members.mean(0), _members_margins(anchor.model, *block))
        margins = lower_confidence_margins(of_members, pessimism)
        parts.append(choose_pairs(margins, prompt_ids, selector, seed))
        nested.append(nested_best_worst(margins, default_sizes(count)))
        stds.append(mean_margin(margins).std(-1, correction=0))
    return Selection(
        pairs=_concat(parts),
        nested={n: _concat([part[n] for part in nested]) for n in default_sizes(count)},
        pool_std=torch.cat(stds),
        forward_passes=_passes(base, pools, count * (count - 1), anchor),
    )


def choose_pairs(
    margins: Tensor, prompt_ids: Sequence[str], selector: Selector, seed: int
) -> BestWorst:
    """Choose a pair of every pool by margins that are known already.

    Args:
        margins: (P, N, N) of every ordered pair of candidates.
        prompt_ids: P names; with the seed they key the random selectors.
        selector: Which pair.
        seed: The run's seed.
    """
    return select_pairs(margins, selector, _draws(seed, prompt_ids, 2))


def _members_margins(
    ensemble: Ensemble, prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> Tensor:
    """(members, P, N, N) margins of every ordered pair of each pool."""
    return torch.stack([pool_margins(member, prompts, responses) for member in ensemble.members])


def _passes(base: Ensemble, pools: Pools, joint: int, anchor: Anchor | None) -> int:
    """Forward passes of all models; `joint`: of one pool by a member that is a joint comparator."""
    models = [base, anchor.model] if anchor else [base]
    each = [
        len(model.members) * (joint if model.comparator == "joint" else pools.n_candidates)
        for model in models
    ]
    return sum(each) * len(pools.prompts)


def _tournament(base: Ensemble, pools: Pools, seed: int, anchor: Anchor | None) -> Selection:
    count = pools.n_candidates
    brackets = _draws(derive_seed(seed, "bracket"), pools.prompt_ids, count)
    compare = _compare_members(base, pools)
    if anchor:
        compare = _beside(anchor, compare, _compare_members(anchor.model, pools))
    result = tournament_best_worst(compare, len(pools.prompts), count, brackets)
    pairs = BestWorst(result.best, result.worst, result.p_best)
    passes = _passes(base, pools, 2 * result.comparisons_per_prompt, anchor)
    return Selection(pairs, {count: pairs}, None, passes)


def _beside(anchor: Anchor, own: Compare, of_anchor: Compare) -> Compare:
    """Margins of a teacher and its anchor together."""

    def compare(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return anchor.beside(own(prompt, a, b), of_anchor(prompt, a, b))

    return compare


def _compare_members(ensemble: Ensemble, pools: Pools) -> Compare:
    """The mean of the members' margins."""
    compares = [_compare(member, pools) for member in ensemble.members]

    def compare(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([member(prompt, a, b) for member in compares]).mean(0)

    return compare


def _compare(scorer: Scorer, pools: Pools) -> Compare:
    """A model's margins of candidates of the pools, as a tournament asks for them."""
    if scorer.comparator == "joint":
        prompt_ids = scorer.encoder.prompts(pools.prompts)
        ids = [scorer.encoder.responses(pool) for pool in pools.responses]

        def joint(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
            rows = list(zip(prompt.tolist(), a.tolist(), b.tolist(), strict=True))
            return _joint(scorer, pools.prompts, prompt_ids, ids, rows)

        return joint
    features = torch.stack(score_pools(scorer, pools.prompts, pools.responses))

    def embedded(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return pair_margin(features[prompt, a], features[prompt, b])

    return embedded


def pool_margins(
    scorer: Scorer, prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> Tensor:
    """(P, N, N) margins of every ordered pair of each pool, by any comparator."""
    if scorer.comparator != "joint":
        return all_margins(torch.stack(score_pools(scorer, prompts, responses)))
    count = len(responses[0])
    prompt_ids = scorer.encoder.prompts(prompts)
    ids = [scorer.encoder.responses(pool) for pool in responses]
    upper = torch.triu_indices(count, count, 1)
    rows = [(p, int(i), int(j)) for p in range(len(prompts)) for i, j in upper.T.tolist()]
    half = _joint(scorer, prompts, prompt_ids, ids, rows).view(len(prompts), -1)
    margins = torch.zeros(len(prompts), count, count)
    margins[:, upper[0], upper[1]] = half
    return margins - margins.transpose(1, 2)


def _joint(
    scorer: Scorer,
    prompts: Sequence[str],
    prompt_ids: Sequence[list[int]],
    ids: Sequence[Sequence[list[int]]],
    rows: Sequence[tuple[int, int, int]],
) -> Tensor:
    margins = []
    for start in range(0, len(rows), JOINT_BATCH):
        some = rows[start : start + JOINT_BATCH]
        margins.append(
            joint_margins(
                scorer,
                [prompts[p] for p, _, _ in some],
                [prompt_ids[p] for p, _, _ in some],
                [ids[p][a] for p, a, _ in some],
                [ids[p][b] for p, _, b in some],
            )
        )
    return torch.cat(margins)


def _draws(seed: int, prompt_ids: Sequence[str], count: int) -> Tensor:
    """(P, count) uniform numbers that depend on the seed and the prompt's id alone."""
    keys = prompt_keys(prompt_ids)
    values = uniforms(derive_seed(seed, "select"), keys[:, None], np.arange(count), 0)
    return torch.from_numpy(np.minimum(values, 1 - 2**-24)).float()


def _concat(parts: Sequence[BestWorst]) -> BestWorst:
    return BestWorst(
        torch.cat([part.best for part in parts]),
        torch.cat([part.worst for part in parts]),
        torch.cat([part.p_best for part in parts]),
    )
