"""Suggest a mapping of columns for rows that no known form fits.

The suggestion follows the names and the types of the columns. It is printed for a person to check
and is never used by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from westofn.sources.columns import Columns, cell, words_of
from westofn.sources.formats.labels import LONGEST_LABEL, is_tie, meanings, normal_label
from westofn.sources.formats.names import DIALOGUES, order_of
from westofn.sources.formats.rows import as_number, is_list_of_texts
from westofn.sources.formats.turns import is_message

_PROMPT = ("prompt", "instruction", "question", "query", "problem", "request", "conversation",
           "messages", "history", "context", "input", "post", "title", "user")  # fmt: skip
_CHOSEN = ("chosen", "preferred", "accepted", "better", "best", "winning", "winner", "positive",
           "good", "w")  # fmt: skip
_REJECTED = ("rejected", "reject", "dispreferred", "worse", "worst", "losing", "loser", "negative",
             "bad", "l")  # fmt: skip
_LABEL = ("label", "winner", "preference", "preferred", "choice", "chosen", "better", "best",
          "verdict", "vote", "overall", "annotation", "result", "outcome", "judgment", "judgement",
          "decision")  # fmt: skip
_RESPONSE = ("response", "completion", "answer", "output", "generation", "candidate", "reply",
             "text", "content", "summary", "summarie", "translation")  # fmt: skip
_SCORE = ("score", "rating", "rank", "reward", "helpfulness", "quality", "overall", "grade",
          "upvotes", "votes", "label", "cost", "loss", "star")  # fmt: skip
_SYSTEM = ("system",)
_TWINS = (("a", "b"), ("0", "1"), ("1", "2"), ("j", "k"), ("left", "right"), ("first", "second"))


@dataclass(frozen=True)
class Suggestion:
    """A mapping that may fit, and what a person should check.

    Attributes:
        columns: the mapping.
        check: one sentence for each point that the names do not determine.
    """

    columns: Columns
    check: tuple[str, ...] = ()


def suggest(rows: Sequence[Mapping[str, object]]) -> Suggestion | None:
    """Suggest a mapping from the columns of the first row; None if they are near no form.

    Args:
        rows: values of the first rows of a file, at least one; all rows count for the values of a
            label.
    """
    cells = dict(_cells(rows[0]))
    texts = [path for path, value in cells.items() if _is_text(value)]
    for find in (_pairs, _labelled, _lists, _two_in_a_list, _rated):
        if (suggestion := find(cells, texts, rows)) is not None:
            return _with_prompt(suggestion, texts)
    return None


def _pairs(
    cells: Mapping[str, object], texts: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> Suggestion | None:
    chosen, rejected = _named(texts, _CHOSEN), _named(texts, _REJECTED)
    check: tuple[str, ...] = ()
    if rejected and not chosen:
        chosen = _named([path for path in texts if path != rejected], _RESPONSE)
        check = (f"check that {chosen} is the better response",)
    if not chosen or not rejected or chosen == rejected:
        return None
    return Suggestion(Columns(chosen=chosen, rejected=rejected), check)


def _labelled(
    cells: Mapping[str, object], texts: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> Suggestion | None:
    sides = _twins(texts)
    if sides is None:
        return None
    columns = Columns(response_a=sides[0], response_b=sides[1])
    short = [path for path, value in cells.items() if _is_label(value)]
    if label := _named([path for path in short if path not in sides], _LABEL):
        return with_values(replace(columns, label=label), rows)
    numbers = [path for path, value in cells.items() if _is_number(value)]
    scores = _twins([path for path in numbers if _named([path], _SCORE)]) or _twins(numbers)
    if scores is None:
        return None
    return Suggestion(replace(columns, score_a=scores[0], score_b=scores[1]))


def with_values(columns: Columns, rows: Sequence[Mapping[str, object]]) -> Suggestion:
    """Divide the values of a label into those that mean a, b and a tie.

    Args:
        columns: mapping with the label.
        rows: values of the first rows of a file.
    """
    labels = [cell(row, columns.label) for row in rows]
    seen = Counter(str(label).lower() for label in labels if label is not None)
    values = sorted(seen)
    numbers = [float(value) for value in values if _is_number(value)]
    shown = ", ".join(f"{value} ({count:,})" for value, count in seen.most_common(8))
    check = (
        f"check which of {columns.response_a} and {columns.response_b} each value of "
        f"{columns.label} means; the first rows have {shown}"
    )
    if len(numbers) == len(values) and any(number < 0 for number in numbers):
        signed = replace(columns, label_a="<0", label_b=">0", label_tie="0")
        return Suggestion(signed, (check,))
    ties = [value for value in values if is_tie(normal_label(value))]
    sides = [value for value in values if value not in ties]
    known = [{v for v in sides if meanings({normal_label(v)}, twins)} for twins in _TWINS]
    sure, twins = max(zip(known, _TWINS, strict=True), key=lambda pair: len(pair[0]))
    read = meanings(set(map(normal_label, sure)), twins)
    first, second = (sides + ["a", "b"][len(sides) :])[:2]
    if read and (len(sure) == len(sides) or len(numbers) < len(sides)):
        first, second = read["label_a"], read["label_b"]
        ties = [value for value in values if value not in sure]
    return Suggestion(
        replace(columns, label_a=first, label_b=second, label_tie=",".join(ties)), (check,)
    )


def _lists(
    cells: Mapping[str, object], texts: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> Suggestion | None:
    lists = {path: value for path, value in cells.items() if isinstance(value, list) and value}
    of_texts = [path for path, value in lists.items() if all(isinstance(v, str) for v in value)]
    of_numbers = [
        path
        for path, value in lists.items()
        if all(map(_is_number, value)) or all(isinstance(v, bool) for v in value)
    ]
    responses = _named(of_texts, _RESPONSE) or next(iter(of_texts), "")
    scores = _named(of_numbers, _SCORE) or next(iter(of_numbers), "")
    if not responses or not scores:
        return None
    return Suggestion(Columns(responses=responses, scores=scores, order=order_of(scores)))


def _two_in_a_list(
    cells: Mapping[str, object], texts: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> Suggestion | None:
    """Suggest what reads a list of two responses: a label, or else the first as the better one."""
    of_two = [path for path in cells if all(_is_two_texts(cell(row, path)) for row in rows)]
    responses = _named(of_two, _RESPONSE)
    if not responses:
        return None
    first, second = (responses.replace(".*", f".{n}") for n in (0, 1))
    if responses == first:
        first, second = f"{responses}.0", f"{responses}.1"
    if label := _named([path for path, value in cells.items() if _is_label(value)], _LABEL):
        return with_values(Columns(response_a=first, response_b=second, label=label), rows)
    check = f"check that the first of {responses} is the better one"
    return Suggestion(Columns(chosen=first, rejected=second), (check,))


def _is_two_texts(value: object) -> bool:
    return is_list_of_texts(value) and len(value) == 2


def _rated(
    cells: Mapping[str, object], texts: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> Suggestion | None:
    response = _named(texts, _RESPONSE) or _named(texts, DIALOGUES)
    numbers = [path for path, value in cells.items() if _is_number(value)]
    flags = [path for path, value in cells.items() if isinstance(value, bool)]
    score = _named([*numbers, *flags], _SCORE) or (flags[0] if len(flags) == 1 else "")
    if not response or not score:
        return None
    columns = Columns(response=response, score=score, order=order_of(score))
    others = [path for path in numbers if path != score]
    check = f"other numbers that could be the rating: {', '.join(others)}" if others else ""
    return Suggestion(columns, (check,) if check else ())


def _with_prompt(suggestion: Suggestion, texts: Sequence[str]) -> Suggestion:
    used = set(suggestion.columns.paths.values())
    free = [path for path in texts if path not in used]
    system = _named(free, _SYSTEM)
    prompt = _named([path for path in free if path != system], _PROMPT)
    columns = replace(suggestion.columns, prompt=prompt, system=system)
    others = [path for path in free if path != system]
    if prompt or not others:
        return replace(suggestion, columns=columns)
    check = f"check that {others[0]} is the prompt"
    if len(others) > 1:
        check += f"; other texts: {', '.join(others[1:])}"
    columns = replace(columns, prompt=others[0])
    return Suggestion(columns, (*suggestion.check, check))


def _cells(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the paths of a row with their values; entries of a list of objects become lists."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and not is_message(value):
            yield from _cells(value, f"{path}.")
        elif (
            isinstance(value, list)
            and value
            and all(isinstance(entry, Mapping) and not is_message(entry) for entry in value)
        ):
            for name in value[0]:
                yield f"{path}.*.{name}", [entry.get(name) for entry in value]
        else:
            yield path, value


def _is_text(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(is_message, value))
    return is_message(value) or (isinstance(value, str) and not _is_number(value))


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and as_number(value) is not None


def _is_label(value: object) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and len(value) <= LONGEST_LABEL and bool(value)
    )


def _named(paths: Sequence[str], names: Sequence[str]) -> str:
    """Return the path that has the earliest of the names as a word; "" if none has one."""
    ranked = [
        (names.index(word), len(path), path)
        for path in paths
        for spelling in words_of(path)
        for word in (spelling, spelling.removesuffix("s"))
        if word in names
    ]
    return min(ranked)[2] if ranked else ""


def _twins(paths: Sequence[str]) -> tuple[str, str] | None:
    """Return two paths whose words differ in one place, as a and b or 1 and 2 do."""
    for left, right in combinations(paths, 2):
        words, other_words = words_of(left), words_of(right)
        if len(words) != len(other_words):
            continue
        differing = [pair for pair in zip(words, other_words, strict=True) if pair[0] != pair[1]]
        if len(differing) == 1 and differing[0] in _TWINS:
            return left, right
        if len(differing) == 1 and differing[0][::-1] in _TWINS:
            return right, left
    return None
