"""Report the content of a file of preferences, demonstrations, prompts or pools.

The files are read by the code of `prepare` and `sample`, so errors of these stages appear here too.
Only the check for responses that are too long for the policy is left to `sample`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path

from rich.console import Console
from rich.table import Table

from westofn.core.dialogue import opening
from westofn.errors import DataError
from westofn.sources.collect import Part, collect_pairs, recognise
from westofn.sources.formats.demonstrations import demonstration, prompt_of
from westofn.sources.pool_files import is_pool, pools_of
from westofn.sources.reading import Row, files_of, folder_of, rows_of
from westofn.sources.registry import SOURCES
from westofn.sources.splits import fold, group_prompts, prompt_id

POOLS, DEMONSTRATIONS, PROMPTS = "pools of responses", "demonstrations", "prompts"
LENGTH_BIAS = 0.6
"""Share of pairs whose chosen response is the longer one, from which a warning is printed."""

_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class FileReport:
    """Content of one file.

    Attributes:
        name: path of the file.
        form: name of the recognised format.
        counts: rows_in, rows_out and the number of dropped rows by reason.
        texts: column (prompt, and chosen and rejected or response) -> texts, one per row.
        note: why the file does not hold preferences; "" if it does.
        subsets: subset -> number of pairs; "" for pairs without a subset.
    """

    name: str
    form: str
    counts: Mapping[str, int]
    texts: Mapping[str, Sequence[str]]
    note: str = ""
    subsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """Content of all files.

    Attributes:
        files: one report per file.
        prompts: number of distinct prompts.
        repeated: number of rows that repeat the prompt of an earlier row.
        openings_joined: number of groups merged because their prompts are turns of one dialogue.
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


def inspect_files(paths: Sequence[Path], source: str, limit: int) -> Inspection:
    """Read files and report their formats, counts, lengths and shared prompts.

    Args:
        paths: files and folders.
        source: key of SOURCES; determines the allowed formats.
        limit: largest number of rows to read from each file; 0: all.

    Raises:
        DataError: a file or row cannot be read, or has no known format.
    """
    files: list[FileReport] = []
    for path in paths:
        pool_locations: dict[
            str, str
        ] = {}  # per path, because `sample` reads the pools of one path
        files += [
            _report(file, folder_of(file, path), source, limit, pool_locations)
            for file in files_of(path, "the path")
        ]
    prompts = [text for file in files for text in file.texts["prompt"] if text.strip()]
    groups = group_prompts(set(prompts), {text: fold(opening(text)) for text in prompts})
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
        openings_joined=groups.families_joined,
        near_joined=groups.near_duplicates_joined,
        shared=shared,
        longer_chosen=_longer_chosen(files),
    )


def _report(
    file: Path, folder: str, source: str, limit: int, pool_locations: dict[str, str]
) -> FileReport:
    rows = rows_of(file, limit)
    first = next(rows)
    all_rows = chain([first], rows)
    if is_pool(first):
        return _pools(file, all_rows, pool_locations)
    try:
        recognise(first, SOURCES[source]())
    except DataError as error:
        if source != "files":
            raise
        return _other_than_preferences(file, first, all_rows, error)
    collected = collect_pairs(
        [Part(folder, iter(all_rows))], SOURCES[source](), subsets=(), seed=0, where=str(file)
    )
    texts = {
        name: [getattr(pair, name) for pair in collected.pairs]
        for name in ("prompt", "chosen", "rejected")
    }
    subsets = Counter(pair.subset for pair in collected.pairs)
    return FileReport(
        str(file), ", ".join(collected.formats), collected.counts, texts, subsets=subsets
    )


def _other_than_preferences(
    file: Path, first: Row, rows: Iterable[Row], refusal: DataError
) -> FileReport:
    readers: dict[str, Callable[[Row], dict[str, str]]] = {
        DEMONSTRATIONS: lambda row: {
            "prompt": (example := demonstration(row)).prompt,
            "response": example.response,
        },
        PROMPTS: lambda row: {"prompt": prompt_of(row)},
    }
    for form, read in readers.items():
        try:
            read(first)
        except DataError:
            continue
        return _plain(file, form, rows, read, f"not preferences: {refusal}")
    raise refusal


def _pools(file: Path, rows: Iterable[Row], pool_locations: dict[str, str]) -> FileReport:
    pools = pools_of(rows, {}, pool_locations)
    sizes = [len(responses) for responses in pools.responses]
    counts = {"rows_in": len(sizes), "fewest_responses": min(sizes), "most_responses": max(sizes)}
    return FileReport(str(file), POOLS, counts, {"prompt": pools.prompts})


def _plain(
    file: Path,
    form: str,
    rows: Iterable[Row],
    read: Callable[[Row], dict[str, str]],
    note: str = "",
) -> FileReport:
    texts: dict[str, list[str]] = {}
    count = 0
    for row in rows:
        count += 1
        for name, text in read(row).items():
            texts.setdefault(name, []).append(text)
    blank = sum(
        any(not text.strip() for text in entry) for entry in zip(*texts.values(), strict=True)
    )
    counts = {"rows_in": count, "blank": blank, "rows_out": count - blank}
    return FileReport(str(file), form, counts, texts, note)


def _longer_chosen(files: Sequence[FileReport]) -> float | None:
    differ = [
        chosen > rejected
        for file in files
        if "chosen" in file.texts
        for chosen, rejected in zip(
            map(_words, file.texts["chosen"]), map(_words, file.texts["rejected"]), strict=True
        )
        if chosen != rejected
    ]
    return statistics.fmean(differ) if differ else None


def _words(text: str) -> int:
    return len(text.split())


def print_inspection(inspection: Inspection, rows: int, console: Console) -> None:
    """Print the reports and some rows of each file."""
    for file in inspection.files:
        console.print(
            f"{file.name}: {file.form}", style="bold", markup=False, highlight=False, soft_wrap=True
        )
        if file.note:
            console.print(file.note, style="yellow", markup=False, highlight=False, soft_wrap=True)
        console.print(_counts(file))
        if named_subsets := {name: count for name, count in sorted(file.subsets.items()) if name}:
            shown = ", ".join(f"{name} {count:,}" for name, count in named_subsets.items())
            console.print(f"  subsets: {shown}", markup=False, highlight=False, soft_wrap=True)
        console.print(_lengths(file))
        count = len(file.texts["prompt"])
        for index in (number * count // rows for number in range(min(rows, count))):
            for name, texts in file.texts.items():
                shown = _shortened(texts[index])
                console.print(
                    f"  {name:>8}  {shown}", markup=False, highlight=False, soft_wrap=True
                )
            console.print()
    console.print(_together(inspection))
    for line in warnings_of(inspection):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


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


def _counts(file: FileReport) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, count in file.counts.items():
        if count or not name.startswith("dropped_"):
            table.add_row(f"  {name}", f"{count:,}")
    return table


def _lengths(file: FileReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("  words", "median", "95 %", "longest"):
        table.add_column(head, justify="left" if head == "  words" else "right")
    for name, texts in file.texts.items():
        lengths = sorted(map(_words, texts)) or [0]
        high = lengths[min(len(lengths) - 1, int(0.95 * len(lengths)))]
        table.add_row(
            f"  {name}", f"{statistics.median(lengths):g}", f"{high:,}", f"{lengths[-1]:,}"
        )
    return table


def _together(inspection: Inspection) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("distinct prompts", f"{inspection.prompts:,}")
    table.add_row("rows that repeat a prompt", f"{inspection.repeated:,}")
    table.add_row("prompts joined as near duplicates", f"{inspection.near_joined:,}")
    table.add_row("prompts joined as turns of one dialogue", f"{inspection.openings_joined:,}")
    if inspection.longer_chosen is not None:
        table.add_row("the longer response is chosen", f"{inspection.longer_chosen:.1%}")
    return table


def _shortened(text: str) -> str:
    line = repr(text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
