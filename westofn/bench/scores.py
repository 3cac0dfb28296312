"""Score the rows of benchmarks with a saved model, by the code of `westofn score`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from westofn.bench.items import Item, Scores
from westofn.models.ensemble import Ensemble
from westofn.progress import working
from westofn.scoring.rows import Faults, Row
from westofn.scoring.stream import score_stream

Compared = Callable[[Item], list[tuple[int, int]]]


@dataclass(frozen=True)
class Scored:
    """What became of the rows.

    Attributes:
        scores: The scores of each row; None for one that the model cannot read.
        unscored: The rows that the model cannot read.
        trimmed: Number of rows whose prompt is too long and lost its beginning.
    """

    scores: list[Scores | None]
    unscored: Faults
    trimmed: int


def score_items(
    ensemble: Ensemble, items: Sequence[Item], compared: Compared, batch: int
) -> Scored:
    """Score rows: each response if the model gives rewards, else the pairs that decide a result.

    Responses are never cut. A prompt that is too long loses its beginning, as in training.

    Args:
        ensemble: A model or an ensemble, of any comparator.
        items: The rows.
        compared: Returns the pairs of responses of a row that must be compared.
        batch: Number of responses in one forward pass.

    Raises:
        ModelError: A score is not finite, or the model can read no row.
    """
    pointwise = ensemble.comparator.gives_rewards
    rows = map(_rewarded, items) if pointwise else _pairs(items, compared)
    columns: list[Mapping[str, object]] = []
    total = len(items) if pointwise else sum(len(compared(item)) for item in items)
    with working("bench", total, "rows" if pointwise else "comparisons") as progress:
        scored = score_stream(
            ensemble,
            rows,
            batch=batch,
            write=lambda _, new: columns.extend(new),
            advance=progress.advance,
        )
    unread = iter(columns)
    scores = [
        _of_rewards(next(unread))
        if pointwise
        else _of_margins(item, pairs := compared(item), list(islice(unread, len(pairs))))
        for item in items
    ]
    trimmed = sum(ensemble.encoder.trims([item.prompt for item in items]))
    return Scored(scores, scored.unscored, trimmed)


def _rewarded(item: Item) -> Row:
    return Row(item.place, {}, "", "responses", item.prompt, list(item.responses))


def _pairs(items: Sequence[Item], compared: Compared) -> Iterator[Row]:
    for item in items:
        for i, j in compared(item):
            both = [item.responses[i], item.responses[j]]
            yield Row(item.place, {}, "", "pair", item.prompt, both)


def _of_rewards(columns: Mapping[str, object]) -> Scores | None:
    rewards = columns["reward"]
    if not isinstance(rewards, list):
        return None
    return Scores(rewards, beyond_limit="beyond_limit" in columns)


def _of_margins(
    item: Item, pairs: Sequence[tuple[int, int]], columns: Sequence[Mapping[str, object]]
) -> Scores | None:
    margins = {
        pair: margin
        for pair, new in zip(pairs, columns, strict=True)
        if isinstance(margin := new["margin"], float)
    }
    if len(margins) < len(pairs):
        return None
    beyond_limit = any("beyond_limit" in new for new in columns)
    size = len(item.responses)
    if set(margins) != set(combinations(range(size), 2)):
        return Scores((), margins, beyond_limit)
    complete = Scores((), margins)
    values = [
        sum(complete.margin(i, j) for j in range(size) if j != i) / (size - 1) for i in range(size)
    ]
    return Scores(values, margins, beyond_limit)
