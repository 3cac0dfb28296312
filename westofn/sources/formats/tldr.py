"""Reddit TL;DR: OpenAI's comparisons of summaries, and posts with summaries by their authors.

Comparisons (Stiennon et al. 2020, arXiv 2009.01325): `info` is the post, `choice` is the index of
the better of two `summaries`, and the optional `extra.confidence` is the annotator's confidence, 1
to 9. Rows about news articles have no post and are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.sources.formats.rows import (
    Format,
    Outcome,
    Pair,
    column,
    listed,
    number,
    pair_or_reason,
    text,
)
from westofn.sources.reading import Row

NO_POST = "dropped_no_reddit_post"
POST_COLUMNS = ("subreddit", "title", "post")

_NEEDS = "info (subreddit, title, post), summaries (two with text), choice (0 or 1)"
_LOWEST, _SURE, _HIGHEST = 1, 8, 9


class Comparisons(Format):
    """Rows of OpenAI's comparisons; the column `batch` is the subset."""

    name = "TL;DR comparisons"
    columns = (("info",), ("summaries",), ("choice",))
    drops = (NO_POST,)

    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether the post is an object."""
        return isinstance(row["info"], Mapping)

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row."""
        for row in rows:
            for name in ("info", "summaries", "choice"):
                column(row, (name,), _NEEDS)
            batch = row.values.get("batch")
            subset = "" if batch is None else text(batch, "batch", row.where)
            yield Outcome(row, subset, _pair(row, subset))


def post_prompt(row: Row, values: Mapping[str, object]) -> str:
    """Build the prompt of a post from its forum, title and text, as in the paper's experiments.

    Raises:
        DataError: one of the three is missing or not text.
    """
    post_row = Row(row.where, values)
    for name in POST_COLUMNS:
        column(post_row, (name,), "subreddit, title, post")
    forum, title, post = (text(values[name], name, row.where).strip() for name in POST_COLUMNS)
    return f"SUBREDDIT: r/{forum}\nTITLE: {title}\nPOST: {post}\nTL;DR:" if post else ""


def p_of_confidence(confidence: float) -> float:
    """Convert a confidence to a probability of the choice: linear, 0.5 at 1 and 0.8 at 8.

    The scale is not defined as a probability. 0.8 is the threshold above which `eval` counts an
    annotator as confident; RLAIF (arXiv 2309.00267) calls 8 and 9 high confidence. Models train on
    hard labels.

    >>> [round(p_of_confidence(stated), 3) for stated in (1, 8, 9)]
    [0.5, 0.8, 0.843]
    """
    return 0.5 + 0.3 * (confidence - _LOWEST) / (_SURE - _LOWEST)


def _pair(row: Row, subset: str) -> Pair | str:
    info = row.values["info"]
    if not isinstance(info, Mapping):
        raise DataError(f"{row.where}: column info is {show(info)}, needs an object; {_NEEDS}")
    if info.get("post") is None:
        return NO_POST
    summaries = [
        text(entry.get("text") if isinstance(entry, Mapping) else entry, "summaries", row.where)
        for entry in listed(row.values["summaries"], "summaries", row.where)
    ]
    choice = row.values["choice"]
    if len(summaries) != 2 or choice not in (0, 1):
        raise DataError(
            f"{row.where}: {len(summaries)} summaries and choice {show(choice)}; needs two and 0 "
            f"or 1: mend or remove the row"
        )
    better = int(choice == 1)
    return pair_or_reason(
        post_prompt(row, info),
        summaries[better],
        summaries[1 - better],
        subset=subset,
        p_chosen=_confidence(row),
    )


def _confidence(row: Row) -> float | None:
    extra = row.values.get("extra")
    stated = extra.get("confidence") if isinstance(extra, Mapping) else None
    if stated is None:
        return None
    confidence = number(stated, "extra.confidence", row.where)
    if not _LOWEST <= confidence <= _HIGHEST:
        raise DataError(
            f"{row.where}: extra.confidence is {confidence:g}, needs {_LOWEST} to {_HIGHEST}: "
            f"mend or remove the row"
        )
    return p_of_confidence(confidence)
