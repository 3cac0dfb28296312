"""Mapping of columns: which column of a row is the prompt, which are the responses and labels.

A column is named by a path: names of keys and indices of lists with dots between, such as
`question.full_text` or `chosen.0.content`. A `*` stands for every entry of a list:
`completions.*.response`. If a column has the whole path as its name, that column is read. A path
leads into JSON text as into the list or object that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Literal

from westofn.errors import ParameterError
from westofn.sources.json_lines import parsed

Form = Literal["pairs", "labelled pairs", "rated rows", "rated lists"]

_MISSING = object()
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """Split the name of a column into lower-case words and numbers.

    >>> words_of("Chosen Response"), words_of("overallScore_1")
    (('chosen', 'response'), ('overall', 'score', '1'))
    """
    return tuple(filter(None, re.split(r"[\W_]+", _BOUNDARY.sub("_", name).lower())))


def snake_case(name: str) -> str:
    """Return the name of a column in the one spelling in which names are compared.

    >>> {snake_case(name) for name in ("response_a", "Response A", "responseA", "RESPONSE-A")}
    {'response_a'}
    """
    return "_".join(words_of(name))


@dataclass(frozen=True)
class Columns:
    """Paths of the columns that are read; "" where a mapping does not use one.

    A mapping has one of four forms:

    - pairs: chosen, rejected;
    - labelled pairs: response_a, response_b, and label, or score_a and score_b;
    - rated rows: response, score (one response a row; rows with equal prompts belong together);
    - rated lists: responses, scores (lists of equal length).

    Attributes:
        prompt: text, a dialogue in HH's form, or messages. Without it, the prompt is the beginning
            that the two responses share.
        system: system message, before all turns.
        history: earlier turns: messages, or a list of [user, assistant].
        context: text before the prompt, such as documents; separated by a blank line.
        input: text after the prompt, such as Alpaca's input; separated by a line break.
        chosen: preferred response, or the whole dialogue with it.
        rejected: other response, or the whole dialogue with it.
        chosen_score: rating of chosen. Equal ratings are ties; a lower one than rejected_score is
            an error.
        rejected_score: rating of rejected.
        response_a: first response, or the whole dialogue with it.
        response_b: second response, or the whole dialogue with it.
        label: which of a and b is better. Several paths with commas between: the majority decides.
        label_a: values of label that mean a, with commas between, or a comparison such as `<0`.
        label_b: values of label that mean b.
        label_tie: values of label that mean neither.
        score_a: rating of a; instead of label, or beside it: equal ratings are ties, ratings that
            prefer the other response are an error.
        score_b: rating of b.
        response: the response of a row.
        score: its rating: a number, true or false.
        responses: list of responses.
        scores: list of their ratings or ranks.
        order: whether higher or lower scores are better; ranks are `lower`.
        subset: subset of the row.
        id: id of the row, which becomes the id of its pair.
    """

    prompt: str = ""
    system: str = ""
    history: str = ""
    context: str = ""
    input: str = ""
    chosen: str = ""
    rejected: str = ""
    chosen_score: str = ""
    rejected_score: str = ""
    response_a: str = ""
    response_b: str = ""
    label: str = ""
    label_a: str = ""
    label_b: str = ""
    label_tie: str = ""
    score_a: str = ""
    score_b: str = ""
    response: str = ""
    score: str = ""
    responses: str = ""
    scores: str = ""
    order: str = "higher"
    subset: str = ""
    id: str = ""

    @cached_property
    def form(self) -> Form:
        """Form of the rows.

        Raises:
            ParameterError: the mapping has no form, or several.
        """
        forms = [form for form, names in _NEEDED.items() if any(self._has(name) for name in names)]
        if len(forms) != 1:
            needs = "; or ".join(", ".join(names) for names in _NEEDED.values())
            raise ParameterError(
                f"prepare.columns names {' and '.join(forms) or 'no responses'}; needs one of: "
                f"{needs} (or score_a, score_b instead of label)"
            )
        form = forms[0]
        names = _NEEDED[form]
        if form == "labelled pairs" and self.score_a and not self.label:
            names = ("response_a", "response_b", "score_a", "score_b")
        if missing := [name for name in names if not self._has(name)]:
            raise ParameterError(
                f"prepare.columns: {form} need {', '.join(names)}; {', '.join(missing)} is not set"
            )
        return form

    @cached_property
    def paths(self) -> dict[str, str]:
        """Field -> path, of all columns that are read; a label of several columns has commas."""
        return {
            field.name: value
            for field in fields(self)
            if field.name not in _VALUES and (value := getattr(self, field.name))
        }

    @cached_property
    def keys(self) -> frozenset[str]:
        """First parts of the paths: the row's columns that are read."""
        return frozenset(
            part.split(".")[0] for path in self.paths.values() for part in (path, *path.split(","))
        ) | frozenset(self.paths.values())

    def settings(self) -> list[str]:
        """Return the mapping as settings for a command line: `prepare.columns.prompt=question`."""
        defaults = Columns()
        return [
            f"prepare.columns.{field.name}={value}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != getattr(defaults, field.name)
        ]

    def _has(self, name: str) -> bool:
        return bool(getattr(self, name))


_VALUES = {"label_a", "label_b", "label_tie", "order"}
_NEEDED: dict[Form, tuple[str, ...]] = {
    "pairs": ("chosen", "rejected"),
    "labelled pairs": ("response_a", "response_b", "label", "label_a", "label_b"),
    "rated rows": ("response", "score"),
    "rated lists": ("responses", "scores"),
}


def has(values: Mapping[str, object], path: str) -> bool:
    """Return whether a row has a value at a path; null is a value."""
    return next(_walk(values, path), _MISSING) is not _MISSING


def cell(values: Mapping[str, object], path: str) -> object:
    """Return the value of a row at a path; None if it has none.

    Args:
        values: columns of a row.
        path: path without commas. With a `*`, the result is a list.

    >>> cell({"answers": [{"text": "a"}, {"text": "b"}]}, "answers.*.text")
    ['a', 'b']
    >>> cell({"question": {"full_text": "Hi"}}, "question.full_text")
    'Hi'
    """
    if path not in values and "*" in path.split("."):
        return list(_walk(values, path))
    return next(_walk(values, path), None)


def _walk(value: object, path: str) -> Iterator[object]:
    if isinstance(value, Mapping) and path in value:
        yield value[path]
        return
    head, _, rest = path.partition(".")
    value = parsed(value)
    inner: Sequence[object]
    if isinstance(value, Mapping):
        inner = [value[head]] if head in value else []
    elif isinstance(value, list):
        if head == "*":
            inner = value
        else:
            number = int(head) if head.removeprefix("-").isdigit() else len(value)
            inner = value[number:][:1] if -len(value) <= number < len(value) else []
    else:
        inner = []
    for entry in inner:
        if rest:
            yield from _walk(entry, rest)
        else:
            yield entry
