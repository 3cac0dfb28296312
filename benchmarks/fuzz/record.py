"""Counts of cases by reader, as JSON and as the table of a page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzz.cases import MEBIBYTES, SECONDS, Reader, Tally
from benchmarks.fuzz.readers import READERS
from benchmarks.page import replace_between

SHOWN_FAULTS = 20


@dataclass
class Record:
    """What was tried.

    Attributes:
        seed: Which inputs were drawn.
        tallies: What became of the cases of each reader.
    """

    seed: int
    tallies: dict[Reader, Tally] = field(default_factory=dict)

    @classmethod
    def kept(cls, path: Path, seed: int, sizes: Mapping[str, int]) -> Record:
        """Read the readers of a file that have all of their cases of a seed, and no fault."""
        record = cls(seed)
        written = json.loads(path.read_bytes()) if path.exists() else {}
        rows = written["readers"] if written.get("seed") == seed else {}
        for reader in READERS:
            row = rows.get(reader.name, {})
            if not row or row["cases"] != sizes.get(reader.name) or row["fault"]:
                continue
            counts = Counter({end: row[end] for end in ("read", "refused")})
            bounds = {"slowest": row["slowest_ms"] / 1000, "grown": row["mebibytes"]}
            record.tallies[reader] = Tally(counts, **bounds)
        return record

    def add(self, reader: Reader, tally: Tally) -> None:
        """Add a reader's cases; readers stand in the order of `READERS`."""
        known = {**self.tallies, reader: tally}
        self.tallies = {each: known[each] for each in READERS if each in known}

    @property
    def tried(self) -> int:
        """Number of cases."""
        return sum(tally.counts.total() for tally in self.tallies.values())

    @property
    def faults(self) -> list[str]:
        """One line for each kind of fault of each reader."""
        return [
            f"{reader.name}, case {first}, {times} times: {kind}"
            for reader, tally in self.tallies.items()
            for kind, (times, first) in tally.faults.items()
        ]

    def as_json(self) -> str:
        """Return the record as JSON, a reader a line."""
        readers = {
            reader.name: self._counts(tally)
            | {"slowest_ms": round(1000 * tally.slowest), "mebibytes": round(tally.grown)}
            for reader, tally in self.tallies.items()
        }
        lines = ",\n".join(
            f"    {json.dumps(name, ensure_ascii=False)}: {json.dumps(counts)}"
            for name, counts in readers.items()
        )
        faults = json.dumps(self.faults[:SHOWN_FAULTS], ensure_ascii=False, indent=4)
        return (
            f'{{\n  "seed": {self.seed},\n  "tried": {self.tried},\n'
            f'  "failed": {self._total("fault")},\n  "readers": {{\n{lines}\n  }},\n'
            f'  "faults": {faults}\n}}\n'
        )

    def table(self) -> str:
        """Return a Markdown table: readers, and what became of their cases."""
        rows = [
            ["reader", "code", "cases", "read", "refused", "faults", "slowest, ms", "memory, MiB"],
            ["---", "---", *["---:"] * 6],
        ]
        for reader, tally in self.tallies.items():
            counts = self._counts(tally)
            bounds = (f"{1000 * tally.slowest:.0f}", f"{tally.grown:.0f}")
            place = f"`westofn/{reader.module}`"
            rows.append([reader.name, place, *(f"{n:,}" for n in counts.values()), *bounds])
        totals = [self.tried, *map(self._total, ("read", "refused", "fault"))]
        rows.append(["all", "", *(f"{total:,}" for total in totals), "", ""])
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def _total(self, end: str) -> int:
        return sum(tally.counts[end] for tally in self.tallies.values())

    @staticmethod
    def _counts(tally: Tally) -> dict[str, int]:
        ends = {end: tally.counts[end] for end in ("read", "refused", "fault")}
        return {"cases": tally.counts.total(), **ends}


def write_page(record: Record, page: Path) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: The page has no marks.
    """
    faults = sum(tally.counts["fault"] for tally in record.tallies.values())
    told = (
        f"{record.tried:,} cases, {faults:,} faults (seed {record.seed}). Bounds of a case: "
        f"{SECONDS:g} s of processor time, {MEBIBYTES} MiB beyond what the valid inputs take."
    )
    replace_between(page, "fuzz", f"{told}\n\n{record.table()}")
