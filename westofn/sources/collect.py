"""From raw rows to canonical pairs, demonstrations and prompts, with an account of every row."""

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
    """A file, or a split of a data set.

    Attributes:
        subset: of rows that name none.
        rows: read as they are asked for.
    """

    subset: str
    rows: Iterator[Row]


@dataclass(frozen=True)
class Collected:
    """What a source's rows became.

    Attributes:
        pairs: distinct, in an order that does not depend on that of the rows.
        counts: rows_in = rows_out + all dropped_* + merged_with_another_row.
        formats: the name of every form that was met.
    """

    pairs: list[Pair]
    counts: dict[str, int]
    formats: tuple[str, ...]


def parts_of(path: Path, limit: int, key: str) -> Iterator[Part]:
    """The files at a path; a file in a subfolder takes its name as subset.

    Args:
        path: a file or folder.
        limit: rows to read of each file; 0 takes all.
        key: the parameter that a message says to mend.
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
    """Read preferences; rows that hold none are dropped and counted.

    Args:
        parts: files or splits; each is of the form that its first row shows.
        formats: the forms that are allowed, the most special ones first.
        subsets: the subsets to keep; empty keeps all.
        seed: decides what forms leave to chance.
        where: what a message calls the data.

    Raises:
        DataError: a row is of no allowed form or cannot be read, a subset does not exist, or no
            pair is left.
    """
    pairs: list[Pair] = []
    met: dict[str, Format] = {}
    counts: Counter[str] = Counter(rows_in=0)
    place_of: dict[str, str] = {}
    seen: set[str] = set()
    for part in parts:
        first = next(part.rows, None)
        if first is None:
            continue
        form = recognise(first, formats)
        met[form.name] = form
        for row, stated, result in form.outcomes(chain([first], part.rows), seed):
            counts["rows_in"] += 1
            subset = stated or part.subset
            seen.add(subset)
            if subsets and subset not in subsets:
                counts[OTHER_SUBSET] += 1
            elif isinstance(result, str):
                counts[result] += 1
            else:
                _check_id(result, row, place_of)
                pairs.append(replace(result, subset=subset, label_source=form.label_source))
    _check_subsets(subsets, seen, where)
    unique = _distinct(pairs)
    counts[DUPLICATE] = len(pairs) - len(unique)
    reasons = {reason for form in met.values() for reason in form.drops}
    zeros = dict.fromkeys((OTHER_SUBSET, *sorted(reasons), *ALWAYS, DUPLICATE), 0)
    rows_in = counts.pop("rows_in")
    account = {"rows_in": rows_in, **zeros, **counts, "rows_out": len(unique)}
    dropped = {name: n for name, n in account.items() if name.startswith("dropped_")}
    assert account["rows_in"] == len(unique) + sum(dropped.values()) + account.get(MERGED, 0)
    if not unique:
        why = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
        raise DataError(
            f"{where}: no usable pair in {account['rows_in']} rows ({why}); needs rows with "
            f"two different, non-empty responses to one prompt"
        )
    return Collected(unique, account, tuple(sorted(met)))


def recognise(row: Row, formats: Sequence[Format]) -> Format:
    """The form of a row.

    Raises:
        DataError: it has the columns of none; the message names the nearest form.
    """
    complete = [form for form in formats if not _missing(row, form)]
    fitting = [form for form in complete if form.fits(row.values)]
    if found := fitting or complete:
        return found[0]
    if len(formats) == 1:
        return formats[0]  # which says what it lacks
    nearest = min(reversed(formats), key=lambda form: _distance(row, form))
    lacks = [" or ".join(names) + _near(row, names) for names in _missing(row, nearest)]
    raise DataError(
        f"{row.where}: found columns {show(', '.join(row.values))}, which fit no form of "
        f"preferences; the nearest is “{nearest.name}”, which needs {', '.join(lacks)}: rename the "
        f"columns, or see docs/data.md"
    )


def _missing(row: Row, form: Format) -> list[tuple[str, ...]]:
    return [names for names in form.columns if not any(name in row.values for name in names)]


def _near(row: Row, names: Sequence[str]) -> str:
    return next(filter(None, (did_you_mean(name, list(row.values)) for name in names)), "")


def _distance(row: Row, form: Format) -> float:
    """Missing columns, those that are merely misspelt counting half, as a share of all."""
    lacking = _missing(row, form)
    return sum(0.5 if _near(row, names) else 1.0 for names in lacking) / len(form.columns)


def _check_id(pair: Pair, row: Row, place_of: dict[str, str]) -> None:
    if pair.given_id and (earlier := place_of.setdefault(pair.given_id, row.where)) != row.where:
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
    """Keep one row for each (prompt, chosen, rejected), whatever the order of the rows.

    Of annotators who agree, the least sure one counts; one who did not say how sure comes last.
    """

    def order(pair: Pair) -> tuple[str, str, str, str, str, float]:
        sure = 1.0 if pair.p_chosen is None else pair.p_chosen
        return pair.chosen, pair.rejected, pair.prompt, pair.subset, pair.pair_id, sure

    ordered = sorted(pairs, key=order)
    kept: dict[tuple[str, str, str], Pair] = {}
    for pair in ordered:
        kept.setdefault((pair.prompt_id, pair.chosen, pair.rejected), pair)
    return list(kept.values())


def collect_demonstrations(path: Path, limit: int) -> list[Demonstration]:
    """Read demonstrations; blank and double ones are still among them.

    Raises:
        DataError: a file or row cannot be read.
    """
    return [
        demonstration(row)
        for part in parts_of(path, limit, "prepare.sft_path")
        for row in part.rows
    ]


def collect_prompts(path: Path, limit: int) -> list[str]:
    """Read prompts; blank and double ones are still among them.

    Raises:
        DataError: a file or row cannot be read.
    """
    return [
        prompt_of(row)
        for part in parts_of(path, limit, "prepare.unlabeled_path")
        for row in part.rows
    ]
