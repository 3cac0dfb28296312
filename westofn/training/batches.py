"""Batch plans: the rows of every batch, computed from the seed before training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from westofn.core.seeds import derive_seed


def plan_batches(
    sizes: tuple[int, ...], shares: tuple[int, ...], steps: int, seed: int
) -> np.ndarray:
    """Plan the rows of every batch of a run over several concatenated data sets.

    Each pass over a data set has a new random order, so the numbers of uses of two rows differ by
    one at most.

    Args:
        sizes: Number of rows of each data set.
        shares: Number of rows of each data set in one batch; the sum is the batch size.
        steps: Number of batches.
        seed: Seed of the orders.

    Returns:
        (steps, sum(shares)), indices into the concatenated data sets.

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


def sample_rows(rows: int, most: int, seed: int, what: str) -> list[int]:
    """Return the indices of at most `most` random rows, ascending; of fewer rows, all of them.

    Args:
        rows: Number of rows.
        most: Largest number of indices.
        seed: The run's seed.
        what: What is sampled.

    >>> sample_rows(3, 4, 0, "validation")
    [0, 1, 2]
    >>> len(sample_rows(9, 4, 0, "validation"))
    4
    """
    if rows <= most:
        return list(range(rows))
    generator = np.random.default_rng(derive_seed(seed, "rows of", what))
    return sorted(generator.choice(rows, most, replace=False).tolist())


def split_batch(batch_size: int, synthetic_fraction: float) -> tuple[int, int]:
    """Return the numbers of human and synthetic rows in a batch, at least one each.

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
    """A torch sampler that yields the rows of a plan; its length is that of the run."""

    def __init__(self, plan: np.ndarray) -> None:
        self.indices = plan.reshape(-1).tolist()

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
