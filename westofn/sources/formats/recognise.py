"""Find the mapping of a file's columns from the names and values of its first rows.

The mapping is the one that the user gave, or that of a known public set, or one by the usual names
of columns, in this order. If names do not determine the prompt or the meaning of labels, the file
is refused with the setting that decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from westofn.artifacts.table import did_you_mean, show
from westofn.core.dialogue import is_dialogue
from westofn.errors import DataError
from westofn.sources.columns import Columns, cell, snake_case, words_of
from westofn.sources.formats.labels import LONGEST_LABEL, matches, meanings, normal_label
from westofn.sources.formats.mapped import Mapped
from westofn.sources.formats.names import (
    DIALOGUES,
    HISTORIES,
    LABELS,
    METADATA_WORDS,
    PROMPTS,
    RATING_WORDS,
    RESPONSE_LISTS,
    RESPONSES,
    SCORE_LISTS,
    SCORES,
    SHORT_WORDS,
    SIDES,
    SYSTEMS,
    columns_named,
    filled_columns,
    order_of,
    partner,
)
from westofn.sources.formats.ratings import ratings_of_sides, ratings_of_twins
from westofn.sources.formats.rows import as_number, is_flag
from westofn.sources.formats.turns import dialogue_in, has_messages
from westofn.sources.formats.unread import check_unread, texts_in
from westofn.sources.json_lines import kind, parsed
from westofn.sources.known_sets import recognise_set
from westofn.sources.reading import Row
from westofn.sources.suggesting import suggest, with_values

_SUFFIXES = (("a", "b"), ("0", "1"), ("1", "2"), ("left", "right"), ("first", "second"))
_THIRD = {"b": "c", "1": "2", "2": "3", "second": "third"}
_STEMS = {
    *("response", "answer", "completion", "output", "generation", "candidate", "conversation"),
    *("summary", "reply", "text", "assistant", "human_ref"),
}
_LIST_AS_TEXT = re.compile(r"""\s*\[\s*['"].*['"]\s*\]\s*""", re.DOTALL)
GIVEN = "mapping"
"""Name of the form of rows that are read by a given mapping."""
HEAD = 64
"""Number of first rows from which a form is recognised."""


class Head(NamedTuple):
    """The first rows of a file.

    Attributes:
        where: location of the first row.
        values: column -> its first value that is neither null nor an empty list or object.
        rows: values of all of the first rows.
    """

    where: str
    values: Mapping[str, object]
    rows: Sequence[Mapping[str, object]]


def head_of(rows: Sequence[Row]) -> Head:
    """Summarise the first rows of a file; malformed ones are ignored.

    Raises:
        DataError: all rows are malformed.
    """
    readable = [row for row in rows if not row.fault]
    if not readable:
        assert rows[0].fault
        raise rows[0].fault
    values: dict[str, object] = {}
    for row in readable:
        for name, value in row.values.items():
            if values.get(name) in (None, [], {}):
                values[name] = value
    return Head(readable[0].where, values, [row.values for row in readable])


def recognise(rows: Sequence[Row], source: str = "files", given: Columns | None = None) -> Mapped:
    """Return the reader for a file.

    Args:
        rows: first rows of the file, at least one.
        source: value of `prepare.source`. With `hh`, texts without a prompt must be dialogues; with
            `ultrafeedback`, labels of unknown sets are those of a model.
        given: the user's mapping; None: the mapping is recognised.

    Raises:
        DataError: no form fits, or names do not determine the meaning of a column; the message says
            what to set.
    """
    head = head_of(rows)
    known = recognise_set(head.values)
    label_source = "ai_judge" if source == "ultrafeedback" else "human"
    if given:
        if known:
            return Mapped(given, GIVEN, known.label_source, warn=known.warn, is_given=True)
        return Mapped(given, GIVEN, label_source, is_given=True)
    if known:
        columns = known.columns if known.expand else with_ratings(known.columns, head)
        return Mapped(
            columns,
            known.name,
            known.label_source,
            known.expand,
            known.warn,
            known.confidence,
            check=partial(
                check_unread, columns=columns, is_known=bool(known.hub) and not known.is_usual
            ),
            also_read=known.reads,
        )
    for form, columns in _mappings_by_names(head):
        complete = _with_prompt(with_ratings(columns, head), head, source)
        _check_no_lists_as_texts(complete, head)
        check = partial(check_unread, columns=complete, is_known=False)
        return Mapped(complete, form, label_source, check=check)
    raise DataError(_no_form_message(head))


def _mappings_by_names(head: Head) -> Iterator[tuple[str, Columns]]:
    """Yield the mappings of responses and labels that the names allow, the best first."""
    values = head.values
    if sides := list(_side_names(values)):
        chosen, rejected = sides[0]
        _check_sides(sides, head)
        form = "texts" if isinstance(values[chosen], str) else "conversations"
        key = _text_key(values[chosen], values[rejected])
        yield form, Columns(chosen=f"{chosen}{key}", rejected=f"{rejected}{key}")
    for first, second, suffixes in _response_pairs(values):
        yield "labelled pairs", _labelled_columns(first, second, suffixes, head)
    for name in filled_columns(values, RESPONSE_LISTS):
        value = _first_entry(parsed(values[name]))
        if isinstance(value, Mapping):
            texts = filled_columns(value, (*RESPONSES, "content"))
            scores = [s for s in filled_columns(value, SCORES) if not isinstance(value[s], Mapping)]
            if texts and scores:
                yield (
                    "rated lists",
                    Columns(
                        responses=f"{name}.*.{texts[0]}",
                        scores=f"{name}.*.{scores[0]}",
                        order=order_of(scores[0]),
                    ),
                )
        for ratings in filled_columns(values, SCORE_LISTS):
            yield "rated lists", Columns(responses=name, scores=ratings, order=order_of(ratings))
    for name in filled_columns(values, RESPONSES):
        for score in filled_columns(values, SCORES):
            if snake_case(score) != "label" or is_flag(values[score]):
                yield "rated rows", Columns(response=name, score=score, order=order_of(score))


def _side_names(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for better, worse in SIDES:
        for name in sorted(values, key=lambda name: (snake_case(name) != better, len(name), name)):
            other = partner(values, name, better, worse)
            if other is None or set(words_of(name)) & (RATING_WORDS | METADATA_WORDS):
                continue
            if _hold_texts(values, name, other):
                yield name, other


def _hold_texts(values: Mapping[str, object], *names: str) -> bool:
    return all(isinstance(values[name], str | list | Mapping) for name in names)


def _text_key(chosen: object, rejected: object) -> str:
    """Return the key of the text in two objects, such as `.text`; "" if they have none."""
    if not isinstance(chosen, Mapping) or not isinstance(rejected, Mapping):
        return ""
    if {"role", "from", *DIALOGUES} & set(chosen):
        return ""
    names = [name for name in filled_columns(chosen, (*RESPONSES, "content")) if name in rejected]
    return f".{names[0]}" if len(names) == 1 else ""


def _check_sides(sides: Sequence[tuple[str, str]], head: Head) -> None:
    """Refuse several pairs of sides, and sides that are names of responses in other columns."""
    chosen = sides[0][0]
    names = " or ".join(f"prepare.columns.chosen={a}, rejected={b}" for a, b in sides[:3])
    if len(sides) > 1 and snake_case(chosen) != "chosen":
        raise DataError(f"{head.where}: several columns could be the responses; set {names}")
    others = [name for pair in sides[1:] for name in pair]
    others += [
        name for first, second, _ in _response_pairs(head.values) for name in (first, second)
    ]
    others += filled_columns(head.values, RESPONSE_LISTS)
    cells = [value for row in head.rows for name in sides[0] if (value := row.get(name))]
    if not others or any(len(str(value)) > LONGEST_LABEL for value in cells):
        return
    texts = {text for row in head.rows for name in others for text in texts_in(row.get(name))}
    if any(value not in texts for value in map(str, cells)):
        raise DataError(
            f"{head.where}: {chosen} has {show(cells[0])}, which may name a response in "
            f"{', '.join(others[:4])}; set prepare.columns.response_a, response_b and label, or "
            f"{names}"
        )


def _response_pairs(values: Mapping[str, object]) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Yield pairs of columns such as response_a and response_b."""
    for first, second in _SUFFIXES:
        for name in values:
            words = words_of(name)
            if not words or first not in (words[0], words[-1]):
                continue
            base = words[:-1] if words[-1] == first else words[1:]
            other = partner(values, name, first, second)
            is_response = "_".join(base) in _STEMS or (base and base[0].rstrip("s") in _STEMS)
            if other is None or not is_response or set(base) & METADATA_WORDS:
                continue
            if _hold_texts(values, name, other):
                yield name, other, (first, second)


def _labelled_columns(first: str, second: str, suffixes: tuple[str, str], head: Head) -> Columns:
    key = _text_key(head.values[first], head.values[second])
    columns = Columns(response_a=f"{first}{key}", response_b=f"{second}{key}")
    sides = f"set prepare.columns.response_a={first}{key}, response_b={second}{key}"
    third = partner(head.values, second, suffixes[1], _THIRD.get(suffixes[1], ""))
    if third is not None:
        raise DataError(
            f"{head.where}: {first}, {second} and {third} are more than two responses; {sides} or "
            f"others, and label with label_a and label_b, or score_a and score_b"
        )
    if labels := filled_columns(head.values, LABELS):
        readings = [meanings(_label_values(label, head), suffixes) for label in labels]
        if readings[0] is None:
            known = with_prompt_columns(replace(columns, label=labels[0]), head.values)
            settings = with_values(known, head.rows).columns.settings()
            raise DataError(
                f"{head.where}: column {labels[0]} has the values "
                f"{show(', '.join(sorted(_label_values(labels[0], head))[:5]))}, which do not say "
                f"whether {first} or {second} is better; set {', '.join(settings)}, with the right "
                f"values (or comparisons) in label_a, label_b and label_tie"
            )
        both = zip(labels, readings, strict=True)
        mapped = [replace(columns, label=label, **read) for label, read in both if read]
        _check_agreement(mapped, head)
        return mapped[0]
    if (rated := with_ratings(columns, head)).score_a:
        return rated
    suggestion = suggest(head.rows)
    guess = suggestion.columns if suggestion else columns
    likely = f", such as {', '.join(guess.settings())}" if guess.label or guess.score_a else ""
    raise DataError(
        f"{head.where}: {first} and {second} have no label that is known by its name; {sides}, and "
        f"label with label_a and label_b, or score_a and score_b{likely}"
    )


def _label_values(label: str, head: Head) -> set[str]:
    return {normal_label(row[label]) for row in head.rows if row.get(label) is not None}


def _check_agreement(mapped: Sequence[Columns], head: Head) -> None:
    """Refuse labels in several columns that prefer different responses."""
    for row in head.rows:
        votes = {
            matches(row.get(columns.label), columns.label_a): columns.label
            for columns in mapped
            if matches(row.get(columns.label), f"{columns.label_a},{columns.label_b}")
        }
        if len(votes) > 1:
            names = " and ".join(votes.values())
            raise DataError(
                f"{head.where}: columns {names} prefer different responses; name one of them in "
                f"prepare.columns.label (with {', '.join(mapped[0].settings())})"
            )


def with_ratings(columns: Columns, head: Head) -> Columns:
    """Add the ratings of both sides, in any spelling, to a mapping of pairs."""
    if columns.chosen and not columns.chosen_score:
        ratings = ratings_of_sides(head.values)
        names = ("chosen_score", "rejected_score")
    elif columns.response_a and not columns.score_a:
        ratings = ratings_of_twins(head.values, columns.response_a, columns.response_b)
        names = ("score_a", "score_b")
    else:
        return columns
    if not ratings:
        return columns
    return replace(columns, **dict(zip(names, ratings, strict=True)), order=order_of(ratings[0]))


def _with_prompt(columns: Columns, head: Head, source: str) -> Columns:
    """Add the columns of the prompt to a mapping, and subset and id."""
    values = head.values
    complete = with_prompt_columns(columns, values)
    if not complete.prompt:
        free = _unread_texts(values, columns)
        _check_no_prompt(columns, free, head, source)
    short = {name: next(iter(filled_columns(values, [name])), "") for name in ("subset", "id")}
    named = {name: path for name, path in short.items() if isinstance(values.get(path), str | int)}
    return replace(complete, **named)


def with_prompt_columns(columns: Columns, values: Mapping[str, object]) -> Columns:
    """Add the columns of the prompt, by their names, to a mapping of the responses."""
    free = _unread_texts(values, columns)
    prompts = filled_columns(free, PROMPTS)
    prompt = prompts[0] if prompts else ""
    extras = {"prompt": prompt} if prompt else {}
    if systems := columns_named(free, SYSTEMS):
        extras["system"] = systems[0]
    for field in ("input", "context") if snake_case(prompt) == "instruction" else ("context",):
        for name in columns_named(free, [field]):
            if prompt and name != prompt and has_messages(free[name]):
                extras["history"] = name
            elif prompt and name != prompt and isinstance(free[name], str | None):
                extras[field] = name
    for name in filled_columns(free, HISTORIES):
        history = free[name]
        if prompt and name != prompt:
            is_text = isinstance(history, str) and history[:1] != "["
            is_turns = not is_text or dialogue_in(str(history)) is not None
            extras["history" if is_turns else "context"] = name
    return replace(columns, **extras)


def _unread_texts(values: Mapping[str, object], columns: Columns) -> dict[str, object]:
    """Return the columns of texts or messages that the mapping does not read."""
    return {
        name: value
        for name, value in values.items()
        if name not in columns.keys and isinstance(value, str | list | Mapping | None)
    }


def _check_no_prompt(columns: Columns, free: Mapping[str, object], head: Head, source: str) -> None:
    """Refuse sides without a prompt if another column may be the prompt."""
    sides = cell(head.values, columns.responses) if columns.responses else None
    side = _first_entry(sides) or cell(head.values, columns.chosen or columns.response_a)
    if isinstance(side, str) and is_dialogue(side):
        return
    if isinstance(side, list) and len(side) > 1 and isinstance(side[0], Mapping):
        return
    if isinstance(side, Mapping) and not {"role", "from"} & set(side):
        return
    misspelt = did_you_mean("prompt", list(head.values))
    is_text = isinstance(side, str) and not columns.responses
    if source == "hh" or misspelt or _could_be_prompts(free) or not is_text:
        raise DataError(_no_prompt_message(columns, free, head))


def _no_prompt_message(columns: Columns, free: Mapping[str, object], head: Head) -> str:
    candidates = _could_be_prompts(free)
    misspelt = did_you_mean("prompt", list(head.values))
    responses = columns.chosen or columns.response_a or columns.response or columns.responses
    choice = " or ".join(f"prepare.columns.prompt={name}" for name in candidates[:3])
    return (
        f"{head.where}: column prompt is missing{misspelt}, and {responses} is no whole dialogue; "
        f"the row has {show(', '.join(head.values))}: "
        + (f"set {choice}" if candidates else "add the column, or set prepare.columns.prompt")
        + f" (with {', '.join(columns.settings())}; without a prompt, these read the shared "
        f"beginning as the prompt)"
    )


def _could_be_prompts(free: Mapping[str, object]) -> list[str]:
    return [name for name, value in free.items() if _could_be_prompt(name, value)]


def _could_be_prompt(name: str, value: object) -> bool:
    """Return whether a column without a usual name of prompts may hold prompts."""
    words = set(words_of(name))
    texts = list(texts_in(value))
    is_short = all(len(text.split()) < 4 and not text.rstrip().endswith("?") for text in texts)
    if words & (METADATA_WORDS - SHORT_WORDS) or (words & SHORT_WORDS and is_short):
        return False
    return any(text.strip() and as_number(text) is None for text in texts)


def _check_no_lists_as_texts(columns: Columns, head: Head) -> None:
    """Refuse responses that are lists written as text in all of the first rows."""
    for name in filter(None, (columns.chosen, columns.response_a, columns.response)):
        cells = [value for row in head.rows if (value := cell(row, name)) is not None]
        if all(isinstance(value, str) and _LIST_AS_TEXT.fullmatch(value) for value in cells):
            raise DataError(
                f"{head.where}: column {name} has lists as texts ({show(cells[0])}); write the "
                f"data as JSONL or Parquet, or set {', '.join(columns.settings())} to read the "
                f"texts as they are"
            )


def _no_form_message(head: Head) -> str:
    names = list(head.values)
    needs = {
        "pairs": ("prompt", "chosen", "rejected"),
        "rated rows": ("prompt", "response", "score"),
        "rated lists": ("prompt", "responses", "scores"),
        "labelled pairs": ("prompt", "response_a", "response_b", "label"),
    }
    missing = {
        form: [name for name in columns if name not in names] for form, columns in needs.items()
    }
    for form in needs:
        if not missing[form]:
            held = ", ".join(f"{name} is a {kind(head.values[name])}" for name in needs[form])
            return (
                f"{head.where}: of the columns of “{form}”, {held}; needs texts or messages: mend "
                f"the rows, or name other columns in prepare.columns"
            )
    near = {name: did_you_mean(name, names) for lacks in missing.values() for name in lacks}
    form = min(
        needs,
        key=lambda form: sum(0.5 if near[name] else 1 for name in missing[form]) / len(needs[form]),
    )
    lacks = ", ".join(f"{name}{near[name]}" for name in missing[form])
    suggestion = suggest(head.rows)
    settings = ", ".join(suggestion.columns.settings()) if suggestion else ""
    mend = f"set {settings} if that is right" if settings else "name them in prepare.columns"
    return (
        f"{head.where}: columns {show(', '.join(names))} fit no form of preferences; the nearest "
        f"is “{form}”, which needs {lacks}: rename the columns, or {mend} (docs/data.md)"
    )


def _first_entry(value: object) -> object:
    """Return the first entry of a list, or the value itself."""
    return value[0] if isinstance(value, list) and value else value


def recognise_responses(rows: Sequence[Row], given: Columns) -> Mapped:
    """Return the reader of prompt and responses; labels are not needed.

    Args:
        rows: first rows of the file, at least one.
        given: columns that the user named; the others are recognised.

    Raises:
        DataError: no column has a usual name of responses, or none has one of prompts.
    """
    head = head_of(rows)
    known = recognise_set(head.values)
    has_responses = given.chosen or given.response_a or given.responses or given.response
    if known and not has_responses:
        return Mapped(replace(known.columns, **given.paths), known.name, expand=known.expand)
    columns = given if has_responses else replace(_response_columns(head), **given.paths)
    if columns.response in DIALOGUES:
        columns = with_prompt_columns(columns, head.values)
    elif not columns.prompt:
        columns = _with_prompt(columns, head, "files")
    return Mapped(columns, "responses")


def _response_columns(head: Head) -> Columns:
    values = head.values
    for chosen, rejected in _side_names(values):
        return Columns(chosen=chosen, rejected=rejected)
    for first, second, _ in _response_pairs(values):
        return Columns(response_a=first, response_b=second)
    lists, responses = (filled_columns(values, names) for names in (RESPONSE_LISTS, RESPONSES))
    if lists and responses:
        raise DataError(
            f"{head.where}: has {responses[0]} and {lists[0]} at once; set "
            f"prepare.columns.response={responses[0]} or prepare.columns.responses={lists[0]}"
        )
    for name in lists:
        entry = _first_entry(values[name])
        keys = filled_columns(entry, RESPONSES) if isinstance(entry, Mapping) else []
        return Columns(responses=f"{name}.*.{keys[0]}" if keys else name)
    for response in (*responses, *filled_columns(values, DIALOGUES)):
        return Columns(response=response)
    names = ("prompt", "response", "responses", "chosen", "rejected")
    near = (did_you_mean(name, names) for name in values if name not in names)
    has = show(", ".join(values)) if values else "no columns"
    raise DataError(
        f"{head.where}: has {has}{next(filter(None, near), '')}, needs prompt and response, prompt "
        f"and responses, or prompt, chosen and rejected: rename the columns, or set "
        f"prepare.columns.prompt and prepare.columns.response"
    )
