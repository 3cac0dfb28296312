"""Progress of long work on stderr: a bar in a terminal, elsewhere a line at least every 30 s.

Loops may be nested. In a terminal every loop that has taken a second has a bar, with the rate and
the time left; it fits the terminal. Elsewhere a thread prints the outermost and the innermost loop,
so that a line comes even if a single step takes minutes. Without a loop the line says how long the
command has been running. Of the processes of torchrun only the first one shows progress.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

from rich.cells import cell_len, set_cell_size

from westofn.plain_text import visible

Item = TypeVar("Item")

INTERVAL = 30.0
"""Seconds between two lines, at most, where there is no terminal."""
BEAT = 1.0
"""Seconds between two looks at the clock where there is no terminal."""
REDRAW = 0.25
"""Seconds between two drawings of the bars in a terminal."""
SHOWN_AFTER = 1.0
"""Seconds after which work has a bar in a terminal."""
BAR = (8, 30)
"""Smallest and largest width of a bar, columns."""
_ONE_LINE = {ord("\n"): "\\n", ord("\t"): "\\t"}

clock = time.monotonic


@dataclass
class Task:
    """Work in progress.

    Attributes:
        name: What stands before the numbers.
        total: Number of units; None if it is not known.
        unit: Plural name of what is counted; empty for work that counts nothing.
        started: When it began, by `clock`.
        done: Units that are finished.
        skipped: Those of them that an earlier run finished; the rate leaves them out.
        note: Further facts, such as measures.
        is_told: Whether a line or a bar has shown it.
    """

    name: str
    total: int | None
    unit: str
    started: float
    done: int = 0
    skipped: int = 0
    note: str = ""
    is_told: bool = False

    def advance(self, count: int = 1) -> None:
        """Count finished units."""
        self.done += count

    def skip(self, count: int) -> None:
        """Count units that an earlier run finished."""
        self.done += count
        self.skipped += count

    def say(self, measures: Mapping[str, float]) -> None:
        """Show measures beside the bar, or at once in a line."""
        self.note = ", ".join(f"{key} {value:.4g}" for key, value in measures.items())
        _display.say(self)

    def facts(self, now: float) -> list[str]:
        """Count, rate, time left and note, those that are known, most important first."""
        elapsed = now - self.started
        if not self.unit:
            return [f"running for {duration(elapsed)}"]
        total = "" if self.total is None else f"/{self.total:,}"
        facts = [f"{self.done:,}{total} {self.unit}"]
        fresh = self.done - self.skipped
        if fresh > 0 and elapsed > 0:
            rate = fresh / elapsed
            facts.append(f"{_rate(rate)}/s")
            if self.total is not None and self.total > self.done:
                facts.append(f"{duration((self.total - self.done) / rate)} left")
        return [*facts, *([self.note] if self.note else [])]

    def line(self, now: float) -> str:
        """The line where there is no terminal.

        >>> Task("sft", 10, "steps", 0.0, done=4, note="loss 0.25").line(2.0)
        'sft: 4/10 steps, 2.0/s, 0:03 left, loss 0.25'
        >>> Task("sft", None, "", 0.0).line(3661.0)
        'sft: running for 1:01:01'
        """
        return f"{self.name}: {', '.join(self.facts(now))}"

    def end_line(self, now: float) -> str:
        """The line of finished work."""
        return f"{self.name}: {self.done:,} {self.unit} in {duration(now - self.started)}"


def duration(seconds: float) -> str:
    """Return a time as minutes and seconds, from an hour on with hours.

    >>> duration(52.4), duration(3725)
    ('0:52', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def bar_line(task: Task, now: float, width: int, *, ascii_only: bool = False) -> str:
    """Return the line of a terminal; facts that have no room are left out, the last ones first.

    A name takes half of the line at most.

    Args:
        task: What is shown.
        now: The time, by `clock`.
        width: Columns that the line may take.
        ascii_only: Whether the terminal has no characters to draw a bar with.
    """
    name, facts = task.name, task.facts(now)
    if cell_len(name) > width // 2:
        name = set_cell_size(name, width // 2 - 2) + ".."
    least, most = BAR if task.total else (0, 0)
    while len(facts) > 1 and cell_len(name) + len("  ".join(facts)) + least + 4 > width:
        facts.pop()
    text = "  ".join(facts)
    room = min(most, width - cell_len(name) - len(text) - 4)
    parts = [name, text]
    if task.total and room >= least:
        full = room * min(task.done, task.total) // task.total
        mark, blank = "#-" if ascii_only else "━─"
        parts.insert(1, mark * full + blank * (room - full))
    line = "  ".join(parts)
    return line if cell_len(line) <= width else set_cell_size(line, width)


class _Aside:
    """A stream whose text stands above the bars of the same terminal."""

    def __init__(self, stream: TextIO, display: _Display) -> None:
        self.stream, self.display = stream, display

    def write(self, text: str) -> int:
        with self.display.lock:
            self.display.erase()
            self.display.in_line = not text.endswith("\n")
            return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Display:
    """What this process shows of its tasks, which are nested."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.stream: TextIO | None = None
        self.is_terminal = False
        self.asides: dict[str, _Aside] = {}
        self.thread: threading.Thread | None = None
        self.stopped = threading.Event()
        self.told = 0.0  # when the last line was printed
        self.drawn = 0  # lines of bars that stand in the terminal
        self.in_line = False  # whether others have begun a line and not ended it
        self.lock = threading.RLock()
        self.is_silent = False

    def push(self, task: Task) -> None:
        """Show a task from now on."""
        with self.lock:
            self.tasks.append(task)
            if len(self.tasks) == 1:
                self._start()

    def pop(self, task: Task, *, is_done: bool) -> None:
        """Show a task and those in it no longer; if it is done and was shown, print a last line."""
        now = clock()
        with self.lock:
            if not any(each is task for each in self.tasks):
                return
            if is_done and task.is_told and task is next(each for each in self.tasks if each.unit):
                self._print(task.end_line(now))
            self.tasks = self.tasks[: next(i for i, t in enumerate(self.tasks) if t is task)]
            if self.tasks:
                return
        self._stop()

    def say(self, task: Task) -> None:
        """Print a task's line where there is no terminal."""
        with self.lock:
            if not self.is_terminal and any(each is task for each in self.tasks):
                self._print(task.line(clock()))

    def tick(self) -> None:
        """Draw the bars again; without a terminal print a line if the last one is too long ago."""
        with self.lock:
            now = clock()
            counted = [task for task in self.tasks if task.unit]
            if self.is_terminal:
                shown = [t for t in counted or self.tasks if now - t.started >= SHOWN_AFTER]
                self._draw(shown, now)
            elif self.tasks and now - self.told >= INTERVAL:
                shown = [counted[0], *counted[1:][-1:]] if counted else self.tasks[:1]
                self._print("; ".join(task.line(now) for task in shown))
            else:
                return
            for task in shown:
                task.is_told = bool(task.unit)

    def erase(self) -> None:
        """Take the bars off the terminal, so that something else can be printed."""
        if self.drawn and self.stream:
            self.stream.write("\r\x1b[2K" + "\x1b[1A\x1b[2K" * (self.drawn - 1))
            self.stream.flush()
            self.drawn = 0

    def _draw(self, tasks: Sequence[Task], now: float) -> None:
        if self.stream is None or self.in_line:
            return
        width = _columns(self.stream) - 1  # a full line would wrap in some terminals
        ascii_only = not (self.stream.encoding or "").lower().startswith("utf")
        lines = [bar_line(task, now, width, ascii_only=ascii_only) for task in tasks]
        with suppress(OSError, ValueError):  # nobody looks at it; that is not worth the work
            self.erase()
            self.stream.write("\n".join(lines))
            self.stream.flush()
            self.drawn = len(lines)

    def _print(self, line: str) -> None:
        self.told = clock()
        if self.stream is not None:
            with suppress(OSError, ValueError):
                self.erase()
                self.stream.write(f"{line}\n")
                self.stream.flush()

    def _start(self) -> None:
        self.stream, self.told = sys.stderr, clock()  # None if it was closed
        if self.stream is None:
            return
        self.is_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        if self.is_terminal:
            streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
            for name, stream in streams.items():
                if stream is not None and stream.isatty():
                    self.asides[name] = _Aside(stream, self)
                    setattr(sys, name, self.asides[name])
        self.stopped = threading.Event()
        beat = REDRAW if self.is_terminal else BEAT
        self.thread = threading.Thread(target=self._beat, args=(self.stopped, beat), daemon=True)
        self.thread.start()

    def _stop(self) -> None:
        self.stopped.set()
        if self.thread is not None:
            self.thread.join()
        with self.lock:
            for name, aside in self.asides.items():
                if getattr(sys, name) is aside:
                    setattr(sys, name, aside.stream)
            with suppress(OSError, ValueError):
                self.erase()
            self.asides, self.thread, self.stream, self.is_terminal = {}, None, None, False
            self.in_line = False

    def _beat(self, stopped: threading.Event, seconds: float) -> None:
        while not stopped.wait(seconds):
            self.tick()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


_display = _Display()


@contextmanager
def working(name: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
    """Show work in progress while the block runs.

    Args:
        name: What stands before the numbers; control characters of file names are escaped.
        total: Number of units; None if it is not known.
        unit: Plural name of what `advance` counts; empty if nothing is counted.
    """
    task = Task(visible(name).translate(_ONE_LINE), total, unit, clock())
    is_other = os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK") != "0"
    if is_other or _display.is_silent:
        yield task
        return
    _display.push(task)
    is_done = False
    try:
        yield task
        is_done = True
    finally:
        _display.pop(task, is_done=is_done)


@contextmanager
def silent() -> Iterator[None]:
    """Show no progress in the block: a server works all the time, for others."""
    earlier, _display.is_silent = _display.is_silent, True
    try:
        yield
    finally:
        _display.is_silent = earlier


def track(items: Iterable[Item], name: str, unit: str = "items") -> Iterator[Item]:
    """Yield the items and show the progress."""
    with working(name, len(items) if isinstance(items, Sized) else None, unit) as task:
        for item in items:
            yield item
            task.advance()
