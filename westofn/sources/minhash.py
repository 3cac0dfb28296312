"""Buckets of texts that are probably similar, by MinHash and locality-sensitive hashing.

Two sets of Jaccard similarity t have a signature of MinHash in common at a place with probability
t (Broder 1997). A band is r neighbouring places of a signature, and texts that agree in a whole
band share a bucket: with b bands the probability is 1 - (1 - t^r)^b. The signatures are those of
the package rensa.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from westofn.packages import require_extra
from westofn.progress import working
from westofn.sources.shingles import Ragged

PERMUTATIONS = 128
"""Places of a signature."""
MISSED = 0.001
"""Largest probability with which a pair at the limit of similarity shares no bucket."""
_SEED = 1
_ROWS_AT_ONCE = 4096
_MIX = np.uint64(0x9E3779B97F4A7C15)


@cache
def band_rows(jaccard: float) -> int:
    """Return the number of places r in a band: the largest that misses few enough pairs.

    More places in a band bring fewer dissimilar texts together.

    >>> band_rows(0.8), band_rows(0.5), band_rows(0.1)
    (5, 2, 1)
    """
    sizes = range(1, PERMUTATIONS + 1)
    fit = [r for r in sizes if (1 - jaccard**r) ** (PERMUTATIONS // r) <= MISSED]
    return max(fit, default=1)


def bucket_keys(sets: Ragged, jaccard: float) -> Ragged:
    """Put texts into buckets.

    Args:
        sets: distinct numbers of each text; an empty row is in no bucket.
        jaccard: the similarity of texts that should share a bucket.

    Returns:
        For each text the keys of its buckets that hold other texts too.

    Raises:
        ParameterError: the package rensa is not installed.
    """
    filled = np.flatnonzero(sets.sizes)
    hashes = _band_hashes(sets.take(filled), band_rows(jaccard))
    texts, keys, first = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for column in hashes:
        distinct, place, count = np.unique(column, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(count[place] > 1)
        texts.append(filled[shared])
        keys.append(place[shared] + first)
        first += len(distinct)
    holders = np.concatenate(texts)
    order = np.argsort(holders, kind="stable")
    return Ragged.of(np.concatenate(keys)[order], np.bincount(holders, minlength=len(sets)))


def _band_hashes(sets: Ragged, rows: int) -> NDArray[np.uint32]:
    """(bands, texts) hashes of the bands of each text's signature, of `rows` places each."""
    signatures = _signatures()
    bands, done = PERMUTATIONS // rows, 0
    hashes = np.empty((bands, len(sets)), np.uint32)
    with working("signatures", len(sets), "prompts") as progress:
        for block in sets.blocks(_ROWS_AT_ONCE):
            places = np.array(signatures(block)[:, : bands * rows], np.uint64)
            mixed = np.zeros((len(block), bands), np.uint64)
            for place in range(rows):
                mixed = (mixed ^ places[:, place::rows]) * _MIX
                mixed ^= mixed >> np.uint64(32)
            hashes[:, done : done + len(block)] = (mixed >> np.uint64(32)).T
            done += len(block)
            progress.advance(len(block))
    return hashes


def _signatures() -> Any:
    """Return the function from sets to their signatures (texts, PERMUTATIONS).

    Raises:
        ParameterError: the package rensa is not installed.
    """
    require_extra(
        "large",
        "the search for near duplicates among so many prompts",
        "set prepare.files.near_duplicates to off",
    )
    from rensa import RMinHash

    def signatures(sets: Ragged) -> NDArray[np.uint32]:
        # Ranks are neighbouring numbers, which a product spreads over all bits.
        tokens = (sets.values.astype(np.uint64) + np.uint64(1)) * _MIX
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            tokens ^ (tokens >> np.uint64(32)), sets.starts.astype(np.uint64), PERMUTATIONS, _SEED
        )
        return np.array(matrix.to_rows(), np.uint32)

    return signatures
