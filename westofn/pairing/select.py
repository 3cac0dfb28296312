"""One pseudo-labelled pair a prompt, by the base model's comparisons of its pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from westofn.artifacts.pools import BoolArray, IndexArray, PoolFile, Pools
from westofn.core import comparators
from westofn.core.comparators import (
    Comparator,
    Compare,
    is_finite,
    lower_confidence_margins,
    mean_margin,
)
from westofn.core.rounds import anchored
from westofn.core.seeds import derive_seed, prompt_keys, uniforms
from westofn.core.selection import (
    SELECTORS,
    BestWorst,
    Selector,
    SubPools,
    choose_in_groups,
    default_sizes,
    nested_best_worst,
    nested_best_worst_by_rewards,
    reward_range,
    select_pairs,
    usable_pools,
)
from westofn.core.tournament import tournament_best_worst
from westofn.errors import ModelError
from westofn.models.ensemble import Anchor, Ensemble
from westofn.models.scoring import TextPools
from westofn.pairing.selectors import selector_of
from westofn.pairing.teacher import (
    Panel,
    SavedTeacher,
    Teacher,
    output_files,
    read_outputs,
)
from westofn.pairing.usable import Faults, lengths_and_cuts
from westofn.progress import working
from westofn.text.encoding import Encoder

# Bounds the (prompts, N, N) margins that stand in memory at once.
MARGINS_AT_ONCE = 2**22
TOKENS_A_SHARD = 2**22
"""Tokens of responses in a shard, at most, unless one pool has more: what a kill may lose."""


@dataclass(frozen=True)
class Selection:
    """The pairs of all prompts.

    Attributes:
        prompt_ids: P names.
        base: The models that chose, without the anchor.
        pairs: One ordered pair a prompt.
        faults: Candidates that may form no pair, unless their pool has fewer than two others.
        nested: The West-of-N pair among the first n candidates, by n; only n = N where the
            comparator was asked for a tournament.
        mean_margins: (P, N) of each candidate over the others of its pool; None for a tournament.
        pool_std: (P,) standard deviation over the pool of each candidate's mean margin (their mean
            is 0 by skew symmetry); None for a tournament.
        forward_passes: Responses, or ordered pairs for a joint comparator, that went through it;
            through all members of an ensemble and the anchor together.
        prompts_trimmed: Prompts that the models read without their beginning.
        distinct_responses: Different responses to each prompt, summed over the prompts.
    """

    prompt_ids: list[str]
    base: Panel
    pairs: BestWorst
    faults: Faults
    nested: dict[int, BestWorst]
    mean_margins: Tensor | None
    pool_std: Tensor | None
    forward_passes: int
    prompts_trimmed: int
    distinct_responses: int


def select(
    base: Ensemble,
    pools: Pools | PoolFile,
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
        pools: The candidates; exact selection reads those of a file a block at a time.
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
        DataError: A file of candidates cannot be used, see `pool_rows`.
        ModelError: A margin is NaN or infinite.
        ValueError: A tournament, which needs skew-symmetric margins, with pessimism.
    """
    if method == "tournament":
        if pessimism:
            raise ValueError(f"pessimism is {pessimism}, a tournament needs 0: use method exact")
        whole = pools if isinstance(pools, Pools) else pools.read()
        return _tournament(base, whole, seed, anchor)
    teacher, read = Teacher(base, anchor), _Read(base.encoder)
    rule = _Rule(teacher.panels, anchor.weight if anchor else 0.0, selector, seed, pessimism)
    total = len(pools) if isinstance(pools, Pools) else None
    parts = []
    with working("comparing candidates", total, "prompts") as progress:
        for block in pools.blocks(rule.pools_at_once(pools.n_candidates)):
            usable = torch.from_numpy(read.add(block).usable)
            parts.append(rule.chosen(teacher.outputs(block), block.prompt_ids, usable))
            progress.advance(len(block))
    return _selection(rule, read, parts)


def select_in_shards(
    teacher: SavedTeacher,
    pools: PoolFile,
    folder: Path,
    *,
    selector: str,
    seed: int,
    pessimism: float = 0.0,
    total: int | None = None,
) -> Selection:
    """Choose what `select` chooses by method exact; the models judge in shards.

    `executor` of runtime.toml says where, and what a killed run has judged is not judged again.

    Args:
        teacher: The base and the anchor.
        pools: The candidates.
        folder: Scratch folder of exactly these pools and models.
        selector: As for `select`, which also says what is raised.
        seed: Seeds the random selectors.
        pessimism: As for `select`.
        total: Number of pools, if it is known.
    """
    read = _Read(teacher.encoder)
    rule = _Rule(teacher.panels, teacher.weight, selector, seed, pessimism)
    count = pools.n_candidates
    tokens = count * teacher.encoder.template.max_response_tokens
    step = max(1, min(rule.pools_at_once(count), TOKENS_A_SHARD // tokens))

    def blocks() -> Iterator[Pools]:
        for block in pools.blocks(step):
            read.add(block)
            yield block

    files = output_files(teacher, blocks(), folder, total)
    usable, start, parts = torch.from_numpy(read.faults().usable), 0, []
    for path in files:
        outputs = read_outputs(path, count)
        rows = slice(start, start + len(outputs[0]))
        start = rows.stop
        parts.append(rule.chosen(outputs, read.prompt_ids[rows], usable[rows]))
    return _selection(rule, read, parts)


class _Read:
    """What is kept of the texts of pools that were read."""

    def __init__(self, encoder: Encoder):
        self.prompt_ids: list[str] = []
        self.trimmed = self.distinct = 0
        self._encoder, self._limit = encoder, encoder.template.max_response_tokens
        self._lengths: list[IndexArray] = []
        self._cut: list[BoolArray] = []

    def add(self, pools: Pools) -> Faults:
        """Read pools; return their faults."""
        lengths, cut = lengths_and_cuts(pools, self._encoder)
        self.prompt_ids += pools.prompt_ids
        self.trimmed += sum(self._encoder.trims(pools.prompts))
        self.distinct += sum(len(set(pool)) for pool in pools.responses)
        self._lengths.append(lengths.astype(np.int32))
        self._cut.append(cut)
        return Faults.of(lengths, cut, self._limit)

    def faults(self) -> Faults:
        """The faults of all pools."""
        return Faults.of(np.concatenate(self._lengths), np.concatenate(self._cut), self._limit)


@dataclass(frozen=True)
class _Chosen:
    """What `Selection` holds of some of the prompts."""

    pairs: BestWorst
    nested: dict[int, BestWorst]
    mean_margins: Tensor
    spread: Tensor


class _Rule:
    """How pairs are chosen from what the models say of pools."""

    def __init__(
        self, panels: Sequence[Panel], weight: float, selector: str, seed: int, pessimism: float
    ):
        self.panels = panels
        self._weight, self._choose = weight, selector_of(selector)
        self._seed, self._pessimism = seed, pessimism

    def pools_at_once(self, n_candidates: int) -> int:
        """How many pools may have their margins in memory."""
        members = sum(panel.members for panel in self.panels)
        return max(1, MARGINS_AT_ONCE // (members * n_candidates**2))

    def chosen(
        self, outputs: Sequence[Tensor], prompt_ids: Sequence[str], usable: Tensor
    ) -> _Chosen:
        """The pairs of pools, by what `Teacher.outputs` says of them."""
        rewards = self._rewards(outputs)
        if rewards is not None:
            return choose_by_rewards(rewards, prompt_ids, self._choose, self._seed, usable)
        parts, start = [], 0
        for panel in self.panels:
            own = outputs[start : start + panel.members]
            parts.append(torch.stack([_margins(panel.comparator, member) for member in own]))
            start += panel.members
        margins = parts[0]
        if len(parts) > 1:
            margins = anchored(margins.mean(0), parts[1], self._weight)
        doubtful = lower_confidence_margins(margins, self._pessimism)
        return choose_by_margins(doubtful, prompt_ids, self._choose, self._seed, usable)

    def _rewards(self, outputs: Sequence[Tensor]) -> Tensor | None:
        """Rewards (P, N) whose differences are the margins; None if margins are something else."""
        if len(outputs) > 1 or self.panels[0].comparator.reads_pairs or outputs[0].shape[-1] > 1:
            return None
        return outputs[0][..., 0]


def _margins(comparator: Comparator, outputs: Tensor) -> Tensor:
    """(P, N, N) margins of every ordered pair, by what a model says of pools."""
    return outputs if comparator.reads_pairs else comparators.margins(outputs)


def _selection(rule: _Rule, read: _Read, parts: Sequence[_Chosen]) -> Selection:
    faults = read.faults()
    count = faults.cut.shape[1]
    passes = _passes(rule.panels, count, count * (count - 1) // 2)
    return Selection(
        prompt_ids=read.prompt_ids,
        base=rule.panels[0],
        pairs=_concat([part.pairs for part in parts]),
        faults=faults,
        nested={n: _concat([part.nested[n] for part in parts]) for n in default_sizes(count)},
        mean_margins=torch.cat([part.mean_margins for part in parts]),
        pool_std=torch.cat([part.spread for part in parts]),
        forward_passes=len(read.prompt_ids) * passes,
        prompts_trimmed=read.trimmed,
        distinct_responses=read.distinct,
    )


def choose_by_margins(
    margins: Tensor, prompt_ids: Sequence[str], choose: Selector, seed: int, usable: Tensor
) -> _Chosen:
    """Choose the pairs of pools by the margins (P, N, N) of every ordered pair."""
    _require_finite(margins, prompt_ids)
    count = margins.shape[-1]
    nested = nested_best_worst(margins, default_sizes(count), usable)
    pairs = nested[count]
    if choose is not SELECTORS["west"]:
        pairs = choose_pairs(margins, prompt_ids, choose, seed, usable)
    means = mean_margin(margins)
    return _Chosen(pairs, nested, means, means.std(-1, correction=0))


def choose_by_rewards(
    rewards: Tensor, prompt_ids: Sequence[str], choose: Selector, seed: int, usable: Tensor
) -> _Chosen:
    """Choose the pairs of pools by rewards (P, N), as `choose_by_margins` by their differences."""
    _require_finite(reward_range(rewards), prompt_ids)

    def square(rows: slice) -> Tensor:
        return comparators.margins(rewards[rows].unsqueeze(-1))

    count = rewards.shape[1]
    nested = nested_best_worst_by_rewards(rewards, default_sizes(count), usable)
    pairs = nested[count]
    if choose is not SELECTORS["west"]:
        pairs = choose_pairs(square(slice(None)), prompt_ids, choose, seed, usable)
    means = _mean_margins_of_rewards(rewards)
    spread = means.std(-1, correction=0)
    return _Chosen(pairs, nested, means.to(rewards.dtype), spread.to(rewards.dtype))


def _mean_margins_of_rewards(rewards: Tensor) -> Tensor:
    """(P, N) fp64, what `mean_margin` is for differences of rewards (P, N).

    A candidate's mean margin is its reward less the mean of the others.
    """
    count, own = rewards.shape[1], rewards.double()
    return (own - own.mean(-1, keepdim=True)) * (count / (count - 1))


def _require_finite(margins: Tensor, prompt_ids: Sequence[str]) -> None:
    """Refuse margins (rows, ...) of prompts that are NaN or infinite.

    Raises:
        ModelError: One is.
    """
    lost = ~is_finite(margins)
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


def _passes(panels: Iterable[Panel], candidates: int, comparisons: int) -> int:
    """Forward passes of all models for a pool, of which so many pairs are compared."""
    return sum(panel.forward_passes(candidates, comparisons) for panel in panels)


def _tournament(base: Ensemble, pools: Pools, seed: int, anchor: Anchor | None) -> Selection:
    count, passes, read = pools.n_candidates, 0, _Read(base.encoder)
    panels = Teacher(base, anchor).panels
    faults = read.add(pools)
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
        passes += prompts * _passes(panels, size, result.comparisons_per_prompt)
        return BestWorst(result.best, result.worst, result.p_best)

    pairs = choose_in_groups(usable_pools(torch.from_numpy(faults.usable)), choose)
    return Selection(
        prompt_ids=pools.prompt_ids,
        base=panels[0],
        pairs=pairs,
        faults=faults,
        nested={count: pairs},
        mean_margins=None,
        pool_std=None,
        forward_passes=passes,
        prompts_trimmed=read.trimmed,
        distinct_responses=read.distinct,
    )


def _within(compare: Compare, group: SubPools) -> Compare:
    """A comparison of candidates by their places in a group."""

    def compare_places(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        places = group.places
        return compare(group.rows[prompt], places[prompt, a], places[prompt, b])

    return compare_places


def _beside(anchor: Anchor, own: Compare, of_anchor: Compare) -> Compare:
    """Margins of a teacher and its anchor together."""

    def compare(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return anchored(own(prompt, a, b), of_anchor(prompt, a, b), anchor.weight)

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
