"""Convert raw rows to canonical pairs, demonstrations and prompts, and count every row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from westofn.artifacts.table import did_you_mean, show
from westofn.core.dialogue import to_messages
from westofn.errors import DataError
from westofn.sources.column_settings import BadRows
from westofn.sources.columns import Columns
from westofn.sources.formats.demonstrations import Demonstration, demonstration, prompt_of
from westofn.sources.formats.mapped import Mapped
from westofn.sources.formats.recognise import HEAD, recognise
from westofn.sources.formats.rows import (
    EMPTY_PROMPT,
    EMPTY_RESPONSE,
    EMPTY_TURN,
    IDENTICAL,
    MERGED,
    SIDES_DIFFER,
    TIE,
    Pair,
)
from westofn.sources.formats.turns import dialogue_in
from westofn.sources.json_lines import json_in
from westofn.sources.known_sets import WARNINGS
from westofn.sources.reading import Row, files_of, folder_of, rows_of

OTHER_SUBSET = "dropped_other_subset"
DUPLICATE = "dropped_duplicate_pair"
BAD_ROW = "dropped_bad_row"
CONTRADICTING = "contradicting_pairs"
_REASONS = (
    OTHER_SUBSET,
    EMPTY_PROMPT,
    EMPTY_RESPONSE,
    EMPTY_TURN,
    IDENTICAL,
    TIE,
    SIDES_DIFFER,
    DUPLICATE,
)
"""Reasons that `counts.json` names even if they are 0."""
_SHOWN_FAULTS = 3


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
class Reading:
    """How rows are read.

    Attributes:
        source: value of `prepare.source`, see `recognise`.
        columns: the mapping of columns; None: the mapping of each file is recognised.
        subsets: subsets to keep; empty: all.
        limit: largest number of rows of these subsets to read from each part; 0: all.
        seed: seed of the random choices among rated responses.
        bad_rows: whether a row that cannot be read is an error, or is dropped and counted.
        bad_rows_limit: largest share of rows that may be dropped as bad.
    """

    source: str = "files"
    columns: Columns | None = None
    subsets: Sequence[str] = ()
    limit: int = 0
    seed: int = 0
    bad_rows: BadRows = "refuse"
    bad_rows_limit: float = 0.1


@dataclass(frozen=True)
class Collected:
    """Pairs collected from the rows of a source.

    Attributes:
        pairs: distinct pairs, in an order that does not depend on the order of rows.
        counts: row counts; rows_in = rows_out + all dropped_* + merged_with_another_row.
        formats: names of the forms or known data sets of the files.
        mappings: the mapping of each part, in the order of the parts.
        unread: columns that no mapping reads, sorted.
        warnings: one line for each thing that a person should check.
    """

    pairs: list[Pair]
    counts: dict[str, int]
    formats: tuple[str, ...]
    mappings: tuple[Columns, ...] = ()
    unread: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def parts_of(path: Path, limit: int, key: str, *, keep_faulty: bool = False) -> Iterator[Part]:
    """Yield the files at a path; the name of a subfolder is the subset of its files.

    Args:
        path: a file or folder.
        limit: largest number of rows to read from each file; 0: all.
        key: name of the parameter in error messages.
        keep_faulty: see `rows_of`.
    """
    for file in files_of(path, key):
        yield Part(folder_of(file, path), rows_of(file, limit, keep_faulty=keep_faulty))


def collect_pairs(parts: Iterable[Part], reading: Reading, where: Path | str) -> Collected:
    """Read preference pairs; rows without a usable pair are dropped and counted.

    Args:
        parts: files or splits; the first rows of each determine its form.
        reading: how rows are read.
        where: name of the data in error messages.

    Raises:
        DataError: a row has no known form or cannot be read, a subset does not exist, or no pair
            is left.
    """
    collector = _Collector(reading)
    for part in parts:
        try:
            collector.add(part)
        finally:
            if isinstance(part.rows, Generator):
                part.rows.close()  # the file of a refused row
    _check_subsets(reading.subsets, collector.subsets_seen, where)
    return collector.collected(where)


class _Collector:
    """Pairs and counts of the parts so far."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.pairs: list[Pair] = []
        self.counts: Counter[str] = Counter(rows_in=0)
        self.subsets_seen: set[str] = set()
        self.formats: set[str] = set()
        self.mappings: list[Columns] = []
        self.unread: set[str] = set()
        self.faults: list[str] = []
        self._id_locations: dict[str, str] = {}
        self._ids_repeat = False

    def add(self, part: Part) -> None:
        """Read the rows of a part."""
        head = list(islice(part.rows, HEAD))
        if not head:
            return
        reading = self.reading
        mapped = recognise(head, reading.source, reading.columns)
        self.formats.add(mapped.name)
        self.mappings.append(mapped.columns)
        rows = self._limited(chain(head, part.rows), mapped, part.subset)
        rows = self._noting_unread(rows, mapped.columns.keys | mapped.also_read)
        for row, row_subset, result in mapped.outcomes(rows, reading.seed):
            self.counts["rows_in"] += 1
            subset = row_subset or part.subset
            if isinstance(result, DataError):
                self._add_fault(result)
                continue
            self.subsets_seen.add(subset)
            if reading.subsets and subset not in reading.subsets:
                self.counts[OTHER_SUBSET] += 1
            elif isinstance(result, str):
                self.counts[result] += 1
            else:
                self._check_id(result, row, mapped)
                pair = replace(result, subset=subset, label_source=mapped.label_source)
                self.pairs.append(pair)
        self.counts.update(mapped.counts)

    def _limited(self, rows: Iterable[Row], mapped: Mapped, part_subset: str) -> Iterator[Row]:
        """Yield rows until `limit` of them can be of a requested subset."""
        counted = 0
        for row in rows:
            yield row
            counted += self._is_requested(row, mapped, part_subset)
            if counted == self.reading.limit > 0:
                return

    def _is_requested(self, row: Row, mapped: Mapped, part_subset: str) -> bool:
        if not self.reading.subsets or not mapped.columns.subset:
            return True
        try:
            return (mapped.subset_of(row) or part_subset) in self.reading.subsets
        except DataError:
            return True  # which reading it will say

    def _noting_unread(self, rows: Iterable[Row], keys: Set[str]) -> Iterator[Row]:
        for row in rows:
            self.unread |= row.values.keys() - keys
            yield row

    def _add_fault(self, fault: DataError) -> None:
        if self.reading.bad_rows == "refuse":
            raise DataError(f"{fault}; or set prepare.bad_rows to drop")
        self.counts[BAD_ROW] += 1
        if len(self.faults) < _SHOWN_FAULTS:
            self.faults.append(str(fault))

    def _check_id(self, pair: Pair, row: Row, mapped: Mapped) -> None:
        if not pair.given_id:
            return
        earlier = self._id_locations.setdefault(pair.given_id, row.where)
        if earlier == row.where:
            return
        if mapped.is_given:
            raise DataError(
                f"{row.where}: id {show(pair.given_id)} is also at {earlier}; needs unique ids: "
                f"mend the ids, or set prepare.columns.id to none"
            )
        self._ids_repeat = True

    def collected(self, where: Path | str) -> Collected:
        """Return the distinct pairs of all parts.

        Raises:
            DataError: no pair is left, or too many rows are bad.
        """
        pairs = self.pairs
        if self._ids_repeat:  # the column numbers something else, such as the rows of a subset
            pairs = [replace(pair, given_id="") for pair in pairs]
        unique = _distinct(pairs)
        counts = self.counts
        counts[DUPLICATE] = len(pairs) - len(unique)
        rows_in = counts.pop("rows_in")
        dropped = dict.fromkeys(_REASONS, 0)
        dropped |= {name: count for name, count in counts.items() if name.startswith("dropped_")}
        assert rows_in == len(unique) + sum(dropped.values()) + counts[MERGED]
        bad = dropped.get(BAD_ROW, 0)
        if bad > self.reading.bad_rows_limit * rows_in:
            raise DataError(
                f"{where}: {bad} of {rows_in} rows cannot be read, more than the share "
                f"{self.reading.bad_rows_limit:g} of prepare.bad_rows_limit; the first: "
                f"{self.faults[0]}"
            )
        if not unique:
            reasons = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
            raise DataError(
                f"{where}: no usable pair in {rows_in} rows ({reasons}); needs rows with two "
                f"different, non-empty responses to one prompt"
            )
        contradicting = _contradicting(unique)
        others = {name: count for name, count in counts.items() if name not in dropped and count}
        others[CONTRADICTING] = len(contradicting)
        warnings = [*_fault_lines(bad, self.faults), *_contradiction_lines(contradicting)]
        warnings += [f"{counts[name]} {text}" for name, text in WARNINGS.items() if counts[name]]
        oddities = odd_texts(unique)
        warnings += [f"{count} pairs {_ODDITIES[name]}" for name, count in oddities.items()]
        return Collected(
            unique,
            {"rows_in": rows_in, **dropped, **others, **oddities, "rows_out": len(unique)},
            tuple(sorted(self.formats)),
            tuple(self.mappings),
            tuple(sorted(self.unread)),
            tuple(warnings),
        )


_ODDITIES = {
    "warned_template_tokens": "have a chat template's tokens such as <|im_start|>, [INST] or </s> "
    "spelt out in their texts: the model would read them twice",
    "warned_media": "have a place for an image, sound or video such as <image> in their texts, but "
    "only text is read",
    "warned_turns_in_text": "have a prompt with turns marked User: and Assistant:, which is read "
    "as one user turn: mark the turns as HH does, or give messages",
    "warned_missing_texts": "have a prompt or a side that is NaN, None or null as a text",
    "warned_indices": "have two bare numbers or labels as sides: are they indices of responses in "
    "other columns?",
    "warned_prompt_in_sides": "have the prompt within both sides: are these whole dialogues?",
    "warned_json_texts": "have a side that is a JSON object or list as a text",
}
_TEMPLATE = re.compile(
    r"<[|｜][^\s<>|｜]+[|｜]>|\[/?INST\]|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|<<SYS>>"
    r"|<extra_id_\d+>"
)
_MEDIA = re.compile(r"<(?:image|audio|video)(?:_?\d+)?>")
_MISSING = {"nan", "none", "null", "<na>", "n/a", "na", "#n/a", "#name?", "#ref!", "#value!"}
_ECHO = 2  # words of the longest prompt that may stand in both sides by chance
_INDEX = re.compile(r"\d{1,2}|[ab]|(?:response|answer|model|output)[ _]?(?:\d|[ab])", re.I)


def odd_texts(pairs: Iterable[Pair]) -> dict[str, int]:
    """Count the pairs whose texts look like the mistake of a program, by key of `_ODDITIES`."""
    counts: Counter[str] = Counter()
    for pair in pairs:
        sides = (pair.chosen, pair.rejected)
        counts["warned_template_tokens"] += any(
            _TEMPLATE.search(text) for text in (pair.prompt, *sides)
        )
        counts["warned_media"] += any(_MEDIA.search(text) for text in (pair.prompt, *sides))
        last = to_messages(pair.prompt)[-1].content
        counts["warned_turns_in_text"] += dialogue_in(last) is not None
        counts["warned_missing_texts"] += any(text.lower() in _MISSING for text in (*sides, last))
        counts["warned_indices"] += all(_INDEX.fullmatch(side) for side in sides)
        counts["warned_prompt_in_sides"] += len(pair.prompt.split()) > _ECHO and all(
            pair.prompt in side for side in sides
        )
        counts["warned_json_texts"] += any(json_in(side) is not None for side in sides)
    return {name: count for name, count in counts.items() if count}


def _contradicting(pairs: Sequence[Pair]) -> list[Pair]:
    """Return one pair of each two that prefer opposite responses to a prompt."""
    orders = {(pair.prompt_id, pair.chosen, pair.rejected) for pair in pairs}
    return [
        pair
        for pair in pairs
        if pair.chosen < pair.rejected and (pair.prompt_id, pair.rejected, pair.chosen) in orders
    ]


def _contradiction_lines(pairs: Sequence[Pair]) -> list[str]:
    if not pairs:
        return []
    return [
        f"{len(pairs)} pairs are there in both orders, the first for the prompt "
        f"{show(pairs[0].prompt)}: both are kept"
    ]


def _fault_lines(count: int, faults: Sequence[str]) -> list[str]:
    if not count:
        return []
    return [f"{count} bad rows are dropped; the first {len(faults)}:", *faults]


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
