"""Rewards and margins of texts, in batches that cannot change the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from westofn.core.comparators import pair_margin
from westofn.models.reward import Scorer
from westofn.networks.limits import prompt_beside, shared_positions
from westofn.networks.network import AnyNetwork
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
    for batched in _batches(order, [len(group.responses) for group in groups], batch):
        some = [groups[i] for i in batched]
        features = _features(scorer, [g.prompt for g in some], [g.responses for g in some])
        for group, found in zip(some, features, strict=True):
            scored[group.pool][group.places] = found[: len(group.places)]
    places = [{response: place for place, response in enumerate(pool)} for pool in unique]
    return [
        found[[place[response] for response in pool]]
        for found, place, pool in zip(scored, places, pools, strict=True)
    ]


@torch.inference_mode()
def pair_margins(
    scorer: Scorer,
    prompts: Sequence[str],
    chosen: Sequence[str],
    rejected: Sequence[str],
    batch: int = ROWS_A_BATCH,
) -> Tensor:
    """margin(chosen, rejected) of pairs by any comparator, (rows,) fp32 on the CPU."""
    if scorer.comparator != "joint":
        pools = [list(pair) for pair in zip(chosen, rejected, strict=True)]
        features = score_pools(scorer, prompts, pools, batch)
        if not features:
            return torch.zeros(0)
        stacked = torch.stack(features)
        return pair_margin(stacked[:, 0], stacked[:, 1])
    prompt_ids = scorer.encoder.prompts(prompts)
    a, b = scorer.encoder.responses(chosen), scorer.encoder.responses(rejected)
    margins = [
        joint_margins(
            scorer,
            prompts[start : start + batch],
            prompt_ids[start : start + batch],
            a[start : start + batch],
            b[start : start + batch],
        )
        for start in range(0, len(a), batch)
    ]
    return torch.cat(margins) if margins else torch.zeros(0)


@torch.inference_mode()
def joint_margins(
    scorer: Scorer,
    prompts: Sequence[str],
    prompt_ids: Sequence[list[int]],
    a: Sequence[list[int]],
    b: Sequence[list[int]],
) -> Tensor:
    """Half the difference of both orders, so margin(a, b) = −margin(b, a) exactly; (rows,).

    Args:
        scorer: A joint model.
        prompts: The texts of which `prompt_ids` are the ids.
        prompt_ids: Of every row.
        a: Ids of the first response of every row.
        b: Of the second.
    """
    both = [[first + second, second + first] for first, second in zip(a, b, strict=True)]
    if shared_positions(network := scorer.model.network) is not None:
        rows = zip(prompts, prompt_ids, both, strict=True)
        prompt_ids = [
            prompt_beside(network, scorer.encoder, text, ids, forth)
            for text, ids, (forth, _) in rows
        ]
    outputs = _features(scorer, prompt_ids, both)[..., 0]
    return (outputs[:, 0] - outputs[:, 1]) / 2


@dataclass(frozen=True)
class _Group:
    """Responses that are read behind the same ids of their prompt.

    Attributes:
        pool: The index of theirs.
        places: Where they stand in it.
        prompt: Ids.
        responses: Ids of each.
    """

    pool: int
    places: list[int]
    prompt: list[int]
    responses: list[list[int]]


def _split(
    scorer: Scorer, network: AnyNetwork, prompts: Sequence[str], group: _Group
) -> list[_Group]:
    """The pool without responses beside which its prompt must be shorter, and each of those."""
    together: list[int] = []
    apart: list[_Group] = []
    for place, response in zip(group.places, group.responses, strict=True):
        ids = prompt_beside(network, scorer.encoder, prompts[group.pool], group.prompt, response)
        if ids is group.prompt:
            together.append(place)
        else:
            apart.append(_Group(group.pool, [place], ids, [response]))
    if not apart:
        return [group]
    rest = _Group(group.pool, together, group.prompt, [group.responses[i] for i in together])
    return [rest, *apart] if together else apart


def _features(
    scorer: Scorer, prompt_ids: Sequence[list[int]], pools: Sequence[Sequence[list[int]]]
) -> Tensor:
    """(P, K, F) on the CPU; pools smaller than K are padded with their own first response."""
    size = max(map(len, pools))
    filled = [row for pool in pools for row in [*pool, *[pool[0]] * (size - len(pool))]]
    prompts = pad(prompt_ids, scorer.encoder.pad_id)
    rows = pad(filled, scorer.encoder.pad_id)
    device = scorer.model.device
    shape = (len(pools), size, -1)
    responses = Padded(rows.ids.view(shape).to(device), rows.mask.view(shape).to(device))
    states = scorer.model.prompt_states(Padded(prompts.ids.to(device), prompts.mask.to(device)))
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
