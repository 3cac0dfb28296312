"""Reddit TL;DR: OpenAI's comparisons of summaries, and posts with summaries by their authors.

Comparisons (Stiennon et al. 2020, arXiv 2009.01325): `info` is the post, `choice` is the index of
the better of two `summaries`, and the optional `extra.confidence` is the annotator's confidence, 1
to 9. Rows about news articles have no post and are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.sources.formats.rows import column, number, text
from westofn.sources.reading import Row

POST_COLUMNS = ("subreddit", "title", "post")
PROMPT = "post_as_prompt"
"""Column that `with_prompts` adds."""

_NEEDS = "info (subreddit, title, post), summaries (two with text), choice (0 or 1)"
_LOWEST, _SURE, _HIGHEST = 1, 8, 9


def with_prompts(rows: Iterable[Row]) -> Iterator[Row]:
    """Add the prompt to each comparison; it is blank in rows about news articles."""
    for row in rows:
        try:
            values = {**row.values, PROMPT: _prompt(row)} if not row.fault else row.values
            yield Row(row.where, values, row.fault)
        except DataError as error:
            yield Row(row.where, row.values, error)


def _prompt(row: Row) -> str:
    for name in ("info", "summaries", "choice"):
        column(row, (name,), _NEEDS)
    info, summaries, choice = (row.values[name] for name in ("info", "summaries", "choice"))
    if not isinstance(info, Mapping):
        raise DataError(f"{row.where}: column info is {show(info)}, needs an object; {_NEEDS}")
    if not isinstance(summaries, list) or len(summaries) != 2 or choice not in (0, 1):
        count = len(summaries) if isinstance(summaries, list) else 0
        raise DataError(
            f"{row.where}: {count} summaries and choice {show(choice)}; needs two and 0 or 1: mend "
            f"or remove the row"
        )
    return "" if info.get("post") is None else post_prompt(row, info)


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


def confidence(row: Row) -> float | None:
    """Return the annotator's probability of the choice; None if the row has no confidence.

    Raises:
        DataError: the confidence is not between 1 and 9.
    """
    extra = row.values.get("extra")
    stated = extra.get("confidence") if isinstance(extra, Mapping) else None
    if stated is None:
        return None
    value = number(stated, "extra.confidence", row.where)
    if not _LOWEST <= value <= _HIGHEST:
        raise DataError(
            f"{row.where}: extra.confidence is {value:g}, needs {_LOWEST} to {_HIGHEST}: "
            f"mend or remove the row"
        )
    return p_of_confidence(value)
