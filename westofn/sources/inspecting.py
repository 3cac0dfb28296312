"""Report the content of files of preferences, demonstrations, prompts or pools.

The code of `prepare` and `sample` reads the files, so their errors appear here too. Only `sample`
checks whether responses are too long for the policy.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, islice
from pathlib import Path
from typing import Literal

from westofn.errors import DataError
from westofn.sources.collect import Part, Reading, collect_pairs
from westofn.sources.column_settings import BadRows
from westofn.sources.columns import Columns
from westofn.sources.formats.demonstrations import demonstration, prompt_of
from westofn.sources.formats.mapped import Mapped
from westofn.sources.formats.recognise import HEAD, head_of, recognise
from westofn.sources.formats.rows import Pair
from westofn.sources.known_sets import KnownSet, recognise_set
from westofn.sources.pool_files import is_pool, pools_of
from westofn.sources.reading import Row, files_of, folder_of, rows_of
from westofn.sources.splits import group_prompts, prompt_id
from westofn.sources.suggesting import Suggestion, suggest

Kind = Literal["preferences", "demonstrations", "prompts", "pools"]

POOLS, DEMONSTRATIONS, PROMPTS = "pools of responses", "demonstrations", "prompts"
UNKNOWN = "no known form"
LENGTH_BIAS = 0.6
"""Share of pairs whose chosen response is the longer one, from which a warning is printed."""


@dataclass(frozen=True)
class FileReport:
    """Content of one file.

    Attributes:
        name: path of the file.
        kind: what the file holds; None if it has no known form.
        form: name of the form.
        counts: rows_in, rows_out and the number of dropped rows by reason.
        texts: column (prompt, and chosen and rejected or response) -> texts, one per row.
        note: why the file does not hold preferences; "" if it does.
        subsets: subset -> number of pairs; "" for pairs without a subset.
        rows: the file's first rows as they are read: prompt, chosen and rejected, or response.
        known: the known set; None for other files.
        mapping: the mapping that reads the file; None if its rows are rewritten first.
        unread: columns that are not read.
        warnings: one line for each thing that a person should check.
        suggestion: a mapping that may fit a file without preferences.
    """

    name: str
    kind: Kind | None
    form: str
    counts: Mapping[str, int]
    texts: Mapping[str, Sequence[str]]
    note: str = ""
    subsets: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[Mapping[str, str]] = ()
    known: KnownSet | None = None
    mapping: Columns | None = None
    unread: Sequence[str] = ()
    warnings: Sequence[str] = ()
    suggestion: Suggestion | None = None


@dataclass(frozen=True)
class Inspection:
    """Content of all files.

    Attributes:
        files: one report per file.
        prompts: number of distinct prompts.
        repeated: number of rows that repeat the prompt of an earlier row.
        openings_joined: number of groups merged because their prompts are turns of one dialogue or
            differ only in the system message.
        near_joined: number of groups merged because their prompts are near duplicates.
        shared: (file, other file) -> number of prompts of the file in a group with a prompt of the
            other file.
        longer_chosen: among pairs of different length in words, share with the longer response
            chosen; None without such pairs.
    """

    files: Sequence[FileReport]
    prompts: int
    repeated: int
    openings_joined: int
    near_joined: int
    shared: Mapping[tuple[str, str], int] = field(default_factory=dict)
    longer_chosen: float | None = None


@dataclass(frozen=True)
class InspectOptions:
    """How files are inspected.

    Attributes:
        kind: what the files should hold.
        source: value of `prepare.source`.
        columns: mapping of the columns; None: it is recognised.
        bad_rows: value of `prepare.bad_rows`.
        limit: largest number of rows to read from each file; 0: all.
        rows: number of first rows to report of each file.
    """

    kind: Kind = "preferences"
    source: str = "files"
    columns: Columns | None = None
    bad_rows: BadRows = "refuse"
    limit: int = 0
    rows: int = 3


def inspect_files(paths: Sequence[Path], options: InspectOptions) -> Inspection:
    """Read files and report their formats, counts, lengths and shared prompts.

    Raises:
        DataError: a file or row cannot be read. A file without preferences is reported.
    """
    files: list[FileReport] = []
    for path in paths:
        # `sample` reads the pools of one path, so a prompt may have a pool in each path.
        pool_locations: dict[str, str] = {}
        files += [
            _report_file(file, folder_of(file, path), options, pool_locations)
            for file in files_of(path, "the path")
        ]
    prompts = [text for file in files for text in file.texts["prompt"] if text.strip()]
    groups = group_prompts(set(prompts))
    names = {
        file.name: {prompt_id(text) for text in file.texts["prompt"] if text.strip()}
        for file in files
        if file.form != POOLS  # pools share their prompts with other files by design
    }
    grouped = {file: {groups.group_of[name] for name in ids} for file, ids in names.items()}
    shared = {
        (first, second): sum(groups.group_of[name] in grouped[second] for name in names[first])
        for first, second in combinations(names, 2)
    }
    return Inspection(
        files=files,
        prompts=len(groups.group_of),
        repeated=len(prompts) - len(groups.group_of),
        openings_joined=groups.openings_joined,
        near_joined=groups.near_duplicates_joined,
        shared=shared,
        longer_chosen=_longer_chosen(files),
    )


def check_kind(inspection: Inspection, kind: Kind) -> None:
    """Refuse files of another kind than the user asked for.

    Raises:
        DataError: a file is of another kind.
    """
    others = [file for file in inspection.files if file.kind != kind]
    if not others:
        return
    first = others[0]
    more = f" (and {len(others) - 1} more files)" if len(others) > 1 else ""
    held = f"holds {first.form}" if first.kind else "has no known form"
    mend = f", or ask with --kind {first.kind}" if first.kind else ""
    raise DataError(
        f"{first.name}: {held}{more}, needs {kind}: give another file, or a mapping by "
        f"-S prepare.columns.…{mend}"
    )


def _report_file(
    file: Path, folder: str, options: InspectOptions, pool_locations: dict[str, str]
) -> FileReport:
    with closing(rows_of(file, options.limit, keep_faulty=options.bad_rows == "drop")) as rows:
        return _report_rows(file, folder, options, pool_locations, rows)


def _report_rows(
    file: Path,
    folder: str,
    options: InspectOptions,
    pool_locations: dict[str, str],
    rows: Iterator[Row],
) -> FileReport:
    head = list(islice(rows, HEAD))
    all_rows = chain(head, rows)
    if options.kind == "pools":
        return _report_pools(file, all_rows, pool_locations)
    if options.kind in _WITHOUT_LABELS:
        form, read = _WITHOUT_LABELS[options.kind]
        return _report_without_labels(file, options.kind, form, all_rows, read, options.rows)
    try:
        mapped = recognise(head, options.source, options.columns)
    except DataError as refusal:
        if options.source != "files":
            raise
        if is_pool(head[0]):
            pools = _report_pools(file, all_rows, pool_locations)
            return replace(pools, note=f"not preferences: {refusal}")
        return _report_other_kind(file, head, all_rows, refusal, options.rows)
    known = recognise_set(head_of(head).values) if options.columns is None else None
    return _report_preferences(file, folder, options, all_rows, mapped, known)


def _report_preferences(
    file: Path,
    folder: str,
    options: InspectOptions,
    rows: Iterator[Row],
    mapped: Mapped,
    known: KnownSet | None,
) -> FileReport:
    reading = Reading(options.source, options.columns, bad_rows=options.bad_rows)
    collected = collect_pairs([Part(folder, rows)], reading, str(file))
    pairs = collected.pairs
    columns = ("prompt", "chosen", "rejected")
    return FileReport(
        str(file),
        "preferences",
        mapped.columns.form if known or options.columns else mapped.name,
        collected.counts,
        {name: [getattr(pair, name) for pair in pairs] for name in columns},
        subsets=Counter(pair.subset for pair in pairs),
        rows=[
            {name: getattr(pair, name) for name in columns}
            for pair in islice(_first_pairs(file, options, mapped), options.rows)
        ],
        known=known,
        mapping=None if known and known.expand else mapped.columns,
        unread=collected.unread,
        warnings=collected.warnings,
    )


def _first_pairs(file: Path, options: InspectOptions, mapped: Mapped) -> Iterator[Pair]:
    """Yield the pairs of a file in the order of its rows; `collect_pairs` sorts them."""
    rows = rows_of(file, options.limit, keep_faulty=options.bad_rows == "drop")
    for outcome in mapped.outcomes(rows, Reading().seed):
        if isinstance(outcome.result, Pair):
            yield outcome.result


_WITHOUT_LABELS: dict[Kind, tuple[str, Callable[[Row], dict[str, str]]]] = {
    "demonstrations": (
        DEMONSTRATIONS,
        lambda row: {
            "prompt": (example := demonstration(row)).prompt,
            "response": example.response,
        },
    ),
    "prompts": (PROMPTS, lambda row: {"prompt": prompt_of(row)}),
}


def _report_other_kind(
    file: Path, head: Sequence[Row], rows: Iterable[Row], refusal: DataError, shown: int
) -> FileReport:
    suggestion = suggest(head_of(head).rows)
    note = f"not preferences: {refusal}"
    for kind, (form, read) in _WITHOUT_LABELS.items():
        try:
            read(head[0])
        except DataError:
            continue
        return _report_without_labels(
            file, kind, form, rows, read, shown, note=note, suggestion=suggestion
        )
    counts = {"rows_in": sum(1 for _ in rows)}
    return FileReport(str(file), None, UNKNOWN, counts, {"prompt": []}, note, suggestion=suggestion)


def _report_pools(file: Path, rows: Iterable[Row], pool_locations: dict[str, str]) -> FileReport:
    pools = pools_of(rows, {}, pool_locations)
    sizes = [len(responses) for responses in pools.responses]
    counts = {"rows_in": len(sizes), "fewest_responses": min(sizes), "most_responses": max(sizes)}
    return FileReport(str(file), "pools", POOLS, counts, {"prompt": pools.prompts})


def _report_without_labels(
    file: Path,
    kind: Kind,
    form: str,
    rows: Iterable[Row],
    read: Callable[[Row], dict[str, str]],
    shown: int,
    *,
    note: str = "",
    suggestion: Suggestion | None = None,
) -> FileReport:
    entries = [read(row) for row in rows]
    blank = sum(any(not text.strip() for text in entry.values()) for entry in entries)
    texts = {name: [entry[name] for entry in entries] for name in entries[0]}
    counts = {"rows_in": len(entries), "blank": blank, "rows_out": len(entries) - blank}
    return FileReport(
        str(file),
        kind,
        form,
        counts,
        texts,
        note,
        rows=entries[:shown],
        suggestion=suggestion,
    )


def _longer_chosen(files: Sequence[FileReport]) -> float | None:
    differ = [
        chosen > rejected
        for file in files
        if "chosen" in file.texts
        for chosen, rejected in zip(
            map(words_in, file.texts["chosen"]), map(words_in, file.texts["rejected"]), strict=True
        )
        if chosen != rejected
    ]
    return statistics.fmean(differ) if differ else None


def words_in(text: str) -> int:
    """Return the number of words of a text."""
    return len(text.split())


def warnings_of(inspection: Inspection) -> list[str]:
    """List warnings about training on these files."""
    lines = [
        f"{count} prompts of {first} are also in {second}, equal, nearly equal or of one dialogue: "
        f"splits by file would leak (prepare splits by prompt group instead)"
        for (first, second), count in inspection.shared.items()
        if count
    ]
    if inspection.longer_chosen is not None and inspection.longer_chosen >= LENGTH_BIAS:
        lines.append(
            f"the longer response is chosen in {inspection.longer_chosen:.0%} of pairs: compare "
            f"accuracies with the accuracy of the longest response, which eval reports"
        )
    return lines
