"""Rewards and margins of texts, in batches that cannot change the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from westofn.models.reward import Scorer
from westofn.networks.limits import prompt_beside, shared_positions
from westofn.networks.network import AnyNetwork
from westofn.progress import working
from westofn.text.encoding import Padded, pad

ROWS_A_BATCH = 256
RESPONSES_A_BATCH = 512  # more would leave the processor's cache


@torch.inference_mode()
def score_rows(
    scorer: Scorer, prompts: Sequence[str], responses: Sequence[str], batch: int = ROWS_A_BATCH
) -> Tensor:
    """Head outputs of (prompt, response) rows, (rows, 1 + 2·planes) fp32 on the CPU."""
    pools = score_pools(scorer, prompts, [[response] for response in responses], batch)
    return torch.cat(pools) if pools else torch.zeros(0, scorer.model.head.out_features)


@torch.inference_mode()
def score_pools(
    scorer: Scorer,
    prompts: Sequence[str],
    pools: Sequence[Sequence[str]],
    batch: int = RESPONSES_A_BATCH,
) -> list[Tensor]:
    """Head outputs of every candidate of every prompt.

    A prompt is encoded once for its whole pool, and equal responses are scored once. A response
    beside which the prompt's positions end gets a shorter prompt of its own, so that a score
    depends on its row alone.

    Args:
        scorer: The model.
        prompts: P prompts.
        pools: Their candidates; pools may differ in size.
        batch: Responses in one forward pass, at most (one prompt's pool is never split).

    Returns:
        One (N, 1 + 2·planes) fp32 CPU tensor a prompt.
    """
    scorer.model.eval()
    unique = [list(dict.fromkeys(pool)) for pool in pools]
    prompt_ids = scorer.encoder.prompts(prompts)
    flat = scorer.encoder.responses([response for pool in unique for response in pool])
    ends = torch.tensor([0, *map(len, unique)]).cumsum(0).tolist()
    groups = [
        _Group(index, list(range(b - a)), prompt_ids[index], flat[a:b])
        for index, (a, b) in enumerate(pairwise(ends))
    ]
    if shared_positions(network := scorer.model.network) is not None:
        groups = [part for group in groups for part in _split(scorer, network, prompts, group)]
    # Prompts whose pools are alike in size and length share a batch, which saves padding.
    order = sorted(
        range(len(groups)),
        key=lambda i: (len(groups[i].responses), max(map(len, groups[i].responses))),
    )
    width = scorer.model.head.out_features
    scored = [torch.empty(len(pool), width) for pool in unique]
    with working("scoring", len(flat), "responses") as progress:
        for batched in _batches(order, [len(group.responses) for group in groups], batch):
            in_batch = [groups[i] for i in batched]
            read = [group.responses for group in in_batch]
            features = _features(scorer, [group.prompt for group in in_batch], read)
            for group, outputs in zip(in_batch, features, strict=True):
                scored[group.pool][group.places] = outputs[: len(group.places)]
            progress.advance(sum(map(len, read)))
    places = [{response: place for place, response in enumerate(pool)} for pool in unique]
    return [
        outputs[[place[response] for response in pool]]
        for outputs, place, pool in zip(scored, places, pools, strict=True)
    ]


@dataclass(frozen=True)
class TextPools:
    """Pools of texts and the model that reads them: what a comparator asks for margins.

    Attributes:
        scorer: The model.
        prompts: P prompts.
        pools: N candidates of each.
        responses_a_batch: Responses in one forward pass where each is read once, at most.
        pairs_a_batch: Pairs in one forward pass, in both orders, where two are read in one row.
    """

    scorer: Scorer
    prompts: Sequence[str]
    pools: Sequence[Sequence[str]]
    responses_a_batch: int = RESPONSES_A_BATCH
    pairs_a_batch: int = ROWS_A_BATCH

    @property
    def shape(self) -> tuple[int, int]:
        """P and N."""
        return len(self.pools), len(self.pools[0])

    def responses(self) -> Tensor:
        """Head outputs of each candidate, (P, N, F)."""
        return torch.stack(
            score_pools(self.scorer, self.prompts, self.pools, self.responses_a_batch)
        )

    def both_orders(self, prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Head outputs of both orders of pairs, (K, 2, F)."""
        rows = list(zip(prompt.tolist(), a.tolist(), b.tolist(), strict=True))
        size = self.pairs_a_batch
        return torch.cat(
            [self._in_one_batch(rows[start : start + size]) for start in range(0, len(rows), size)]
        )

    @torch.inference_mode()
    def _in_one_batch(self, rows: Sequence[tuple[int, int, int]]) -> Tensor:
        encoder, network = self.scorer.encoder, self.scorer.model.network
        prompts = [self._prompt_ids[p] for p, _, _ in rows]
        pairs = [
            self.scorer.comparator.rows(self._response_ids[p][a], self._response_ids[p][b])
            for p, a, b in rows
        ]
        if shared_positions(network) is not None:
            prompts = [
                prompt_beside(network, encoder, self.prompts[p], ids, forth)
                for (p, _, _), ids, (forth, _) in zip(rows, prompts, pairs, strict=True)
            ]
        return _features(self.scorer, prompts, pairs)

    @cached_property
    def _prompt_ids(self) -> list[list[int]]:
        return self.scorer.encoder.prompts(self.prompts)

    @cached_property
    def _response_ids(self) -> list[list[list[int]]]:
        return [self.scorer.encoder.responses(pool) for pool in self.pools]


def pair_margins(
    scorer: Scorer,
    prompts: Sequence[str],
    chosen: Sequence[str],
    rejected: Sequence[str],
    batch: int = ROWS_A_BATCH,
) -> Tensor:
    """margin(chosen, rejected) of pairs by any comparator, (rows,) fp32 on the CPU."""
    if not prompts:
        return torch.zeros(0)
    pools = list(zip(chosen, rejected, strict=True))
    rows = torch.arange(len(pools))
    compare = scorer.comparator.compare(TextPools(scorer, prompts, pools, batch, batch))
    return compare(rows, torch.zeros_like(rows), torch.ones_like(rows))


def pool_margins(
    scorer: Scorer, prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> Tensor:
    """(P, N, N) margins of every ordered pair of each pool, by any comparator."""
    return scorer.comparator.margins(TextPools(scorer, prompts, responses))


@dataclass(frozen=True)
class _Group:
    """Responses of one pool that are read behind the same ids of their prompt.

    Attributes:
        pool: The pool's index.
        places: The responses' indices in the pool.
        prompt: Ids of the prompt.
        responses: Ids of each response.
    """

    pool: int
    places: list[int]
    prompt: list[int]
    responses: list[list[int]]


def _split(
    scorer: Scorer, network: AnyNetwork, prompts: Sequence[str], group: _Group
) -> list[_Group]:
    """A group without the responses that need a shorter prompt, and a group of each of those."""
    together: list[int] = []
    alone: list[_Group] = []
    for place, response in zip(group.places, group.responses, strict=True):
        ids = prompt_beside(network, scorer.encoder, prompts[group.pool], group.prompt, response)
        if ids is group.prompt:
            together.append(place)
        else:
            alone.append(_Group(group.pool, [place], ids, [response]))
    if not alone:
        return [group]
    rest = _Group(group.pool, together, group.prompt, [group.responses[i] for i in together])
    return [rest, *alone] if together else alone


def _features(
    scorer: Scorer, prompt_ids: Sequence[list[int]], pools: Sequence[Sequence[list[int]]]
) -> Tensor:
    """(P, K, F) on the CPU; pools smaller than K are padded with their own first response."""
    size = max(map(len, pools))
    filled = [row for pool in pools for row in [*pool, *[pool[0]] * (size - len(pool))]]
    device = scorer.model.device
    prompts = pad(prompt_ids, scorer.encoder.pad_id).to(device)
    rows = pad(filled, scorer.encoder.pad_id).to(device)
    shape = (len(pools), size, -1)
    states = scorer.model.prompt_states(prompts)
    responses = Padded(rows.ids.view(shape), rows.mask.view(shape))
    return scorer.model.features(states, responses).float().cpu()


def _batches(order: Sequence[int], sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Consecutive rows whose padded size stays within the limit; at least one row each."""
    batches: list[list[int]] = []
    for row in order:
        # `order` is by size, so the newest row is the largest.
        if batches and (len(batches[-1]) + 1) * sizes[row] <= limit:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
