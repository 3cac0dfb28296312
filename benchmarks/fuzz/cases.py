"""One case: a changed input, a reader, and bounds of time and memory."""

from __future__ import annotations

import random
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.fuzz.mutate import as_json, corrupted, damaged
from westofn.errors import LONGEST, WestofnError

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 2.0
"""Processor time that a case may take."""
MEBIBYTES = 256
"""What the process may need beyond what it needs after reading every seed once."""
ROUNDS = (0, 1, 1, 1, 2, 4)
"""Changes of a value; bytes are changed in a quarter of the cases, or where no value was."""


@dataclass(frozen=True)
class Target:
    """What a reader is fed, and how.

    Attributes:
        seeds: Valid inputs: values that `dump` writes, or bytes.
        read: Reads bytes as the program would.
        dump: Bytes of a value.
        names: Further names of keys.
    """

    seeds: Sequence[object]
    read: Callable[[bytes], object]
    dump: Callable[[object], bytes] = as_json
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Reader:
    """A reader of the program.

    Attributes:
        name: Its name in the table.
        module: Where its code is.
        cases: Share of the cases, in a million or so, by what one costs.
        make: Returns its target; the argument is an empty folder for files.
    """

    name: str
    module: str
    cases: int
    make: Callable[[Path], Target]


@dataclass
class Tally:
    """What became of the cases of a reader.

    Attributes:
        counts: `read`, `refused` and `fault`.
        faults: Kind of fault -> number of cases, and the first of them.
        slowest: Longest processor time of a case, seconds.
        grown: Most memory beyond that after the seeds, MiB.
        seconds: Processor time of the process.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, tuple[int, int]] = field(default_factory=dict)
    slowest: float = 0.0
    grown: float = 0.0
    seconds: float = 0.0

    def add_fault(self, kind: str, case: int) -> None:
        """Count a case that ended otherwise than it may."""
        self.counts["fault"] += 1
        times, first = self.faults.get(kind, (0, case))
        self.faults[kind] = times + 1, first


class OutOfTimeError(BaseException):
    """A case takes too long; no `except Exception` takes it."""


class Cases:
    """The cases of a reader, each of which depends on the seed and its number alone.

    Args:
        reader: The reader.
        folder: Empty folder for its files.
        seed: Which inputs are drawn.
        new_output: Returns what was written to stderr since the last call.

    Raises:
        AssertionError: A seed is refused, so the reader would be fed nothing that it reads.
    """

    def __init__(
        self, reader: Reader, folder: Path, seed: int, new_output: Callable[[], str] = str
    ) -> None:
        self.reader, self._seed, self._new_output = reader, seed, new_output
        self.target = reader.make(folder)
        for value in self.target.seeds:
            fault, _ = self._end_of(value if isinstance(value, bytes) else self.target.dump(value))
            assert fault == "read", f"{reader.name}: seed {str(value)[:200]}: {fault}"
        self._start = _peak()

    def content(self, number: int) -> bytes:
        """The input of a case."""
        rng = random.Random(f"{self._seed}/{self.reader.name}/{number}")
        seed = rng.choice(self.target.seeds)
        if isinstance(seed, bytes):
            return corrupted(seed, rng)
        value, rounds = seed, rng.choice(ROUNDS)
        for _ in range(rounds):
            value = damaged(value, rng, self.target.names)
        content = self.target.dump(value)
        return corrupted(content, rng) if not rounds or rng.random() < 0.25 else content

    def run(self, numbers: Sequence[int], tally: Tally) -> Iterator[int]:
        """Run cases and count them; yields the number of each before it runs."""
        for number in numbers:
            yield number
            before = _peak()
            content = self.content(number)
            self._start += _peak() - before  # what making the input takes is not the reader's
            end, seconds = self._end_of(content)
            tally.slowest = max(tally.slowest, seconds)
            grown = (_peak() - self._start) / 2**20
            tally.grown = max(tally.grown, grown)
            if grown > MEBIBYTES:
                end, self._start = "memory grows beyond the bound", _peak()
            if end in ("read", "refused"):
                tally.counts[end] += 1
            else:
                tally.add_fault(end, number)

    def _end_of(self, content: bytes) -> tuple[str, float]:
        """How a case ends, and its processor time."""
        started = time.process_time()
        try:
            with _alarm():
                self.target.read(content)
            end = "read"
        except WestofnError as error:
            end = _fault_of_line(str(error)) or "refused"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            end = _kind(error)
        written = self._new_output()
        if any(word in written for word in ("Traceback", "panicked")):
            end = f"writes {' '.join(written.split())[:200]}"
        return end, time.process_time() - started


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> NoReturn:
        raise OutOfTimeError(f"more than {SECONDS:g} s")

    earlier: Any = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)


def _fault_of_line(line: str) -> str:
    """What is wrong with the line of an expected error; empty if nothing is."""
    if len(line.splitlines()) != 1:
        return f"an error of {len(line.splitlines())} lines: {line[:150]!r}"
    if len(line) > LONGEST:
        return f"an error of more than {LONGEST} characters: {line[:150]!r}"
    return ""


def _kind(error: BaseException) -> str:
    """The type of an error and the innermost line of this project that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if frame.filename.startswith(f"{ROOT}/westofn")]
    place = places[-1] if places else frames[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno} in {place.name}"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
