"""Convert raw rows to canonical pairs, demonstrations and prompts, and count every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from westofn.artifacts.table import did_you_mean, show
from westofn.errors import DataError
from westofn.sources.formats.demonstrations import Demonstration, demonstration, prompt_of
from westofn.sources.formats.ratings import MERGED
from westofn.sources.formats.rows import ALWAYS, Format, Pair
from westofn.sources.reading import Row, files_of, folder_of, rows_of

OTHER_SUBSET = "dropped_other_subset"
DUPLICATE = "dropped_duplicate_pair"


@dataclass(frozen=True)
class Part:
    """A file, or a split of a data set on the hub.

    Attributes:
        subset: subset of the rows without a subset of their own.
        rows: lazily read rows.
    """

    subset: str
    rows: Iterator[Row]


@dataclass(frozen=True)
class Collected:
    """Pairs collected from the rows of a source.

    Attributes:
        pairs: distinct pairs, in an order that does not depend on the order of rows.
        counts: row counts; rows_in = rows_out + all dropped_* + merged_with_another_row.
        formats: names of the formats of the files.
    """

    pairs: list[Pair]
    counts: dict[str, int]
    formats: tuple[str, ...]


def parts_of(path: Path, limit: int, key: str) -> Iterator[Part]:
    """Yield the files at a path; the name of a subfolder is the subset of its files.

    Args:
        path: a file or folder.
        limit: largest number of rows to read from each file; 0: all.
        key: name of the parameter in error messages.
    """
    for file in files_of(path, key):
        yield Part(folder_of(file, path), rows_of(file, limit))


def collect_pairs(
    parts: Iterable[Part],
    formats: Sequence[Format],
    *,
    subsets: Sequence[str],
    seed: int,
    where: Path | str,
) -> Collected:
    """Read preference pairs; rows without a usable pair are dropped and counted.

    Args:
        parts: files or splits; the first row of each determines its format.
        formats: allowed formats, the most specific first.
        subsets: subsets to keep; empty: all.
        seed: seed of the random choices of some formats.
        where: name of the data in error messages.

    Raises:
        DataError: a row has no allowed format or cannot be read, a subset does not exist, or no
            pair is left.
    """
    pairs: list[Pair] = []
    formats_used: dict[str, Format] = {}
    counts: Counter[str] = Counter(rows_in=0)
    id_locations: dict[str, str] = {}
    subsets_seen: set[str] = set()
    for part in parts:
        first = next(part.rows, None)
        if first is None:
            continue
        row_format = recognise(first, formats)
        formats_used[row_format.name] = row_format
        for row, row_subset, result in row_format.outcomes(chain([first], part.rows), seed):
            counts["rows_in"] += 1
            subset = row_subset or part.subset
            subsets_seen.add(subset)
            if subsets and subset not in subsets:
                counts[OTHER_SUBSET] += 1
            elif isinstance(result, str):
                counts[result] += 1
            else:
                _check_id(result, row, id_locations)
                pairs.append(replace(result, subset=subset, label_source=row_format.label_source))
    _check_subsets(subsets, subsets_seen, where)
    unique = _distinct(pairs)
    counts[DUPLICATE] = len(pairs) - len(unique)
    reasons = {reason for row_format in formats_used.values() for reason in row_format.drops}
    zero_counts = dict.fromkeys((OTHER_SUBSET, *sorted(reasons), *ALWAYS, DUPLICATE), 0)
    rows_in = counts.pop("rows_in")
    all_counts = {"rows_in": rows_in, **zero_counts, **counts, "rows_out": len(unique)}
    dropped = {name: n for name, n in all_counts.items() if name.startswith("dropped_")}
    assert all_counts["rows_in"] == len(unique) + sum(dropped.values()) + all_counts.get(MERGED, 0)
    if not unique:
        drop_counts = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
        raise DataError(
            f"{where}: no usable pair in {all_counts['rows_in']} rows ({drop_counts}); needs rows "
            f"with two different, non-empty responses to one prompt"
        )
    return Collected(unique, all_counts, tuple(sorted(formats_used)))


def recognise(row: Row, formats: Sequence[Format]) -> Format:
    """Return the format of a row.

    Raises:
        DataError: no format fits the row's columns; the message names the nearest format.
    """
    with_columns = [candidate for candidate in formats if not _missing(row, candidate)]
    with_types = [candidate for candidate in with_columns if candidate.fits(row.values)]
    if matches := with_types or with_columns:
        return matches[0]
    if len(formats) == 1:
        return formats[0]  # its reader reports the missing columns
    nearest = min(reversed(formats), key=lambda candidate: _distance(row, candidate))
    missing = [" or ".join(names) + _near(row, names) for names in _missing(row, nearest)]
    raise DataError(
        f"{row.where}: found columns {show(', '.join(row.values))}, which fit no preference "
        f"format; the nearest is “{nearest.name}”, which needs {', '.join(missing)}: rename the "
        f"columns, or see docs/data.md"
    )


def _missing(row: Row, form: Format) -> list[tuple[str, ...]]:
    return [names for names in form.columns if not any(name in row.values for name in names)]


def _near(row: Row, names: Sequence[str]) -> str:
    return next(filter(None, (did_you_mean(name, list(row.values)) for name in names)), "")


def _distance(row: Row, form: Format) -> float:
    """Share of a format's columns that are missing; misspelt columns count half."""
    missing = _missing(row, form)
    return sum(0.5 if _near(row, names) else 1.0 for names in missing) / len(form.columns)


def _check_id(pair: Pair, row: Row, id_locations: dict[str, str]) -> None:
    if (
        pair.given_id
        and (earlier := id_locations.setdefault(pair.given_id, row.where)) != row.where
    ):
        raise DataError(
            f"{row.where}: id {show(row.values['id'])} is also at {earlier}; needs unique ids: "
            f"mend or remove the id column"
        )


def _check_subsets(wanted: Sequence[str], seen: set[str], where: Path | str) -> None:
    known = sorted(filter(None, seen))
    for subset in wanted:
        if subset not in seen:
            raise DataError(
                f"{where}: no row has subset {show(subset)}{did_you_mean(subset, known)}; "
                f"the data has {', '.join(known) or 'no subsets'}: mend prepare.files.subset"
            )


def _distinct(pairs: Sequence[Pair]) -> list[Pair]:
    """Keep one row for each (prompt, chosen, rejected), independent of the order of rows.

    Among annotators who agree, the least confident one is kept; unknown confidence counts as 1.
    """

    def order(pair: Pair) -> tuple[str, str, str, str, str, float]:
        confidence = 1.0 if pair.p_chosen is None else pair.p_chosen
        return pair.chosen, pair.rejected, pair.prompt, pair.subset, pair.pair_id, confidence

    ordered = sorted(pairs, key=order)
    kept: dict[tuple[str, str, str], Pair] = {}
    for pair in ordered:
        kept.setdefault((pair.prompt_id, pair.chosen, pair.rejected), pair)
    return list(kept.values())


def collect_demonstrations(path: Path, limit: int) -> list[Demonstration]:
    """Read demonstrations, including blank and duplicate ones.

    Raises:
        DataError: a file or row cannot be read.
    """
    return [
        demonstration(row)
        for part in parts_of(path, limit, "prepare.sft_path")
        for row in part.rows
    ]


def collect_prompts(path: Path, limit: int) -> list[str]:
    """Read prompts, including blank and duplicate ones.

    Raises:
        DataError: a file or row cannot be read.
    """
    return [
        prompt_of(row)
        for part in parts_of(path, limit, "prepare.unlabeled_path")
        for row in part.rows
    ]
