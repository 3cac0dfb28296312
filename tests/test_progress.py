"""What long work shows: a bar in a terminal, elsewhere a line at least every half minute."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from tests.terminal import in_terminal
from westofn import progress
from westofn.progress import Task, bar_line, silent, track, working


class Clock:
    """A clock that tests move; the thread that looks at it is left out."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: int) -> None:
        """Let seconds pass; the display looks at the clock at each of them."""
        for _ in range(seconds):
            self.now += 1
            progress._display.tick()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    fake = Clock()
    monkeypatch.setattr(progress, "clock", fake)
    monkeypatch.setattr(progress, "BEAT", 3600)
    assert progress._display.tasks == []
    yield fake
    assert progress._display.tasks == []
    assert progress._display.thread is None


def test_short_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with working("stage"):
        assert list(track(range(3), "work")) == [0, 1, 2]
        assert list(track(iter("ab"), "work")) == ["a", "b"]
        clock.wait(29)
    assert capsys.readouterr() == ("", "")


def test_a_server_is_silent_however_long_it_works(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with silent(), working("scoring", 5, "rows") as task:
        clock.wait(90)
        task.advance(5)
    with working("score", 5, "rows"):
        clock.wait(30)
    assert capsys.readouterr().err.splitlines() == ["score: 0/5 rows", "score: 0 rows in 0:30"]


def test_a_line_comes_every_half_minute_even_in_one_long_step(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with working("sft") as stage:
        clock.wait(30)
        with working("policy", 10, "steps") as task:
            clock.wait(20)
            task.advance(4)
            clock.wait(20)
            with working("scoring", 200, "rows") as inner:
                inner.advance(50)
                clock.wait(70)
    assert stage.done == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "sft: running for 0:30",
        "policy: 4/10 steps, 0.13/s, 0:45 left",
        "policy: 4/10 steps, 0.067/s, 1:30 left; scoring: 50/200 rows, 2.5/s, 1:00 left",
        "policy: 4/10 steps, 0.044/s, 2:15 left; scoring: 50/200 rows, 1.0/s, 2:30 left",
        "policy: 4 steps in 1:50",
    ]


def test_measures_are_a_line_at_once_and_what_was_resumed_counts_for_no_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with working("sft", 10, "steps") as task:
        task.skip(4)
        task.say({"loss": 1.0})
        clock.now = 2.0
        task.advance()
        task.say({"loss": 0.25})
    assert capsys.readouterr().err.splitlines() == [
        "sft: 4/10 steps, loss 1",
        "sft: 5/10 steps, 0.5/s, 0:10 left, loss 0.25",
    ]


def test_work_that_fails_has_no_last_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with working("sft", 10, "steps"):
            clock.wait(30)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert capsys.readouterr().err == "sft: 0/10 steps\n"


@pytest.mark.usefixtures("clock")
def test_only_the_first_process_shows_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, lines in (("1", 0), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        with working("sft", 10, "steps") as task:
            task.say({"loss": 1.0})
        assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_bar_fits_and_keeps_what_matters_most(width: int) -> None:
    task = Task("reference_rm", 1000, "steps", 0.0, done=250, note="loss 0.5321, accuracy 0.75")
    line = bar_line(task, 100.0, width)
    assert len(line) <= width
    assert ("250/1,000 steps" in line) == (width > 20)
    assert ("5:00 left" in line) == (width >= 60)
    assert ("accuracy" in line) == (width >= 120)
    assert bar_line(task, 100.0, 60, ascii_only=True).isascii()


def test_a_loop_without_a_total_has_no_bar() -> None:
    task = Task("reading rows.csv", None, "rows", 0.0, done=5000)
    assert bar_line(task, 10.0, 80) == "reading rows.csv  5,000 rows  500/s"


@pytest.mark.parametrize("name", ["reading " + 60 * "数", "reading " + 200 * "x" + ".jsonl"])
def test_a_long_or_wide_name_leaves_room_for_the_numbers(name: str) -> None:
    line = bar_line(Task(name, 1000, "rows", 0.0, done=250), 100.0, 80)
    assert cell_len(line) <= 80
    assert "250/1,000 rows" in line
    assert "━" in line


def test_a_hostile_file_name_is_one_line_without_control_characters(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with working("reading a\x1b[2J\n\tb.csv", unit="rows"):
        clock.wait(30)
    first, last = capsys.readouterr().err.splitlines()
    assert first == r"reading a\x1b[2J\n\tb.csv: 0 rows"
    assert last == r"reading a\x1b[2J\n\tb.csv: 0 rows in 0:30"


WORK = """
import sys, time
from tests.terminal import in_terminal
from westofn import progress
progress.SHOWN_AFTER, progress.REDRAW = 0.0, 0.02
with progress.working("stage"), progress.working("sft", 40, "steps") as task:
    for step in range(40):
        time.sleep(0.02)
        task.advance()
        if step == 20:
            print("an account", flush=True)
            print("a warning", file=sys.stderr, flush=True)
        if step > 34:  # as libraries draw bars of their own
            print(f"\\rloading {step}", end="" if step < 39 else "\\n", file=sys.stderr, flush=True)
print("end")
"""


@pytest.mark.parametrize("width", [80, 40])
def test_a_terminal_shows_a_bar_and_keeps_what_others_print(width: int) -> None:
    shown = _in_terminal(width)
    frames = re.split(r"\r\x1b\[2K|\r\n", shown)
    bars = [frame for frame in frames if re.match(r"sft +[━─]+ +\d+/40 steps", frame)]
    assert len(bars) > 2
    assert max(map(len, bars)) < width
    assert any("left" in bar for bar in bars) == (width == 80)
    # What a person sees at the end: every line that was not taken back.
    left = [re.sub(r".*(\x1b\[2K|\r)", "", line) for line in shown.split("\r\n")]
    assert left == ["an account", "a warning", "loading 39", left[3], "end", ""]
    assert re.fullmatch(r"sft: 40 steps in 0:0\d", left[3])


def test_a_dumb_terminal_has_no_bar() -> None:
    shown = _in_terminal(80, TERM="dumb")
    left = [line.rpartition("\r")[2] for line in shown.split("\r\n")]
    assert left == ["an account", "a warning", "loading 39", "end", ""]
    assert "\x1b" not in shown


def _in_terminal(width: int, **variables: str) -> str:
    """Run WORK in a terminal of this width; all that it wrote there."""
    code, shown = in_terminal([sys.executable, "-c", WORK], width, **variables)
    assert code == 0
    return shown
