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
from westofn.networks.room import pass_bytes
from westofn.progress import working
from westofn.text.encoding import block_rows, in_blocks, pad

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
    depends on its row alone. A pass has so many rows that it takes `pass_bytes` of memory at most.

    Args:
        scorer: The model.
        prompts: P prompts.
        pools: Their candidates; pools may differ in size.
        batch: Responses in one batch, at most (one prompt's pool is never in two).

    Returns:
        One (N, 1 + 2·planes) fp32 CPU tensor a prompt.
    """
    scorer.model.eval()
    unique = [list(dict.fromkeys(pool)) for pool in pools]
    prompt_ids = scorer.encoder.prompts(prompts)
    flat = scorer.encoder.responses([response for pool in unique for response in pool])
    ends = torch.tensor([0, *map(len, unique)]).cumsum(0).tolist()
    groups = []
    for index, (a, b) in enumerate(pairwise(ends)):
        ordered = sorted(range(b - a), key=lambda place: len(flat[a + place]))
        groups.append(_Group(index, ordered, prompt_ids[index], [flat[a + i] for i in ordered]))
    network = scorer.model.network
    if shared_positions(network) is not None:
        groups = [part for group in groups for part in _split(scorer, network, prompts, group)]
    # Prompts whose pools are alike in size and length share a batch, which saves padding.
    beside = network.family == "encoder"  # then every row has the prompt's tokens too
    order = sorted(
        range(len(groups)),
        key=lambda i: (
            len(groups[i].responses),
            max(map(len, groups[i].responses)) + len(groups[i].prompt) * beside,
        ),
    )
    width = scorer.model.head.out_features
    scored = [torch.empty(len(pool), width) for pool in unique]
    with working("scoring", len(flat), "responses") as progress:
        for batched in _batches(scorer, order, [group.shape for group in groups], batch):
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
        prompts, responses, size = self._prompt_ids, self._response_ids, self.pairs_a_batch
        order = torch.tensor(
            [len(prompts[p]) + len(responses[p][i]) + len(responses[p][j]) for p, i, j in rows]
        ).argsort(stable=True)  # rows of alike length share a batch, which saves padding
        shapes = [
            _Shape(2, len(prompts[p]), len(responses[p][i]) + len(responses[p][j]))
            for p, i, j in rows
        ]
        batches = [
            self._in_one_batch([rows[i] for i in part])
            for part in _batches(self.scorer, order.tolist(), shapes, 2 * size)
        ]
        return torch.cat(batches)[order.argsort()]

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
class _Shape:
    """What decides the memory of a pass: tokens of the prompt and the longest row, and rows."""

    rows: int
    prompt: int
    response: int

    def beside(self, other: _Shape) -> _Shape:
        """The padded shape of both."""
        return _Shape(
            max(self.rows, other.rows),
            max(self.prompt, other.prompt),
            max(self.response, other.response),
        )

    def bytes(self, network: AnyNetwork, prompts: int, rows: int) -> int:
        """Memory of a pass over so many rows of each of P prompts."""
        return network.read_bytes(prompts, self.prompt, rows, self.response)


@dataclass(frozen=True)
class _Group:
    """Responses of one pool that are read behind the same ids of their prompt.

    Attributes:
        pool: The pool's index.
        places: The responses' indices in the pool.
        prompt: Ids of the prompt.
        responses: Ids of each response, from short to long.
    """

    pool: int
    places: list[int]
    prompt: list[int]
    responses: list[list[int]]

    @property
    def shape(self) -> _Shape:
        return _Shape(len(self.responses), len(self.prompt), max(map(len, self.responses)))


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
    """(P, K, F) on the CPU; K is the largest pool's size, see `in_blocks`."""
    device, pad_id = scorer.model.device, scorer.encoder.pad_id
    shape = _Shape(
        max(map(len, pools)),
        max(map(len, prompt_ids)),
        max(len(row) for pool in pools for row in pool),
    )
    network, most = scorer.model.network, pass_bytes(device)
    rows = block_rows(shape.rows, len(pools))
    while rows > 1 and shape.bytes(network, len(pools), rows) > most:
        rows = (rows + 1) // 2
    states = scorer.model.prompt_states(pad(prompt_ids, pad_id).to(device))
    blocks = [
        scorer.model.features(states, block.to(device)).float().cpu()
        for block in in_blocks(pools, pad_id, rows)
    ]
    return torch.cat(blocks, dim=1)


def _batches(
    scorer: Scorer, order: Sequence[int], shapes: Sequence[_Shape], limit: int
) -> list[list[int]]:
    """Consecutive pools whose padded size stays within the limit, and a pass of them in memory.

    At least one pool each.
    """
    network, most = scorer.model.network, pass_bytes(scorer.model.device)
    batches: list[list[int]] = []
    together = _Shape(0, 0, 0)
    for index in order:
        alone = shapes[index]
        longest, count = together.beside(alone), len(batches[-1]) + 1 if batches else 1
        rows = min(longest.rows, block_rows(longest.rows, count))
        # `order` is by size, so the newest pool is the largest.
        fits = count * longest.rows <= limit and longest.bytes(network, count, rows) <= most
        if batches and fits:
            batches[-1].append(index)
            together = longest
        else:
            batches.append([index])
            together = alone
    return batches
