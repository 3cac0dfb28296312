"""What needs no reward model: length alone, and a linear model of words and length.

A reward model that does not beat these on the same pairs has learnt little of what people prefer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import softplus

from westofn.core.metrics import accuracy

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Weights C of the data against the penalty; equal validation accuracies give the smallest."""
LEAST_RESPONSES = 3
"""A word in fewer training responses is left out."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Baseline:
    """A baseline and what it says of the test pairs.

    Attributes:
        margins: (pairs,), positive where it prefers the chosen response.
        facts: What was chosen and measured on validation pairs; empty where nothing was.
        scores: Texts -> (texts,), by which it orders the texts of one prompt.
    """

    margins: Tensor
    facts: Mapping[str, float]
    scores: Callable[[Sequence[str]], Tensor]


def baselines(
    train: pl.DataFrame, validation: pl.DataFrame, test: pl.DataFrame
) -> dict[str, Baseline]:
    """All baselines, by name, on the test pairs in their order.

    Args:
        train: Pairs of HF100 at its largest, with the column `labeled`: HF50 is the labeled part,
            or the first half of rows where all are labeled.
        validation: Pairs that choose the strength.
        test: Pairs to judge.
    """
    half = train.filter("labeled")
    half = train.head(train.height // 2) if half.height == train.height else half
    return {
        "longest": _by_length(test, 1.0),
        "shortest": _by_length(test, -1.0),
        "words_hf50": linear_baseline(half, validation, test),
        "words_hf100": linear_baseline(train, validation, test),
    }


def _by_length(test: pl.DataFrame, sign: float) -> Baseline:
    return Baseline(sign * _word_difference(test), {}, lambda texts: sign * _word_counts(texts))


def linear_baseline(train: pl.DataFrame, validation: pl.DataFrame, test: pl.DataFrame) -> Baseline:
    """Logistic regression on TF-IDF and length, with C chosen by validation accuracy.

    Args:
        train: Pairs, which also give words and their weights.
        validation: Pairs that choose C.
        test: Pairs to judge.
    """
    features = PairFeatures.fit(train)
    fitted, held_out = features.of(train), features.of(validation)
    weights = {strength: fit_logistic(fitted, strength) for strength in STRENGTHS}
    accuracies = {c: accuracy((held_out @ weights[c]).numpy()) for c in STRENGTHS}
    best = max(STRENGTHS, key=lambda c: (accuracies[c], -c))
    return Baseline(
        features.of(test) @ weights[best],
        {"c": best, "validation_accuracy": accuracies[best]},
        lambda texts: features.of_texts(texts) @ weights[best],
    )


@dataclass(frozen=True)
class PairFeatures:
    """Chosen less rejected: TF-IDF of every known word, and the length in words.

    Only the difference of two responses counts in a pair, as in a Bradley–Terry model; what they
    share, the prompt, cancels.

    Attributes:
        column: Index of a word's column.
        idf: (words,), log((1 + n) / (1 + responses with the word)) + 1.
        length_scale: Words; the root mean square of the train pairs' differences.
    """

    column: Mapping[str, int]
    idf: np.ndarray
    length_scale: float

    @classmethod
    def fit(cls, train: pl.DataFrame) -> PairFeatures:
        """Words, their weights and the unit of length, from both responses of train pairs."""
        texts = [*train["chosen"], *train["rejected"]]
        held = Counter(word for text in texts for word in set(words(text)))
        known = sorted(word for word, count in held.items() if count >= LEAST_RESPONSES)
        counts = np.array([held[word] for word in known], dtype=np.float64)
        scale = float(_word_difference(train).square().mean().sqrt())
        return cls(
            column={word: index for index, word in enumerate(known)},
            idf=np.log((1 + len(texts)) / (1 + counts)) + 1,
            length_scale=scale or 1.0,
        )

    def of(self, pairs: pl.DataFrame) -> Tensor:
        """Features, (pairs, words + 1), of chosen less those of rejected."""
        chosen, rejected = (self.of_texts(pairs[side].to_list()) for side in ("chosen", "rejected"))
        return chosen - rejected

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Features, (texts, words + 1)."""
        features = np.zeros((len(texts), len(self.column) + 1), dtype=np.float64)
        for row, text in enumerate(texts):
            columns, values = self._tf_idf(text)
            features[row, columns] = values
        features[:, -1] = _word_counts(texts).numpy() / self.length_scale
        return torch.from_numpy(features)

    def _tf_idf(self, text: str) -> tuple[Sequence[int], np.ndarray]:
        """Columns of a text's known words and their weights, of Euclidean length 1."""
        counts = Counter(self.column[word] for word in words(text) if word in self.column)
        columns = list(counts)
        values = np.array(list(counts.values())) * self.idf[columns]
        return columns, values / max(float(np.linalg.norm(values)), 1e-12)


def fit_logistic(features: Tensor, strength: float) -> Tensor:
    """Weights w, (features,), that minimise C Σ −log σ(x·w) + |w|² / 2.

    Rows are differences of chosen and rejected, so each is a success and there is no intercept:
    swapping the responses of a pair turns both around.

    Args:
        features: (pairs, features), in double precision.
        strength: C, above 0.

    >>> weights = fit_logistic(torch.ones(1, 1).double(), 1.0)  # w = σ(−w)
    >>> round(float(weights), 4)
    0.4011
    """
    weights = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights], max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )
    penalty = 1 / (2 * strength * len(features))

    def loss() -> Tensor:
        optimiser.zero_grad()
        # Over C and the number of pairs, which moves no minimum.
        penalised = softplus(-(features @ weights)).mean() + penalty * weights.square().sum()
        penalised.backward()  # type: ignore[no-untyped-call]
        return penalised

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def words(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> words("It's 5 o'clock.")
    ['it', 's', '5', 'o', 'clock']
    """
    return _WORD.findall(text.lower())


def _word_counts(texts: Sequence[str]) -> Tensor:
    """(texts,) words."""
    return torch.tensor([len(words(text)) for text in texts], dtype=torch.float64)


def _word_difference(pairs: pl.DataFrame) -> Tensor:
    """(pairs,), words of chosen less words of rejected."""
    return _word_counts(pairs["chosen"].to_list()) - _word_counts(pairs["rejected"].to_list())
