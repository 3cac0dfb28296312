"""Rewards and margins of texts, in batches that cannot change the result."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from westofn.core.comparators import pair_margin
from westofn.models.encoding import Padded, pad
from westofn.models.reward import Scorer

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

    A prompt is encoded once for its whole pool, and equal responses are scored once.

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
    ids = [flat[a:b] for a, b in pairwise(ends)]
    # Prompts whose pools are alike in size and length share a batch, which saves padding.
    order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), max(map(len, ids[i]))))
    scored: dict[int, Tensor] = {}
    for rows in _batches(order, [len(pool) for pool in ids], batch):
        features = _features(scorer, [prompt_ids[i] for i in rows], [ids[i] for i in rows])
        for index, row in enumerate(rows):
            where = {response: place for place, response in enumerate(unique[row])}
            take = [where[response] for response in pools[row]]
            scored[row] = features[index, take]
    return [scored[index] for index in range(len(ids))]


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
    prompt_ids: Sequence[list[int]],
    a: Sequence[list[int]],
    b: Sequence[list[int]],
) -> Tensor:
    """Half the difference of both orders, so margin(a, b) = −margin(b, a) exactly; (rows,)."""
    both = [[first + second, second + first] for first, second in zip(a, b, strict=True)]
    outputs = _features(scorer, prompt_ids, both)[..., 0]
    return (outputs[:, 0] - outputs[:, 1]) / 2


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
