"""Lengths of prompts and responses in tokens, and what limits on them would cut or drop."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

LIMITS = (64, 128, 256, 512, 1024, 2048)

Count = Callable[[Sequence[str]], Sequence[int]]
"""Texts -> number of tokens of each."""


@dataclass(frozen=True)
class Lengths:
    """Median, 95 % quantile (at least 95 % are at most this long) and largest of some lengths."""

    median: float
    high: int
    longest: int


@dataclass(frozen=True)
class LimitEffect:
    """What limits on tokens would do to the rows of a file.

    Attributes:
        prompt_limit: as `sft.max_prompt_tokens`; longer prompts lose their beginning.
        response_limit: as `sft.max_response_tokens`; longer responses are dropped.
        prompts_cut: number of prompts that are longer.
        responses_dropped: number of responses that are longer.
        rows_dropped: number of rows with at least one longer response.
    """

    prompt_limit: int
    response_limit: int
    prompts_cut: int
    responses_dropped: int
    rows_dropped: int


@dataclass(frozen=True)
class TokenLengths:
    """Lengths in tokens of the rows of a file.

    Attributes:
        rows: number of rows.
        columns: column -> its lengths.
        effects: effect of each pair of limits.
    """

    rows: int
    columns: Mapping[str, Lengths]
    effects: Sequence[LimitEffect]

    def to_json(self) -> dict[str, object]:
        """Return the lengths and effects as plain JSON."""
        return {
            "columns": {name: asdict(lengths) for name, lengths in self.columns.items()},
            "limits": [asdict(effect) for effect in self.effects],
        }


def lengths_of(counts: Sequence[int]) -> Lengths:
    """Summarise lengths.

    >>> lengths_of([3, 1, 2])
    Lengths(median=2, high=3, longest=3)
    """
    ordered = sorted(counts) or [0]
    high = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return Lengths(statistics.median(ordered), high, ordered[-1])


def token_lengths(
    texts: Mapping[str, Sequence[str]], count: Count, limits: Sequence[tuple[int, int]]
) -> TokenLengths:
    """Measure the columns of a file.

    Args:
        texts: column (prompt, and responses under other names) -> texts, one per row.
        count: counts tokens.
        limits: pairs of a limit for prompts and one for responses.
    """
    distinct = sorted({text for column in texts.values() for text in column})
    known = dict(zip(distinct, count(distinct), strict=True))
    numbers = {name: [known[text] for text in column] for name, column in texts.items()}
    prompts = numbers["prompt"]
    responses = list(
        zip(*(column for name, column in numbers.items() if name != "prompt"), strict=True)
    )
    effects = [
        LimitEffect(
            of_prompts,
            of_responses,
            sum(number > of_prompts for number in prompts),
            sum(number > of_responses for row in responses for number in row),
            sum(max(row) > of_responses for row in responses),
        )
        for of_prompts, of_responses in limits
    ]
    lengths = {name: lengths_of(column) for name, column in numbers.items()}
    return TokenLengths(len(prompts), lengths, effects)
