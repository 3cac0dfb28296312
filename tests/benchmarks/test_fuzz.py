"""Every reader survives a sample of `make fuzz`, and the fuzz sees it where one would not."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz import cases
from benchmarks.fuzz.cases import Cases, Reader, Tally, Target
from benchmarks.fuzz.mutate import corrupted, damaged
from benchmarks.fuzz.process import _watched, run_reader
from benchmarks.fuzz.readers import READERS, shares
from benchmarks.fuzz.record import Record, write_page
from westofn.errors import DataError, WestofnError

VALID = (b"[1, 2, 3]", b'{"a": "b"}')
SAMPLE = 3_000
"""Cases of all readers; those that cost much have few."""


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tally]:
    found = {}
    for reader in READERS:
        drawn = Cases(reader, tmp_path_factory.mktemp("reader"), seed=7)
        found[reader.name] = Tally()
        for _ in drawn.run(range(shares(SAMPLE)[reader.name]), found[reader.name]):
            pass
    return found


def test_no_reader_ends_in_something_else_than_one_line(tallies: dict[str, Tally]) -> None:
    assert {name: tally.faults for name, tally in tallies.items() if tally.faults} == {}


def test_inputs_are_read_and_refused(tallies: dict[str, Tally]) -> None:
    ends = sum((tally.counts for tally in tallies.values()), Counter[str]())
    assert ends.total() >= SAMPLE * 0.99
    assert min(ends["read"], ends["refused"]) > SAMPLE / 5


def tally_of(read: Callable[[bytes], object], number: int = 20) -> Tally:
    """What becomes of cases of a reader of JSON lists."""
    reader = Reader("made", "made.py", 1, lambda _: Target([[1, 2, 3], {"a": "b"}], read))
    tally = Tally()
    for _ in Cases(reader, Path(), 0).run(range(number), tally):
        pass
    return tally


def _no_form(content: bytes) -> object:
    value = json.loads(content)
    return value[0] if isinstance(value, list) else value["a"]


def _endless(content: bytes) -> None:
    while content not in VALID:
        pass


class _LongError(WestofnError):
    def __str__(self) -> str:
        return "two\nlines"


def _two_lines(content: bytes) -> None:
    if content not in VALID:
        raise _LongError("")


@pytest.mark.parametrize(
    ("read", "seen"),
    [
        (_no_form, "JSONDecodeError at "),
        (_no_form, "KeyError at "),
        (_endless, "OutOfTimeError at "),
        (_two_lines, "an error of 2 lines"),
    ],
)
def test_a_fault_is_seen(
    read: Callable[[bytes], object], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "SECONDS", 0.05)
    tally = tally_of(read)
    assert any(fault.startswith(seen) for fault in tally.faults), tally.faults
    assert tally.counts["read"]


def test_memory_is_seen_in_the_case_that_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = [10**9]
    monkeypatch.setattr(cases, "_peak", lambda: peak[0])

    def read(content: bytes) -> None:
        peak[0] += 0 if content in VALID else 300 * 2**20

    tally = tally_of(read)
    assert tally.counts["read"]
    assert tally.faults["memory grows beyond the bound"][0] == tally.counts["fault"] > 10


def test_what_is_refused_in_one_line_is_no_fault() -> None:
    def read(content: bytes) -> None:
        if content not in VALID:
            raise DataError("x: is wrong")

    tally = tally_of(read)
    assert tally.counts["refused"] > 10
    assert tally.faults == {}


def test_a_process_that_dies_or_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(code: str) -> str | None:
        return _watched([sys.executable, "-c", code], tmp_path / "notes", str(tmp_path))

    assert ended("pass") is None
    assert "ends with -6" in (ended("import os; os.abort()") or "")
    with pytest.raises(RuntimeError, match="fails:"):
        ended("raise ValueError")
    monkeypatch.setattr("benchmarks.fuzz.process.PATIENCE", 0.5)
    assert "hangs" in (ended("import time; time.sleep(60)") or "")


@pytest.mark.parametrize(("ends", "blamed"), [(1, []), (2, [3])])
def test_a_case_is_blamed_where_two_processes_end_with_it(
    ends: int, blamed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def command(
        _: Reader, notes: Path, start: int, size: int, seed: int, lost: object
    ) -> list[str]:
        started.append(start)
        counted = {"tally": {"counts": {"read": 2}}, "next": size if len(started) > ends else 2}
        dies = "import os; os.abort()" if len(started) <= ends else ""
        files = {notes: json.dumps(counted), notes.with_name("current"): "000000003"}
        writes = [f"open({str(path)!r}, 'w').write({text!r})" for path, text in files.items()]
        return [sys.executable, "-c", "; ".join([*writes, dies])]

    monkeypatch.setattr("benchmarks.fuzz.process._command", command)
    tally = run_reader(READERS[0], 9, 0)
    assert started == [0, *[2] * ends]
    assert tally.counts["read"] == 2 * (ends + 1)
    assert [first for _, first in tally.faults.values()] == blamed


def test_a_case_is_drawn_by_seed_and_number_alone(tmp_path: Path) -> None:
    reader = next(reader for reader in READERS if reader.name == "runtime.toml")
    first, again, other = (Cases(reader, tmp_path, seed) for seed in (1, 1, 2))
    contents = [first.content(number) for number in range(50)]
    assert contents == [again.content(number) for number in reversed(range(50))][::-1]
    assert contents != [other.content(number) for number in range(50)]


def test_mutations_leave_the_seed_and_reach_every_depth() -> None:
    seed = {"a": [1, {"b": "c"}], "d": None}
    before, rng = json.dumps(seed), random.Random(0)
    changed = [damaged(seed, rng, ["new"]) for _ in range(500)]
    assert json.dumps(seed) == before
    assert any(isinstance(value, dict) and "new" in value for value in changed)
    inner = [value["a"][1] for value in changed if isinstance(value, dict) and _has_inner(value)]
    assert any(value != {"b": "c"} for value in inner)
    assert len({corrupted(before.encode(), rng) for _ in range(100)}) > 60


def _has_inner(value: dict[str, object]) -> bool:
    return isinstance(value.get("a"), list) and len(value["a"]) > 1  # type: ignore[arg-type]


def test_the_table_has_a_row_a_reader_and_the_sums(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- fuzz: start -->\nold\n<!-- fuzz: end -->\n", "utf-8")
    tally = Tally(Counter(read=3, refused=1000))
    tally.add_fault("KeyError at x.py:1 in f", 17)
    record = Record(0, {READERS[0]: tally, READERS[1]: Tally(Counter(read=1))})
    write_page(record, page)
    text = page.read_text("utf-8")
    assert "1,005 cases, 1 faults (seed 0)." in text
    assert f"| {READERS[0].name} | `westofn/{READERS[0].module}` | 1,004 | 3 | 1,000 | 1 |" in text
    assert "| all |  | 1,005 | 4 | 1,000 | 1 |" in text
    assert "old" not in text
    kept = json.loads(record.as_json())
    assert kept["readers"][READERS[0].name]["refused"] == 1000
    (tmp_path / "fuzz.json").write_text(record.as_json(), "utf-8")
    sizes = {READERS[0].name: 1004, READERS[1].name: 1, READERS[2].name: 1}
    again = Record.kept(tmp_path / "fuzz.json", 0, sizes)
    assert again.tallies == {READERS[1]: Tally(Counter(read=1, refused=0))}
    assert Record.kept(tmp_path / "fuzz.json", 1, sizes).tallies == {}
    assert kept["faults"] == [f"{READERS[0].name}, case 17, 1 times: KeyError at x.py:1 in f"]


def test_the_code_of_every_reader_is_there() -> None:
    assert len(READERS) > 40
    for reader in READERS:
        assert (cases.ROOT / "westofn" / reader.module).is_file(), reader.module
