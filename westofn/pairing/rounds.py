"""The check of a later round's pools, before its teacher chooses pairs from them."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from westofn.artifacts.pools import Pools
from westofn.core.rounds import PoolHealth, agreement, distinct_share, faults, spread_ratio
from westofn.core.seeds import derive_seed, prompt_keys, uniforms
from westofn.errors import RoundError
from westofn.models.ensemble import Ensemble, mean_pair_margins
from westofn.params.won_select import StopParams

MAX_PROMPTS = 256
"""Pools from which random pairs are drawn, at most."""
PAIRS_A_PROMPT = 16


def check_round(health: PoolHealth, params: StopParams, name: str) -> None:
    """Stop a round whose pools lie beyond a limit.

    Args:
        health: Measures of the round's pools.
        params: The limits; 0 switches a check off.
        name: The round, such as k2.

    Raises:
        RoundError: The round must not go on.
    """
    if clauses := faults(health, PoolHealth(**params.model_dump())):
        raise RoundError(
            f"won_select: round {name}: {'; '.join(clauses)}: raise rlhf.kl_weight, lower "
            f"rlhf.steps, or take {name} out of `loop`"
        )


def measure_round(
    student: Ensemble,
    base: Ensemble,
    pools: tuple[Pools, Pools],
    seed: int,
) -> PoolHealth:
    """Measure a later round's pools against those of round 1.

    Args:
        student: The previous round's.
        base: The first round's base model.
        pools: The pools of this round and those of round 1, with n_tokens.
        seed: Draws the random pairs.
    """
    now, first = (_random_pairs(of_round, seed) for of_round in pools)
    margins = mean_pair_margins(student, *now)
    length, before = (float(np.mean(of_round.likelihoods[1])) for of_round in pools)
    return PoolHealth(
        agreement=agreement(margins, mean_pair_margins(base, *now)),
        spread=spread_ratio(margins, mean_pair_margins(student, *first)),
        distinct=distinct_share(pools[0].responses),
        length=length / before,
    )


def record(health: PoolHealth) -> dict[str, float]:
    """The numbers of `summary.json`."""
    return asdict(health)


def _random_pairs(pools: Pools, seed: int) -> tuple[list[str], list[str], list[str]]:
    """Prompts, first and second responses of random pairs of candidates.

    A prompt's pairs follow from the seed and its id alone.
    """
    count = len(pools.prompts)
    rows = range(0, count, -(-count // MAX_PROMPTS))
    keys = prompt_keys([pools.prompt_ids[row] for row in rows])
    drawn = uniforms(derive_seed(seed, "round"), keys[:, None], np.arange(2 * PAIRS_A_PROMPT), 0)
    size = pools.n_candidates
    first, second = _two_of(torch.from_numpy(drawn).view(-1, PAIRS_A_PROMPT, 2), size)
    prompts, left, right = [], [], []
    for row, a, b in zip(rows, first.tolist(), second.tolist(), strict=True):
        prompts += [pools.prompts[row]] * PAIRS_A_PROMPT
        left += [pools.responses[row][i] for i in a]
        right += [pools.responses[row][i] for i in b]
    return prompts, left, right


def _two_of(uniform: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Indices of two different candidates, from pairs of numbers in [0, 1]."""
    first = (uniform[..., 0] * size).long().clamp_max(size - 1)
    step = 1 + (uniform[..., 1] * (size - 1)).long().clamp_max(size - 2)
    return first, (first + step) % size
