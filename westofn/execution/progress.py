"""One progress bar for everything that takes longer than a moment: count, rate, time left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import TypeVar

from rich.console import Console
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

Item = TypeVar("Item")


class _Rate(RichColumn):
    """Items a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self.unit}/s" if speed else "", style="progress.data.speed")


def bar(unit: str) -> Progress:
    """A rich progress bar on stderr; silent where stderr is no terminal."""
    console = Console(stderr=True)
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
    """Yield the items and show how far it is."""
    total = len(items) if isinstance(items, Sized) else None
    with bar(unit) as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


class Steps:
    """Progress of a training run: a bar in a terminal, else a line whenever there is news."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self.bar = bar("steps")
        self.started = time.monotonic()

    def start(self, done: int = 0) -> None:
        """Begin, at a later step where an earlier run was taken up."""
        self.done = self.first = done
        self.started = time.monotonic()
        self.bar.start()
        self.task = self.bar.add_task(self.name, total=self.total, completed=done)

    def advance(self) -> None:
        """One step is done."""
        self.done += 1
        self.bar.advance(self.task)

    def say(self, news: Mapping[str, float]) -> None:
        """Show numbers beside the bar, or in a line with rate and time left."""
        text = "  ".join(f"{key} {value:.4f}" for key, value in news.items())
        if not self.bar.disable:
            self.bar.update(self.task, description=f"{self.name}  {text}")
            return
        rate = (self.done - self.first) / max(time.monotonic() - self.started, 1e-9)
        left = (self.total - self.done) / rate if rate else 0.0
        where = f"step {self.done}/{self.total}, {rate:.1f} steps/s, {left:.0f} s left"
        line = f"{self.name}: {where}  {text}"
        self.bar.console.print(line, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """The run is over, or failed."""
        self.bar.stop()
