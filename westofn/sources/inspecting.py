"""What a file of preferences, demonstrations, prompts or pools holds, before anything is run on it.

It is read by the code that `prepare` and `sample` read it with, so what is refused there is refused
here; which responses are too long for the policy is known to `sample` alone.
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
"""Share of pairs with the longer response as the chosen one from which it is worth a warning."""

_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class FileReport:
    """What one file holds.

    Attributes:
        name: of the file.
        form: what it was recognised as.
        counts: rows_in, rows_out and the reasons between them.
        texts: by column (prompt, and chosen and rejected or response), row by row.
        note: why it was taken for something other than preferences, "" where it was not.
        subsets: pairs by subset, "" for those without one.
    """

    name: str
    form: str
    counts: Mapping[str, int]
    texts: Mapping[str, Sequence[str]]
    note: str = ""
    subsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """What the files hold together.

    Attributes:
        files: a report each.
        prompts: distinct ones.
        repeated: rows whose prompt another row has too, beyond the first.
        openings_joined: groups that vanished since their prompts are turns of one dialogue.
        near_joined: groups that vanished since their prompts are near duplicates.
        shared: (file, file) -> prompts of the first that are in a group of the second's prompts.
        longer_chosen: share of pairs whose chosen response has more words, of those of different
            length; None without such pairs.
    """

    files: Sequence[FileReport]
    prompts: int
    repeated: int
    openings_joined: int
    near_joined: int
    shared: Mapping[tuple[str, str], int] = field(default_factory=dict)
    longer_chosen: float | None = None


def inspect_files(paths: Sequence[Path], source: str, limit: int) -> Inspection:
    """Read files and measure what their texts are like.

    Args:
        paths: files and folders.
        source: one of SOURCES; its forms are allowed.
        limit: rows to read of each file; 0 takes all.

    Raises:
        DataError: a file or row cannot be read, or is of no known form.
    """
    files: list[FileReport] = []
    for path in paths:
        place_of: dict[str, str] = {}  # of pools, which `sample` reads from one path
        files += [
            _report(file, folder_of(file, path), source, limit, place_of)
            for file in files_of(path, "the path")
        ]
    prompts = [text for file in files for text in file.texts["prompt"] if text.strip()]
    groups = group_prompts(set(prompts), {text: fold(opening(text)) for text in prompts})
    names = {
        file.name: {prompt_id(text) for text in file.texts["prompt"] if text.strip()}
        for file in files
        if file.form != POOLS  # which are meant to share their prompts
    }
    grouped = {file: {groups.group_of[name] for name in ids} for file, ids in names.items()}
    shared = {
        (one, other): sum(groups.group_of[name] in grouped[other] for name in names[one])
        for one, other in combinations(names, 2)
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
    file: Path, folder: str, source: str, limit: int, place_of: dict[str, str]
) -> FileReport:
    rows = rows_of(file, limit)
    first = next(rows)
    every = chain([first], rows)
    if is_pool(first):
        return _pools(file, every, place_of)
    try:
        recognise(first, SOURCES[source]())
    except DataError as error:
        if source != "files":
            raise
        return _other_than_preferences(file, first, every, error)
    found = collect_pairs(
        [Part(folder, iter(every))], SOURCES[source](), subsets=(), seed=0, where=str(file)
    )
    texts = {
        name: [getattr(pair, name) for pair in found.pairs]
        for name in ("prompt", "chosen", "rejected")
    }
    subsets = Counter(pair.subset for pair in found.pairs)
    return FileReport(str(file), ", ".join(found.formats), found.counts, texts, subsets=subsets)


def _other_than_preferences(
    file: Path, first: Row, rows: Iterable[Row], refusal: DataError
) -> FileReport:
    readers: dict[str, Callable[[Row], dict[str, str]]] = {
        DEMONSTRATIONS: lambda row: {
            "prompt": (one := demonstration(row)).prompt,
            "response": one.response,
        },
        PROMPTS: lambda row: {"prompt": prompt_of(row)},
    }
    for form, read in readers.items():
        try:
            read(first)
        except DataError:
            continue
        return _plain(file, form, rows, read, f"no preferences: {refusal}")
    raise refusal


def _pools(file: Path, rows: Iterable[Row], place_of: dict[str, str]) -> FileReport:
    pools = pools_of(rows, {}, place_of)
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


def print_inspection(found: Inspection, rows: int, console: Console) -> None:
    """Show what was found, and some rows of each file."""
    for file in found.files:
        console.print(
            f"{file.name}: {file.form}", style="bold", markup=False, highlight=False, soft_wrap=True
        )
        if file.note:
            console.print(file.note, style="yellow", markup=False, highlight=False, soft_wrap=True)
        console.print(_counts(file))
        if named := {name: count for name, count in sorted(file.subsets.items()) if name}:
            shown = ", ".join(f"{name} {count:,}" for name, count in named.items())
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
    console.print(_together(found))
    for line in warnings_of(found):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


def warnings_of(found: Inspection) -> list[str]:
    """What one should know before training on these files."""
    lines = [
        f"{count} prompts of {one} are also in {other}, equal, nearly equal or of one dialogue: "
        f"splits of the files' own would leak (prepare makes its own, by group)"
        for (one, other), count in found.shared.items()
        if count
    ]
    if found.longer_chosen is not None and found.longer_chosen >= LENGTH_BIAS:
        lines.append(
            f"the longer response is the chosen one in {found.longer_chosen:.0%} of pairs: compare "
            f"accuracies with that of the longest response, which eval reports"
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


def _together(found: Inspection) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("distinct prompts", f"{found.prompts:,}")
    table.add_row("rows that repeat a prompt", f"{found.repeated:,}")
    table.add_row("prompts joined as near duplicates", f"{found.near_joined:,}")
    table.add_row("prompts joined as turns of one dialogue", f"{found.openings_joined:,}")
    if found.longer_chosen is not None:
        table.add_row("the longer response is chosen", f"{found.longer_chosen:.1%}")
    return table


def _shortened(text: str) -> str:
    line = repr(text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
