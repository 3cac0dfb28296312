"""Counts of faults by stage and kind, as JSON and as the table of a page."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.page import replace_between
from benchmarks.soak.faults import KINDS
from benchmarks.soak.points import Point

SHOWN_FAILURES = 20


@dataclass
class Record:
    """What was tried.

    Attributes:
        seed: Which points were drawn.
        possible: Stage -> number of all its points.
        counts: Stage, kind -> number of faults tried.
        failures: One line for each broken promise.
    """

    seed: int
    possible: dict[str, int]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """Number of faults."""
        return self.counts.total()

    def add(self, point: Point, wrong: str | None) -> None:
        """Count a point, and keep what was wrong."""
        self.counts[point.stage, point.kind] += 1
        if wrong:
            place = "beside earlier outputs" if point.earlier else "without earlier outputs"
            at = f"{point.stage} {place}, {point.kind} at call {point.target}"
            self.failures.append(f"{at}: {wrong}")
            print(self.failures[-1], flush=True)

    def as_json(self) -> str:
        """Return the record as JSON, a stage a line."""
        stages = {
            name: {"possible": self.possible[name], **self._of(name)} for name in self.possible
        }
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(stages[name])}" for name in stages)
        failures = json.dumps(self.failures[:SHOWN_FAILURES], ensure_ascii=False, indent=4)
        return (
            f'{{\n  "seed": {self.seed},\n  "tried": {self.tried},\n'
            f'  "failed": {len(self.failures)},\n  "stages": {{\n{lines}\n  }},\n'
            f'  "failures": {failures}\n}}\n'
        )

    def table(self) -> str:
        """Return a Markdown table: stages, kinds, faults tried."""
        head = ["stage", "possible", *KINDS]
        rows = [head, ["---", *["---:"] * (len(head) - 1)]]
        for name, possible in self.possible.items():
            of = self._of(name)
            rows.append([f"`{name}`", str(possible), *(str(of[kind]) for kind in KINDS)])
        totals = [sum(self._of(name)[kind] for name in self.possible) for kind in KINDS]
        rows.append(["all", str(sum(self.possible.values())), *map(str, totals)])
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def _of(self, name: str) -> dict[str, int]:
        return {kind: self.counts[name, kind] for kind in KINDS}


def write_page(record: Record, page: Path) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: The page has no marks.
    """
    broken = f"{record.tried} faults, {len(record.failures)} broken promises (seed {record.seed})."
    replace_between(page, "soak", f"{broken}\n\n{record.table()}")
