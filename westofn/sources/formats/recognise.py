"""Recognise what the columns of a file mean, from the names and values of its first rows.

A known public data set is recognised first, then general names of columns. Where names leave a
doubt about the prompt or about the meaning of labels, the file is refused with the setting that
decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from westofn.artifacts.table import did_you_mean, show
from westofn.core.dialogue import is_dialogue
from westofn.errors import DataError
from westofn.sources.columns import Columns
from westofn.sources.formats.mapped import Mapped
from westofn.sources.known_sets import recognise_set
from westofn.sources.reading import Row

PROMPTS = (
    "prompt",
    "instruction",
    "question",
    "query",
    "problem",
    "user_prompt",
    "prompt_text",
    "user",
    "messages",
    "conversations",
    "conversation",
    "trajectory",
    "input",
    "history",
    "context",
    "post",
)
DIALOGUES = ("messages", "conversations", "conversation")
SYSTEMS = ("system", "system_prompt", "system_message")
RESPONSES = ("response", "completion", "answer", "output", "generation", "text")
RESPONSE_LISTS = ("responses", "completions", "answers", "outputs", "generations", "candidates")
SCORES = ("score", "rating", "overall_score", "reward", "label", "rank")
SCORE_LISTS = ("scores", "ratings", "rewards", "ranks", "rankings", "rank")
SIDES = (
    ("chosen", "rejected"),
    ("preferred", "dispreferred"),
    ("preferred", "non_preferred"),
    ("preferred", "rejected"),
    ("winner", "loser"),
    ("better", "worse"),
    ("good", "bad"),
)
LABELS = (
    "label",
    "labels",
    "preference",
    "winner",
    "choice",
    "preferred",
    "better",
    "better_response",
    "better_response_id",
    "verdict",
    "chosen",
)
_SUFFIXES = (("a", "b"), ("0", "1"), ("1", "2"))
_RATING_WORDS = {"score", "scores", "rating", "ratings", "grade", "votes", "rank"}
_METADATA_WORDS = {
    *("id", "ids", "uuid", "hash", "index", "source", "origin", "subset", "dataset", "split"),
    *("lang", "language", "locale", "model", "models", "category", "categories", "task", "type"),
    *("domain", "tag", "tags", "topic", "url", "link", "date", "time", "timestamp", "license"),
    *("author", "annotator", "worker", "rationale", "reason", "reasons", "explanation"),
    *("critique", "comment", "comments", "feedback", "judge", "score", "rating", "label"),
    *("name", "file", "path", "version", "annotations", "annotation"),
}
_TIES = {"tie", "ties", "tied", "draw", "equal", "both", "neither", "same", "tie (bothbad)"}
GIVEN = "mapping"
"""Name of the form of rows that are read by a given mapping."""
HEAD = 64
"""Number of first rows from which a form is recognised."""


class Head(NamedTuple):
    """The first rows of a file.

    Attributes:
        where: location of the first row.
        values: column -> its first value that is not null.
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
            if values.get(name) is None:
                values[name] = value
    return Head(readable[0].where, values, [row.values for row in readable])


def recognise(rows: Sequence[Row], source: str = "files", given: Columns | None = None) -> Mapped:
    """Return the reader for a file.

    Args:
        rows: first rows of the file, at least one.
        source: value of `prepare.source`. `hh` refuses texts without prompt that are no dialogues;
            the labels of `ultrafeedback` are those of a model.
        given: a mapping that comes before what is recognised.

    Raises:
        DataError: no form fits, or the meaning of a column is in doubt; the message says what to
            set.
    """
    head = head_of(rows)
    known = recognise_set(head.values)
    label_source = "ai_judge" if source == "ultrafeedback" else "human"
    if given:
        if known:
            return Mapped(given, GIVEN, known.label_source, warn=known.warn, is_given=True)
        return Mapped(given, GIVEN, label_source, is_given=True)
    if known:
        columns = with_ratings(known.columns, head)
        return Mapped(
            columns,
            known.name,
            known.label_source,
            known.expand,
            known.warn,
            known.confidence,
            also_read=known.reads,
        )
    for form, columns in _general(head):
        complete = _with_prompt(with_ratings(columns, head), head, source)
        return Mapped(complete, form, label_source)
    raise DataError(_refusal(head))


def _general(head: Head) -> Iterator[tuple[str, Columns]]:
    """Yield the mappings that fit by the names of responses and labels, the best first."""
    values = head.values
    for chosen, rejected in _side_names(values):
        form = "texts" if isinstance(values[chosen], str) else "conversations"
        yield form, Columns(chosen=chosen, rejected=rejected)
    for first, second, suffixes in _numbered(values):
        yield "labelled pairs", _labelled(first, second, suffixes, head)
    for name in _present(values, RESPONSE_LISTS):
        value = _parsed_entry(values[name])
        if isinstance(value, Mapping):
            texts = _present(value, (*RESPONSES, "content"))
            scores = _present(value, SCORES)
            if texts and scores:
                yield (
                    "rated lists",
                    Columns(
                        responses=f"{name}.*.{texts[0]}",
                        scores=f"{name}.*.{scores[0]}",
                        order=_order(scores[0]),
                    ),
                )
        for ratings in _present(values, SCORE_LISTS):
            yield "rated lists", Columns(responses=name, scores=ratings, order=_order(ratings))
    for name in _present(values, RESPONSES):
        for score in _present(values, SCORES):
            if score != "label" or isinstance(values[score], bool):
                yield "rated rows", Columns(response=name, score=score, order=_order(score))


def _side_names(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for better, worse in SIDES:
        for name in sorted(values, key=lambda name: (name != better, len(name), name)):
            words = _words(name)
            partner = _replaced(name, better, worse)
            if better not in words or partner not in values or partner == name:
                continue
            if words & (_RATING_WORDS | _METADATA_WORDS):
                continue
            both = (values[name], values[partner])
            if all(isinstance(value, str | list | Mapping) for value in both):
                yield name, partner


def _numbered(values: Mapping[str, object]) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Yield pairs of columns such as response_a and response_b."""
    for first, second in _SUFFIXES:
        for name in values:
            stem = name[: -len(first)] if name.lower().endswith(first) else ""
            end = second.upper() if name[-1:].isupper() else second
            partner = f"{stem}{end}"
            base = stem.rstrip("_- ").lower()
            if not base or partner not in values or _words(base) & _METADATA_WORDS:
                continue
            both = (values[name], values[partner])
            if base.split("_")[0].rstrip("s") in _STEMS and all(
                isinstance(value, str | list | Mapping) for value in both
            ):
                yield name, partner, (first, second)


_STEMS = {
    *("response", "answer", "completion", "output", "generation", "candidate", "conversation"),
    *("summary", "reply", "text", "assistant", "human_ref"),
}


def _labelled(first: str, second: str, suffixes: tuple[str, str], head: Head) -> Columns:
    columns = Columns(response_a=first, response_b=second)
    scores = {
        (name, partner)
        for name in head.values
        if _words(name) & _RATING_WORDS
        and name.lower().endswith(suffixes[0])
        and (partner := name[:-1] + second[-1]) in head.values
    }
    labels = _present(head.values, LABELS)
    if labels:
        return replace(columns, label=labels[0], **_meanings(labels[0], first, second, head))
    if len(scores) == 1:
        score_a, score_b = scores.pop()
        return replace(columns, score_a=score_a, score_b=score_b, order=_order(score_a))
    raise DataError(
        f"{head.where}: {first} and {second} have no label that is known by its name; set "
        f"prepare.columns.response_a={first}, response_b={second}, and label with label_a and "
        f"label_b, or score_a and score_b"
    )


def _meanings(label: str, first: str, second: str, head: Head) -> dict[str, str]:
    """Return which values of a label mean a, b and a tie; doubtful ones are refused."""
    seen = {_written(row[label]) for row in head.rows if row.get(label) is not None}
    suffix_a, suffix_b = first[-1].lower(), second[-1].lower()
    options = [
        ({first.lower()}, {second.lower()}),
        ({f"model_{suffix_a}"}, {f"model_{suffix_b}"}),
        ({suffix_a}, {suffix_b}),
    ]
    if suffix_a == "a":
        options.append(({"a>b", "a>>b"}, {"b>a", "b>>a"}))
    for means_a, means_b in options:
        if seen <= means_a | means_b | _TIES and seen & (means_a | means_b):
            return {
                "label_a": ",".join(sorted(means_a)),
                "label_b": ",".join(sorted(means_b)),
                "label_tie": ",".join(sorted(seen & _TIES)) or "tie",
            }
    raise DataError(
        f"{head.where}: column {label} has the values {show(', '.join(sorted(seen)[:5]))}, which "
        f"do not say whether {first} or {second} is better; set prepare.columns.response_a="
        f"{first}, response_b={second}, label={label}, and the values in label_a, label_b and "
        f"label_tie"
    )


def with_ratings(columns: Columns, head: Head) -> Columns:
    """Add the ratings of chosen and rejected, in any spelling, to a mapping of pairs."""
    if not columns.chosen or columns.chosen_score:
        return columns
    for better, worse in SIDES:
        for name, value in head.values.items():
            partner = _replaced(name, better, worse)
            is_rating = better in _words(name) and _words(name) & _RATING_WORDS
            if is_rating and partner in head.values and _is_number(value):
                return replace(
                    columns, chosen_score=name, rejected_score=partner, order=_order(name)
                )
    return columns


def _with_prompt(columns: Columns, head: Head, source: str) -> Columns:
    """Add the columns of the prompt to a mapping, and subset and id."""
    values = head.values
    complete = with_prompt_columns(columns, values)
    if not complete.prompt:
        free = _free(values, columns)
        if columns.chosen or columns.response_a:
            _check_no_prompt(columns, free, head, source)
        else:
            raise DataError(_no_prompt(columns, free, head))
    return replace(
        complete,
        subset="subset" if isinstance(values.get("subset"), str | int) else "",
        id="id" if isinstance(values.get("id"), str | int) else "",
    )


def with_prompt_columns(columns: Columns, values: Mapping[str, object]) -> Columns:
    """Add the columns of the prompt, by their names, to a mapping of the responses."""
    free = _free(values, columns)
    prompts, systems = _present(free, PROMPTS), _present(free, SYSTEMS)
    extras = {"prompt": prompts[0]} if prompts else {}
    if systems:
        extras["system"] = systems[0]
    prompt = extras.get("prompt", "")
    if prompt == "instruction" and isinstance(free.get("input"), str):
        extras["input"] = "input"
    if prompt not in ("", "context") and isinstance(free.get("context"), str):
        extras["context"] = "context"
    if prompt not in ("", "history") and (history := free.get("history")) is not None:
        is_turns = not isinstance(history, str) or is_dialogue(history) or history[:1] == "["
        extras["history" if is_turns else "context"] = "history"
    return replace(columns, **extras)


def _free(values: Mapping[str, object], columns: Columns) -> dict[str, object]:
    """Return the columns that the mapping does not read and that could be texts or messages."""
    return {
        name: value
        for name, value in values.items()
        if name not in columns.keys and isinstance(value, str | list | Mapping)
    }


def _check_no_prompt(columns: Columns, free: Mapping[str, object], head: Head, source: str) -> None:
    """Refuse sides without a prompt of their own, where another column may be the prompt."""
    side = head.values[columns.chosen or columns.response_a]
    if isinstance(side, str) and is_dialogue(side):
        return
    if isinstance(side, list) and len(side) > 1 and isinstance(side[0], Mapping):
        return
    if isinstance(side, Mapping) and not {"role", "from"} & set(side):
        return
    misspelt = did_you_mean("prompt", list(head.values))
    if source == "hh" or misspelt or _could_be_prompts(free) or not isinstance(side, str):
        raise DataError(_no_prompt(columns, free, head))


def _no_prompt(columns: Columns, free: Mapping[str, object], head: Head) -> str:
    candidates = _could_be_prompts(free)
    misspelt = did_you_mean("prompt", list(head.values))
    responses = columns.chosen or columns.response_a or columns.response or columns.responses
    choice = " or ".join(f"prepare.columns.prompt={name}" for name in candidates[:3])
    return (
        f"{head.where}: column prompt is missing{misspelt}, and {responses} is no whole dialogue; "
        f"the row has {show(', '.join(head.values))}: "
        + (f"set {choice}" if candidates else "add the column, or set prepare.columns.prompt")
        + f" (with {', '.join(columns.settings())}; alone, these read the shared beginning as "
        f"the prompt)"
    )


def _could_be_prompts(free: Mapping[str, object]) -> list[str]:
    return [
        name
        for name, value in free.items()
        if isinstance(value, str) and len(value.split()) > 1 and not _words(name) & _METADATA_WORDS
    ]


def _refusal(head: Head) -> str:
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
    near = {name: did_you_mean(name, names) for lacks in missing.values() for name in lacks}
    form = min(
        needs,
        key=lambda form: sum(0.5 if near[name] else 1 for name in missing[form]) / len(needs[form]),
    )
    lacks = ", ".join(f"{name}{near[name]}" for name in missing[form])
    return (
        f"{head.where}: columns {show(', '.join(names))} fit no form of preferences; the nearest "
        f"is “{form}”, which needs {lacks}: rename the columns, or name them in prepare.columns "
        f"(docs/data.md)"
    )


def _present(values: Mapping[str, object], names: Sequence[str]) -> list[str]:
    return [name for name in names if values.get(name) is not None]


def _parsed_entry(value: object) -> object:
    """Return the first entry of a list, or the value itself."""
    return value[0] if isinstance(value, list) and value else value


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower()))


def _replaced(name: str, word: str, other: str) -> str:
    return re.sub(rf"(?<![a-z0-9]){word}(?![a-z0-9])", other, name)


def _order(name: str) -> str:
    return "lower" if "rank" in name else "higher"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _written(value: object) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if isinstance(value, float) and is_whole else value).strip().lower()


def recognise_responses(rows: Sequence[Row], given: Columns) -> Mapped:
    """Return the mapping of prompt and responses; labels are not needed.

    Args:
        rows: first rows of the file, at least one.
        given: columns that the user named; the others are recognised.

    Raises:
        DataError: there are no responses, or no prompt, by their names.
    """
    head = head_of(rows)
    known = recognise_set(head.values)
    has_responses = given.chosen or given.response_a or given.responses or given.response
    if known and not has_responses:
        return Mapped(replace(known.columns, **given.paths), known.name, expand=known.expand)
    columns = given if has_responses else replace(_responses(head), **given.paths)
    if columns.response in DIALOGUES:
        columns = with_prompt_columns(columns, head.values)
    elif not columns.prompt:
        columns = _with_prompt(columns, head, "files")
    return Mapped(columns, "responses")


def _responses(head: Head) -> Columns:
    values = head.values
    for chosen, rejected in _side_names(values):
        return Columns(chosen=chosen, rejected=rejected)
    for first, second, _ in _numbered(values):
        return Columns(response_a=first, response_b=second)
    lists, responses = (_present(values, names) for names in (RESPONSE_LISTS, RESPONSES))
    if lists and responses:
        raise DataError(
            f"{head.where}: has {responses[0]} and {lists[0]} at once; set "
            f"prepare.columns.response={responses[0]} or prepare.columns.responses={lists[0]}"
        )
    for name in lists:
        entry = _parsed_entry(values[name])
        keys = _present(entry, RESPONSES) if isinstance(entry, Mapping) else []
        return Columns(responses=f"{name}.*.{keys[0]}" if keys else name)
    for response in (*responses, *_present(values, DIALOGUES)):
        return Columns(response=response)
    names = ("prompt", "response", "responses", "chosen", "rejected")
    near = (did_you_mean(name, names) for name in values if name not in names)
    has = show(", ".join(values)) if values else "no columns"
    raise DataError(
        f"{head.where}: has {has}{next(filter(None, near), '')}, needs prompt and response, prompt "
        f"and responses, or prompt, chosen and rejected: rename the columns, or set "
        f"prepare.columns.prompt and prepare.columns.response"
    )
