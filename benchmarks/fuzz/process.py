"""A process of its own for every reader, which may die or hang without ending the others."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from benchmarks.fuzz.cases import Cases, Reader, Tally

PATIENCE = 120.0
"""Seconds without a finished case, or before the first one, after which a process hangs."""
ADDRESSES = 8 * 2**30
"""Bytes of addresses that a process may take beyond those of its modules."""
OFTEN = 500
"""Cases between two notes of the counts."""
MEMORY = Path("/dev/shm")


def memory_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder, in memory where there is such a place: cases are files."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="fuzz-", dir=place)


def run_reader(reader: Reader, cases: int, seed: int) -> Tally:
    """Run the cases of a reader in a process, and in another one behind a case that ends it.

    A case is blamed where two processes end or hang with it: others end one for their own reasons.
    """
    tally, start, lost = Tally(), 0, dict[int, str]()
    suspect: int | None = None
    with memory_folder() as name:
        notes = Path(name) / "notes"
        while start < cases:
            ended = _watched(_command(reader, notes, start, cases, seed, lost), notes, name)
            noted = json.loads(notes.read_bytes()) if notes.exists() else None
            if noted:
                _add(tally, noted["tally"])
                start = noted["next"]
                notes.unlink()
            if ended is None:
                assert start == cases
                continue
            current = Path(name) / "current"
            case = int(current.read_text()) if current.exists() else -1
            if case == suspect and case < 0:
                raise RuntimeError(f"{reader.name} does not begin: {ended}")
            if case == suspect:
                lost[case] = ended
            suspect = case
            current.unlink(missing_ok=True)
    for case, fault in lost.items():
        tally.add_fault(fault, case)
    return tally


def _command(
    reader: Reader, notes: Path, start: int, cases: int, seed: int, lost: dict[int, str]
) -> list[str]:
    job = {"start": start, "cases": cases, "seed": seed, "skipped": sorted(lost)}
    arguments = ["--reader", reader.name, "--worker", json.dumps(job), "--out", str(notes)]
    return [sys.executable, "-m", "benchmarks.fuzz", *arguments]


def _watched(command: list[str], notes: Path, folder: str) -> str | None:
    """Run a process; how it ended if it did not do its work."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    errors = Path(folder) / "stderr"
    current = notes.with_name("current")
    with errors.open("wb") as stderr:
        process = subprocess.Popen(command, env=environment, stdout=stderr, stderr=stderr)
    seen, since = "", time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now = current.read_text() if current.exists() else ""
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            process.kill()
            process.wait()
            return f"hangs for more than {PATIENCE:g} s"
    if process.returncode == 0:
        return None
    tail = errors.read_text("utf-8", "replace")[-2000:]
    if process.returncode == 1:  # what a reader raises is counted, so this is no reader
        raise RuntimeError(f"{' '.join(command)} fails:\n{tail}")
    return f"the process ends with {process.returncode}: {' '.join(tail[-200:].split())}"


def _add(tally: Tally, noted: dict[str, object]) -> None:
    """Add what a process counted."""
    part = Tally(**noted)  # type: ignore[arg-type]
    tally.counts += Counter(part.counts)
    for kind, (times, first) in part.faults.items():
        before, earliest = tally.faults.get(kind, (0, first))
        tally.faults[kind] = before + times, min(earliest, first)
    tally.slowest = max(tally.slowest, part.slowest)
    tally.grown = max(tally.grown, part.grown)
    tally.seconds += part.seconds


def work(reader: Reader, job: dict[str, object], notes: Path) -> None:
    """Run cases in this process and note the counts; stderr is a file."""
    warnings.simplefilter("error")
    start, cases, seed = int(str(job["start"])), int(str(job["cases"])), int(str(job["seed"]))
    skipped: list[int] = job["skipped"]  # type: ignore[assignment]
    tally = Tally()
    place, current = notes.with_name("files"), notes.with_name("current")
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as name, current.open("w") as told:
        cases_of = Cases(reader, Path(name), seed, _Written())
        _limit_addresses()
        numbers = [number for number in range(start, cases) if number not in skipped]
        for number in cases_of.run(numbers, tally):
            os.pwrite(told.fileno(), f"{number:09}".encode(), 0)
            if number % OFTEN == 0:
                _note(notes, tally, number)
    _note(notes, tally, cases)


def _note(notes: Path, tally: Tally, following: int) -> None:
    tally.seconds = time.process_time()
    text = json.dumps({"tally": tally.__dict__, "next": following})
    temporary = notes.with_name("notes.tmp")
    temporary.write_text(text)
    temporary.replace(notes)


class _Written:
    """What was written to stderr, which is a file, since the last call."""

    def __init__(self) -> None:
        self._end = 0

    def __call__(self) -> str:
        end = os.fstat(2).st_size
        if end == self._end:
            return ""
        with Path(f"/proc/self/fd/{2}").open("rb") as handle:
            handle.seek(self._end)
            text = handle.read()
        self._end = end
        return text.decode("utf-8", "replace")


def _limit_addresses() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    taken = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESSES, taken + ADDRESSES))
