"""Progress bars of long tasks: count, rate, time left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import ProgressColumn as RichColumn
from rich.text import Text

from westofn.terminal import Terminal

Item = TypeVar("Item")


class _Rate(RichColumn):
    """Column with items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self.unit}/s" if speed else "", style="progress.data.speed")


def bar(unit: str) -> Progress:
    """Create a progress bar on stderr; it is disabled if stderr is not a terminal."""
    console = Terminal(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=False,
    )


def track(items: Iterable[Item], description: str, unit: str = "items") -> Iterator[Item]:
    """Yield the items and show the progress."""
    total = len(items) if isinstance(items, Sized) else None
    with bar(unit) as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


class Steps:
    """Progress of a training run: a bar in a terminal, else one line per report."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self.bar = bar("steps")
        self.started = time.monotonic()

    def start(self, done: int = 0) -> None:
        """Start at step `done`, which is positive if a run is resumed."""
        self.done = self.first = done
        self.started = time.monotonic()
        self.bar.start()
        self.task = self.bar.add_task(self.name, total=self.total, completed=done)

    def advance(self) -> None:
        """Count one finished step."""
        self.done += 1
        self.bar.advance(self.task)

    def say(self, metrics: Mapping[str, float]) -> None:
        """Show metrics next to the bar, or in a line with rate and time left."""
        text = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items())
        if not self.bar.disable:
            self.bar.update(self.task, description=f"{self.name}  {text}")
            return
        rate = (self.done - self.first) / max(time.monotonic() - self.started, 1e-9)
        seconds_left = (self.total - self.done) / rate if rate else 0.0
        position = f"step {self.done}/{self.total}, {rate:.1f} steps/s, {seconds_left:.0f} s left"
        line = f"{self.name}: {position}  {text}"
        self.bar.console.print(line, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Stop the bar."""
        self.bar.stop()
