"""Read the rows of a benchmark; the first rows of a file determine which one it is.

| format | columns |
|---|---|
| rewardbench | prompt, chosen, rejected, chosen_model, rejected_model, subset |
| rewardbench2 | prompt, chosen (list), rejected (list), num_correct, subset; in Ties an id |
| rm-bench | prompt, chosen (3 styles), rejected (3 styles), domain |
| judgebench | question, response_A, response_B, label (A>B or B>A), source, pair_id |
| llmbar | input, output_1, output_2, label (1 or 2) |
| best-of-k | prompt, responses (list) or response_1 … response_k, scores (list of true or false) |
| preferences | any other pairs that `prepare` reads |

Texts are read by the functions of `prepare`, so a model gets the texts that it was trained on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from westofn.artifacts.table import show
from westofn.bench.catalogue import BENCHMARKS, TIES, Benchmark, Format
from westofn.bench.items import Item
from westofn.core.reward_benchmarks import STYLES
from westofn.errors import DataError
from westofn.scoring.rows import Faults, Row, raw_row, read_rows
from westofn.scoring.run import lines_of
from westofn.sources.collect import Part, Reading, collect_pairs
from westofn.sources.column_settings import BadRows
from westofn.sources.columns import Columns, cell
from westofn.sources.formats.names import RESPONSE_LISTS, SCORE_LISTS, filled_columns
from westofn.sources.formats.recognise import HEAD, head_of
from westofn.sources.formats.rows import MERGED, as_number, is_flag, listed
from westofn.sources.json_lines import JsonLine
from westofn.sources.known_sets import KNOWN_SETS

_SETS: Mapping[str, Format] = {
    "RewardBench": "rewardbench",
    "RewardBench 2": "rewardbench2",
    "RM-Bench": "rm-bench",
    "JudgeBench": "judgebench",
    "LLMBar": "llmbar",
}
"""Name of a known set -> its format."""
_NUMBERED = re.compile(r"response_(\d+)")
_TIES_NAME = re.compile(r"(ref|tied):\d+")
_UNREADABLE = "unreadable"


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Attributes:
        format: The format; None: it is recognised.
        columns: Columns that the user named, which only preferences take; None: recognised.
        bad_rows: Whether a row that cannot be read is an error, or is left out and counted.
    """

    format: Format | None = None
    columns: Columns | None = None
    bad_rows: BadRows = "refuse"


@dataclass(frozen=True)
class ReadFile:
    """The rows of a file.

    Attributes:
        benchmark: What the file holds.
        items: Its rows.
        dropped: Reason -> number of rows that were left out.
        fault: The first fault of a row that cannot be read; "" if there is none.
    """

    benchmark: Benchmark
    items: list[Item]
    dropped: Mapping[str, int]
    fault: str


def read_benchmark(file: Path, subset: str, options: ReadOptions) -> ReadFile:
    """Read a file.

    Args:
        file: A file that `westofn score` reads.
        subset: Subset of the rows that name none.
        options: How it is read.

    Raises:
        DataError: The file or a row cannot be read, several formats fit, or no row is left.
    """
    lines = list(lines_of(file))
    if not lines:
        raise DataError(f"{file}: no rows; needs at least one")
    head = head_of([raw_row(line) for line in islice(lines, HEAD)])
    name = options.format or ("preferences" if options.columns else _recognised(file, head.values))
    if options.columns and name != "preferences":
        raise DataError(
            f"{file}: -S prepare.columns is for preferences, and --format is {name}, whose columns "
            "are known; remove one of them"
        )
    if name == "preferences":
        return _preferences(file, lines, subset, options)
    dropped = Faults() if options.bad_rows == "drop" else None
    items = list(_items(name, str(file), lines, subset, dropped))
    if not items:
        fault = f", the first: {dropped.first}" if dropped else ""
        raise DataError(f"{file}: no row can be read{fault}")
    _check_names(name, items)
    count, first = (dropped.count, dropped.first) if dropped else (0, "")
    return ReadFile(BENCHMARKS[name], items, {_UNREADABLE: count} if count else {}, first)


def _recognised(file: Path, values: Mapping[str, object]) -> Format:
    """Return the format of a row; preferences if it is no benchmark.

    Raises:
        DataError: Several formats fit.
    """
    fitting = [_SETS[known.name] for known in KNOWN_SETS if known.name in _SETS and
               known.fits_row(values)]  # fmt: skip
    if _flagged(values):
        fitting.append("best-of-k")
    if len(fitting) > 1:
        raise DataError(
            f"{file}: the columns {show(', '.join(values))} fit {' and '.join(fitting)}; set "
            "--format to the right one"
        )
    return fitting[0] if fitting else "preferences"


def _flagged(values: Mapping[str, object]) -> bool:
    """Return whether a row has a list of responses and a list of flags for them."""
    responses = _numbered(values) or filled_columns(values, RESPONSE_LISTS)
    return bool(responses) and any(
        isinstance(flags := values[name], list) and flags and all(map(_is_zero_or_one, flags))
        for name in filled_columns(values, SCORE_LISTS)
    )


def _is_zero_or_one(value: object) -> bool:
    return is_flag(value) or as_number(value) in (0.0, 1.0)


def _numbered(values: Mapping[str, object]) -> list[str]:
    """Return the columns response_1 … response_k in order; fewer than three are no such list."""
    numbers = sorted(int(m[1]) for name in values if (m := _NUMBERED.fullmatch(name)))
    in_order = numbers == list(range(1, len(numbers) + 1))
    return [f"response_{n}" for n in numbers] if in_order and len(numbers) > 2 else []


def _items(
    name: Format, file: str, lines: Sequence[JsonLine], subset: str, dropped: Faults | None
) -> Iterator[Item]:
    given = Columns()
    if name == "best-of-k":
        lines, given = [_with_list(line) for line in lines], Columns(responses="responses")
        head = [raw_row(line) for line in islice(lines, HEAD)]
        if "responses" not in head_of(head).values:
            given = Columns()
    read = _READERS[name]
    for row in read_rows(lines, file, given=given, head=HEAD, dropped=dropped, added=()):
        try:
            item = read(row)
        except DataError as error:
            if dropped is None:
                raise DataError(
                    f"{error}; or give --bad-rows drop, or --format preferences"
                ) from None
            dropped.add(str(error))
            continue
        yield item if item.subset else replace(item, subset=subset)


def _with_list(line: JsonLine) -> JsonLine:
    """Return a line whose columns response_1 … response_k are one list."""
    names = _numbered(line.values)
    if not names:
        return line
    rest = {name: value for name, value in line.values.items() if name not in names}
    responses = [line.values[name] for name in names]
    return line._replace(values={**rest, "responses": responses})


def _item(
    row: Row, subset: str, name: str, responses: Sequence[str], grades: Sequence[float]
) -> Item:
    return Item(row.place, name, subset, row.prompt, tuple(responses), tuple(grades))


def _text(row: Row, name: str) -> str:
    """Return what a column says as a text; "" without one."""
    value = cell(row.values, name)
    return "" if value is None else str(value)


def _reward_bench(row: Row) -> Item:
    _require_responses(row, 2)
    return _item(row, _text(row, "subset"), _text(row, "id"), row.responses, (1.0, 0.0))


def _reward_bench_2(row: Row) -> Item:
    subset, name, count = _text(row, "subset"), _text(row, "id"), cell(row.values, "num_correct")
    chosen, rejected = _sides(row)
    if count != chosen or not rejected:
        raise DataError(
            f"{row.place}: {chosen} chosen and {rejected} rejected responses, num_correct is "
            f"{show(count)}; needs num_correct chosen responses and at least one rejected"
        )
    if subset.lower() == TIES and not _TIES_NAME.fullmatch(name):
        raise DataError(f"{row.place}: id is {show(name)} in Ties, needs ref:NUMBER or tied:NUMBER")
    if subset.lower() != TIES and chosen != 1:
        raise DataError(f"{row.place}: num_correct is {chosen}, needs 1 outside of Ties")
    return _item(row, subset, name, row.responses, (*[1.0] * chosen, *[0.0] * rejected))


def _rm_bench(row: Row) -> Item:
    chosen, rejected = _sides(row)
    if (chosen, rejected) != (STYLES, STYLES):
        raise DataError(
            f"{row.place}: {chosen} chosen and {rejected} rejected responses, needs {STYLES} and "
            f"{STYLES}, one in each style"
        )
    domain = _text(row, "domain")
    grades = (*[1.0] * STYLES, *[0.0] * STYLES)
    # The benchmark reports safety-refuse and safety-response as one domain.
    return _item(row, domain.split("-")[0], _text(row, "id"), row.responses, grades)


def _labelled(first: str, second: str, subset: str, name: str) -> Callable[[Row], Item]:
    """Return a reader of two responses and a label that says which one is better."""

    def read(row: Row) -> Item:
        _require_responses(row, 2)
        label = _text(row, "label")
        if label not in (first, second):
            raise DataError(f"{row.place}: label is {show(label)}, needs {first} or {second}")
        better = row.responses if label == first else row.responses[::-1]
        return _item(row, _text(row, subset), _text(row, name), better, (1.0, 0.0))

    return read


def _best_of_k(row: Row) -> Item:
    names = filled_columns(row.values, SCORE_LISTS)
    if not names:
        raise DataError(f"{row.place}: column scores is missing, needs one flag a response")
    flags = listed(row.values[names[0]], names[0], row.place)
    if len(flags) != len(row.responses) or len(flags) < 2:
        raise DataError(
            f"{row.place}: {len(row.responses)} responses and {len(flags)} {names[0]}, needs equal "
            "numbers of at least 2"
        )
    if wrong := [flag for flag in flags if not _is_zero_or_one(flag)]:
        raise DataError(f"{row.place}: {names[0]} has {show(wrong[0])}, needs true or false")
    grades = [float(str(flag).lower() == "true" or as_number(flag) == 1) for flag in flags]
    name = _text(row, "question_id") or _text(row, "id")
    return _item(row, _text(row, "subset"), name, row.responses, grades)


def _require_responses(row: Row, count: int) -> None:
    if len(row.responses) != count:
        raise DataError(f"{row.place}: {len(row.responses)} responses, needs {count}")


def _sides(row: Row) -> tuple[int, int]:
    """Return the numbers of chosen and rejected responses."""
    chosen, rejected = (
        len(listed(cell(row.values, name), name, row.place)) for name in ("chosen", "rejected")
    )
    return chosen, rejected


_READERS: Mapping[Format, Callable[[Row], Item]] = {
    "rewardbench": _reward_bench,
    "rewardbench2": _reward_bench_2,
    "rm-bench": _rm_bench,
    "judgebench": _labelled("A>B", "B>A", "source", "pair_id"),
    "llmbar": _labelled("1", "2", "subset", "id"),
    "best-of-k": _best_of_k,
}


def _check_names(name: Format, items: Sequence[Item]) -> None:
    """Refuse two rows of Ties with one id."""
    if name != "rewardbench2":
        return
    first: dict[str, str] = {}
    for item in items:
        if item.subset.lower() == TIES and first.setdefault(item.name, item.place) != item.place:
            raise DataError(
                f"{item.place}: id {item.name} is also at {first[item.name]}, needs one row of "
                "Ties with each id: remove one of them"
            )


def _preferences(
    file: Path, lines: Sequence[JsonLine], subset: str, options: ReadOptions
) -> ReadFile:
    """Read pairs as `prepare` does, with its reasons to drop a row."""
    reading = Reading(columns=options.columns, bad_rows=options.bad_rows, bad_rows_limit=1.0)
    collected = collect_pairs([Part("", map(raw_row, lines))], reading, file)
    items = [
        Item(str(file), pair.pair_id, pair.subset or subset, pair.prompt,
             (pair.chosen, pair.rejected), (1.0, 0.0))
        for pair in collected.pairs
    ]  # fmt: skip
    reasons = Counter(
        {
            name.removeprefix("dropped_"): count
            for name, count in collected.counts.items()
            if count and (name.startswith("dropped_") or name == MERGED)
        }
    )
    return ReadFile(BENCHMARKS["preferences"], items, reasons, "")
