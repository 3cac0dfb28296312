"""One pseudo-labelled pair a prompt, by the base model's comparisons of its pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from westofn.artifacts.pools import Pools
from westofn.core.comparators import Compare, lower_confidence_margins, mean_margin
from westofn.core.seeds import derive_seed, prompt_keys, uniforms
from westofn.core.selection import (
    BestWorst,
    Selector,
    SubPools,
    choose_in_groups,
    default_sizes,
    nested_best_worst,
    select_pairs,
    usable_pools,
)
from westofn.core.tournament import tournament_best_worst
from westofn.errors import ModelError
from westofn.models.ensemble import Anchor, Ensemble
from westofn.models.scoring import TextPools, pool_margins
from westofn.pairing.selectors import selector_of
from westofn.pairing.usable import Faults, find_faults
from westofn.progress import track

# Bounds the (prompts, N, N) margins that stand in memory at once.
MARGINS_AT_ONCE = 2**22


@dataclass(frozen=True)
class Selection:
    """The pairs of all prompts.

    Attributes:
        pairs: One ordered pair a prompt.
        faults: Candidates that may form no pair, unless their pool has fewer than two others.
        nested: The West-of-N pair among the first n candidates, by n; only n = N where the
            comparator was asked for a tournament.
        pool_std: (P,) standard deviation over the pool of each candidate's mean margin (their mean
            is 0 by skew symmetry); None for a tournament.
        forward_passes: Responses, or ordered pairs for a joint comparator, that went through it;
            through all members of an ensemble and the anchor together.
    """

    pairs: BestWorst
    faults: Faults
    nested: dict[int, BestWorst]
    pool_std: Tensor | None
    forward_passes: int


def select(
    base: Ensemble,
    pools: Pools,
    *,
    method: str,
    selector: str,
    seed: int,
    pessimism: float = 0.0,
    anchor: Anchor | None = None,
) -> Selection:
    """Choose a pair of every pool, among the candidates that ended and fit the limit of tokens.

    A pool with fewer than two such candidates keeps all of them; the filter then drops its pair.

    Args:
        base: The base preference model, or an ensemble of them, of any comparator.
        pools: The candidates.
        method: `exact` looks at all ordered pairs, `tournament` eliminates.
        selector: Which pair: a name in `westofn.core.selection.SELECTORS`, or a plug-in's; a
            tournament gives `west` only.
        seed: Seeds the random selectors and the tournament's brackets.
        pessimism: A pair's margin is the members' mean less this many of their standard deviations;
            p_chosen is that margin's probability. A single model has no deviation.
        anchor: The first round's base model, beside which a later round's `base` judges; deviations
            are then over the anchor's members.

    Raises:
        ParameterError: There is no such selector.
        ModelError: A margin is NaN or infinite.
        ValueError: A tournament, which needs skew-symmetric margins, with pessimism.
    """
    faults = find_faults(pools, base.encoder)
    if method == "tournament":
        if pessimism:
            raise ValueError(f"pessimism is {pessimism}, a tournament needs 0: use method exact")
        return _tournament(base, pools, faults, seed, anchor)
    usable = torch.from_numpy(faults.usable)
    count = pools.n_candidates
    members = len(base.members) + (len(anchor.model.members) if anchor else 0)
    step = max(1, MARGINS_AT_ONCE // (members * count**2))
    choose = selector_of(selector)
    parts, nested, stds = [], [], []
    for start in track(range(0, len(pools.prompts), step), "comparing candidates", "batches"):
        stop = start + step
        block = pools.prompts[start:stop], pools.responses[start:stop]
        prompt_ids = pools.prompt_ids[start:stop]
        member_margins = _members_margins(base, *block)
        if anchor:
            member_margins = anchor.beside(
                member_margins.mean(0), _members_margins(anchor.model, *block)
            )
        margins = lower_confidence_margins(member_margins, pessimism)
        _require_finite(margins, prompt_ids)
        parts.append(choose_pairs(margins, prompt_ids, choose, seed, usable[start:stop]))
        nested.append(nested_best_worst(margins, default_sizes(count), usable[start:stop]))
        stds.append(mean_margin(margins).std(-1, correction=0))
    return Selection(
        pairs=_concat(parts),
        faults=faults,
        nested={n: _concat([part[n] for part in nested]) for n in default_sizes(count)},
        pool_std=torch.cat(stds),
        forward_passes=len(pools.prompts) * _passes(base, count, count * (count - 1) // 2, anchor),
    )


def _require_finite(margins: Tensor, prompt_ids: Sequence[str]) -> None:
    """Refuse margins (rows, ...) of prompts that are NaN or infinite.

    Raises:
        ModelError: One is.
    """
    lost = (~margins.isfinite()).flatten(1).any(1)
    if not bool(lost.any()):
        return
    first = prompt_ids[int(lost.nonzero()[0])]
    raise ModelError(
        f"won_select: prompt {first}: a margin of the reward model is NaN or infinite, as for "
        f"{int(lost.sum())} of {len(prompt_ids)} rows; retrain that model with a lower "
        "reward.learning_rate or with sft.precision fp32, or remove the prompt"
    )


def choose_pairs(
    margins: Tensor,
    prompt_ids: Sequence[str],
    selector: str | Selector,
    seed: int,
    usable: Tensor,
) -> BestWorst:
    """Choose a pair of every pool by margins that are known already.

    Args:
        margins: (P, N, N) of every ordered pair of candidates.
        prompt_ids: P names; with the seed they key the random selectors.
        selector: Which pair: a name in `westofn.core.selection.SELECTORS`, or a function.
        seed: The run's seed.
        usable: bool (P, N), the candidates to choose from, see `usable_pools`.
    """
    draws = _draws(seed, prompt_ids, 2)

    def choose(group: SubPools) -> BestWorst:
        return select_pairs(group.margins(margins), selector, draws[group.rows])

    return choose_in_groups(usable_pools(usable), choose)


def _members_margins(
    ensemble: Ensemble, prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> Tensor:
    """(members, P, N, N) margins of every ordered pair of each pool."""
    return torch.stack([pool_margins(member, prompts, responses) for member in ensemble.members])


def _passes(base: Ensemble, candidates: int, comparisons: int, anchor: Anchor | None) -> int:
    """Forward passes of all models for a pool, of which so many pairs are compared."""
    models = [base, anchor.model] if anchor else [base]
    return sum(
        len(model.members) * model.comparator.forward_passes(candidates, comparisons)
        for model in models
    )


def _tournament(
    base: Ensemble, pools: Pools, faults: Faults, seed: int, anchor: Anchor | None
) -> Selection:
    count, passes = pools.n_candidates, 0
    brackets = _draws(derive_seed(seed, "bracket"), pools.prompt_ids, count)
    compare = _compare_members(base, pools)
    if anchor:
        compare = _beside(anchor, compare, _compare_members(anchor.model, pools))

    def choose(group: SubPools) -> BestWorst:
        nonlocal passes
        prompts, size = group.places.shape
        result = tournament_best_worst(
            _within(compare, group), prompts, size, brackets[group.rows, :size]
        )
        passes += prompts * _passes(base, size, result.comparisons_per_prompt, anchor)
        return BestWorst(result.best, result.worst, result.p_best)

    pairs = choose_in_groups(usable_pools(torch.from_numpy(faults.usable)), choose)
    return Selection(pairs, faults, {count: pairs}, None, passes)


def _within(compare: Compare, group: SubPools) -> Compare:
    """A comparison of candidates by their places in a group."""

    def compare_places(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        places = group.places
        return compare(group.rows[prompt], places[prompt, a], places[prompt, b])

    return compare_places


def _beside(anchor: Anchor, own: Compare, of_anchor: Compare) -> Compare:
    """Margins of a teacher and its anchor together."""

    def compare(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return anchor.beside(own(prompt, a, b), of_anchor(prompt, a, b))

    return compare


def _compare_members(ensemble: Ensemble, pools: Pools) -> Compare:
    """The mean of the members' margins."""
    compares = [
        member.comparator.compare(TextPools(member, pools.prompts, pools.responses))
        for member in ensemble.members
    ]

    def compare(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        margins = torch.stack([member(prompt, a, b) for member in compares]).mean(0)
        _require_finite(margins[:, None], [pools.prompt_ids[row] for row in prompt.tolist()])
        return margins

    return compare


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
