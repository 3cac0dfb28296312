"""Synthetic pairs of the study's arms, whatever made them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from westofn.artifacts.pools import Pools
from westofn.core.metrics import correctness
from westofn.core.seeds import derive_seed, prompt_keys, uniforms
from westofn.core.selection import BestWorst
from westofn.evaluation.judges import RewardJudge, margins
from westofn.pairing.filters import unusable
from westofn.training.pairs import Preferences


@dataclass(frozen=True)
class Pairs:
    """Pairs with the prompts they belong to, row by row.

    Attributes:
        prompt_ids: A prompt may have several pairs.
        preferences: The same rows as training data.
        p_model: (pairs,) what the labeller thought of each, for filters.
    """

    prompt_ids: list[str]
    preferences: Preferences
    p_model: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.prompt_ids)

    def of(self, prompt_ids: Container[str]) -> Pairs:
        """The pairs of some of the prompts."""
        rows = [row for row, name in enumerate(self.prompt_ids) if name in prompt_ids]
        return Pairs(
            [self.prompt_ids[row] for row in rows], self.preferences.take(rows), self.p_model[rows]
        )

    def soft(self) -> Pairs:
        """The same pairs with the labeller's probability as the target."""
        old = self.preferences
        new = replace(old, p_chosen=self.p_model.tolist())
        return Pairs(self.prompt_ids, new, self.p_model)

    def label_accuracy(self, judge: RewardJudge) -> float:
        """Share of the pairs whose order is also the judge's, ties half."""
        rows = self.preferences
        margin = margins(judge, self.prompt_ids, rows.prompts, rows.chosen, rows.rejected)
        return float(correctness(margin).mean())


def from_selection(pools: Pools, chosen: BestWorst) -> Pairs:
    """Hard labels of selected candidates; indices (P,) or (P, K).

    Pairs with an empty response, two equal ones, or one that the limit of tokens cut are dropped.

    Args:
        pools: P prompts.
        chosen: The selected pairs of each prompt.
    """
    best, worst = (index.reshape(len(pools.prompts), -1) for index in (chosen.best, chosen.worst))
    p_best = chosen.p_best.reshape(best.shape)
    rows = [
        (row, pools.responses[row][a], pools.responses[row][b], p)
        for row, (firsts, seconds, probabilities) in enumerate(
            zip(best.tolist(), worst.tolist(), p_best.tolist(), strict=True)
        )
        for a, b, p in zip(firsts, seconds, probabilities, strict=True)
        if pools.unfinished is None or not pools.unfinished[row, [a, b]].any()
    ]
    return _pairs(pools, [row for row in rows if unusable(row[1], row[2]) is None])


def judged(pools: Pools, p_first: NDArray[np.float64]) -> Pairs:
    """The first two candidates of every pool in the order that a judge prefers; hard labels.

    Args:
        pools: P prompts with at least two candidates.
        p_first: (P,) probability that candidate 0 is better; a tie prefers it.
    """
    rows = []
    for row, p in enumerate(p_first.tolist()):
        first, second = pools.responses[row][:2]
        if unusable(first, second) is None:
            rows.append((row, first, second, p) if p >= 0.5 else (row, second, first, 1.0 - p))
    return _pairs(pools, rows)


def contrasted(pools: Pools, positive: Pools, negative: Pools) -> Pairs:
    """RLCD (Yang et al. 2023): chosen is what the positive prompt gave, rejected the negative one.

    Args:
        pools: The prompts as the student reads them, without an affix.
        positive: The same prompts' samples under the positive contrast prompt.
        negative: Under the negative one.
    """
    if not pools.prompt_ids == positive.prompt_ids == negative.prompt_ids:
        raise ValueError("the pools are not of the same prompts in the same order")
    rows = [
        (row, good[0], bad[0], 1.0)
        for row, (good, bad) in enumerate(zip(positive.responses, negative.responses, strict=True))
        if unusable(good[0], bad[0]) is None
    ]
    return _pairs(pools, rows)


def side_by_side(pools: Pools, positive: Pools, negative: Pools) -> Pools:
    """Pools of two: the positive and the negative sample of each prompt."""
    both = zip(positive.responses, negative.responses, strict=True)
    return Pools(pools.prompt_ids, pools.prompts, [[good[0], bad[0]] for good, bad in both])


def _pairs(pools: Pools, rows: list[tuple[int, str, str, float]]) -> Pairs:
    prompts, chosen, rejected = (
        [pools.prompts[row] for row, *_ in rows],
        [a for _, a, _, _ in rows],
        [b for _, _, b, _ in rows],
    )
    return Pairs(
        [pools.prompt_ids[row] for row, *_ in rows],
        Preferences(prompts, chosen, rejected, [1.0] * len(rows), [p for *_, p in rows]),
        np.array([p for *_, p in rows]),
    )


def selector_draws(seed: int, prompt_ids: list[str], count: int) -> torch.Tensor:
    """(P, count) uniform numbers that depend on the seed and each prompt's id alone."""
    keys = prompt_keys(prompt_ids)
    values = uniforms(derive_seed(seed, "study"), keys[:, None], np.arange(count), 0)
    return torch.from_numpy(np.minimum(values, 1 - 2**-24)).float()
