"""Which rows stand in which batch, decided before training from the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from westofn.core.seeds import derive_seed


def plan_batches(
    sizes: tuple[int, ...], shares: tuple[int, ...], steps: int, seed: int
) -> np.ndarray:
    """Row indices of every batch of a run over several data sets laid end to end.

    Each data set is walked in a new random order every time it is used up, so rows differ in how
    often they are seen by one at most.

    Args:
        sizes: Rows of each data set.
        shares: Rows of each in one batch; they add up to the batch size.
        steps: Number of batches.
        seed: Decides the orders.

    Returns:
        (steps, sum(shares)) indices into the concatenation of the data sets.

    >>> plan_batches((2, 3), (1, 1), steps=4, seed=0).shape
    (4, 2)
    """
    columns, start = [], 0
    for place, (size, share) in enumerate(zip(sizes, shares, strict=True)):
        if share and not size:
            raise ValueError(f"data set {place} is empty but has {share} rows in every batch")
        if share:
            order = _endless(size, steps * share, derive_seed(seed, "batches", place))
            columns.append(start + order.reshape(steps, share))
        start += size
    return np.concatenate(columns, axis=1)


def split_batch(batch_size: int, synthetic_fraction: float) -> tuple[int, int]:
    """Human and synthetic rows of one batch; at least one of each.

    >>> split_batch(32, 0.5)
    (16, 16)
    """
    synthetic = min(batch_size - 1, max(1, round(batch_size * synthetic_fraction)))
    return batch_size - synthetic, synthetic


def _endless(size: int, length: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rounds = -(-length // size)
    return np.concatenate([generator.permutation(size) for _ in range(rounds)])[:length]


class PlannedSampler:
    """A torch sampler that walks a plan; its length is the whole run's."""

    def __init__(self, plan: np.ndarray) -> None:
        self.indices = plan.reshape(-1).tolist()

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
