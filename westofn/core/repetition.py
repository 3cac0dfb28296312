"""Measure how much a policy repeats itself, within a response and between samples of a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NGRAM = 4


def repeated_ngrams(responses: Iterable[Sequence[int]]) -> float:
    """Share of the 4-grams of tokens that occurred before in the same response.

    seq-rep-4 of Welleck et al. 2019 (arXiv 1908.04319), over all 4-grams together, so that short
    responses, which have few, say little.

    Args:
        responses: token ids of each response.

    Returns:
        The share; 0 if no response has 4 tokens.

    >>> repeated_ngrams([[1, 2, 3, 4, 1, 2, 3, 4], [1, 2]])  # 1 of 5
    0.2
    """
    total = repeated = 0
    for ids in responses:
        ngrams = list(zip(*(ids[start:] for start in range(NGRAM)), strict=False))
        total += len(ngrams)
        repeated += len(ngrams) - len(set(ngrams))
    return repeated / total if total else 0.0


def identical_samples(pools: Iterable[tuple[int, int]]) -> float:
    """Share of the samples after a prompt's first that repeat an earlier one of that prompt.

    Args:
        pools: numbers of samples and of different ones, of each prompt.

    Returns:
        The share: 0 if all samples differ, 1 if every prompt has one response again and again; 0
        also if no prompt has two samples.

    >>> identical_samples([(3, 2), (3, 1)])  # such as a, a, b and c, c, c
    0.75
    """
    others = repeated = 0
    for samples, distinct in pools:
        others += samples - 1
        repeated += samples - distinct
    return repeated / others if others else 0.0
