"""Signals end a command in one line, whatever it was doing, and its children with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.terminal import in_terminal

ROOT = Path(__file__).resolve().parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
LINE = "work: interrupted; no output is half written, run it again\n"
KEPT = "work: interrupted; finished work stays in .scratch, run it again to go on\n"

RUN = """
import sys, time
from pathlib import Path
from westofn.execution.ending import run_to_its_end

def wait():
    # Touched here: a signal arrives inside the block that waits, never before it.
    Path("begun").touch()
    # Short steps: a signal between Python's last check and the system call does not end a sleep.
    for _ in range(1200):
        time.sleep(0.05)
{before}
def work():
{work}
sys.exit(run_to_its_end("work", work))
"""
PLAIN = "wait()"
CLEANS_UP = """
try:
    wait()
finally:
    time.sleep(1.2)
    Path("cleaned").touch()
"""
SWALLOWS = """
try:
    wait()
except BaseException:
    pass
wait()
"""
IMPORTS = """
code = "import os, pathlib, time\\ntry:\\n  pathlib.Path('begun').touch()\\n"
code += "  while True: time.sleep(0.05)\\nexcept BaseException: os.abort()"
Path("aborting.py").write_text(code)
sys.path.insert(0, "")
import aborting
"""
DESTRUCTOR = """
class Slow:
    def __del__(self):
        time.sleep(1)
Path("begun").touch()
for _ in range(60):
    Slow()
"""
TRANSLATES = """
try:
    wait()
except BaseException:
    raise ImportError("initialisation failed") from None
"""
IGNORES_SECOND = """
try:
    wait()
finally:
    Path("cleaning").touch()
    wait()
"""
SCRATCH = """
from westofn.execution.scratch import scratch
with scratch("work", {}, []) as folder:
    (folder / "shard").touch()
    wait()
"""
CHILD = """
from westofn.execution.children import run_group
import os
code = "import os, time; open('child', 'w').write(str(os.getpid()))"
code += "; os.rename('child', 'pid'); [time.sleep(0.05) for _ in range(1200)]"
Path("begun").touch()
run_group(["sh", "-c", f'{sys.executable} -c "{code}"; true'], os.environ)
"""
POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
Path("begun").touch()
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    pool.submit(child).result()
"""
POOL_CHILD = """
import os
def child():
    open("child", "w").write(str(os.getpid()))
    os.rename("child", "pid")
    wait()
"""


class Begin(Protocol):
    """Starts a command in a session of its own, and waits until its work has begun."""

    def __call__(
        self, work: str, before: str = "", ignored: tuple[signal.Signals, ...] = ()
    ) -> subprocess.Popen[str]: ...


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """A starter of commands; what a failed test leaves running ends with the test."""
    with contextlib.ExitStack() as started:

        def starter(
            work: str, before: str = "", ignored: tuple[signal.Signals, ...] = ()
        ) -> subprocess.Popen[str]:
            body = "\n".join(f"    {line}" for line in work.strip().splitlines())

            def ignore() -> None:
                for number in ignored:
                    signal.signal(number, signal.SIG_IGN)

            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RUN.format(work=body, before=before)],
                    cwd=tmp_path,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                    preexec_fn=ignore,
                )
            )
            started.callback(process.kill)  # before the wait of Popen's own exit
            wait_for(tmp_path / "begun")
            return process

        yield starter


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.005)


def ends(process: subprocess.Popen[str], code: int, line: str) -> None:
    """The process ends with this code and prints this alone."""
    try:
        printed = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        printed = process.communicate()
        raise AssertionError(
            f"still running 30 seconds after the signal; printed {printed}"
        ) from None
    assert printed == ("", line)
    assert process.returncode == code


@pytest.mark.parametrize(
    ("number", "work"),
    [
        *((number, PLAIN) for number in CODES),
        *((signal.SIGINT, work) for work in (SWALLOWS, DESTRUCTOR, TRANSLATES, IMPORTS)),
    ],
)
def test_a_signal_ends_a_command_in_one_line(
    number: signal.Signals, work: str, begin: Begin
) -> None:
    process = begin(work)
    process.send_signal(number)
    ends(process, CODES[number], LINE)


def test_blocks_clean_up_undisturbed(begin: Begin, tmp_path: Path) -> None:
    process = begin(CLEANS_UP)
    process.send_signal(signal.SIGTERM)
    ends(process, 143, LINE)
    assert (tmp_path / "cleaned").exists()


def test_a_second_signal_ends_at_once(begin: Begin, tmp_path: Path) -> None:
    process = begin(IGNORES_SECOND)
    process.send_signal(signal.SIGTERM)
    wait_for(tmp_path / "cleaning")
    process.send_signal(signal.SIGINT)
    ends(process, 130, LINE)


def test_what_is_kept_is_said(begin: Begin, tmp_path: Path) -> None:
    process = begin(SCRATCH)
    wait_for(tmp_path / ".scratch" / "work")
    while not list(tmp_path.glob(".scratch/work/*/shard")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    ends(process, 130, KEPT)
    assert list(tmp_path.glob(".scratch/work/*/shard"))


def test_a_signal_that_nohup_ignores_stays_ignored(begin: Begin) -> None:
    process = begin(PLAIN, ignored=(signal.SIGHUP,))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    ends(process, 143, LINE)


@pytest.mark.parametrize(("work", "before"), [(CHILD, ""), (POOL, POOL_CHILD)])
@pytest.mark.parametrize("signals", [1, 2])
def test_no_child_outlives_its_command(
    work: str, before: str, signals: int, begin: Begin, tmp_path: Path
) -> None:
    process = begin(work, before)
    wait_for(tmp_path / "pid")
    child = int((tmp_path / "pid").read_text())
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)  # to the command alone
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert err.endswith(LINE)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.05)


@pytest.mark.parametrize("module", ["stages.sample", "westofn"])
def test_an_interrupt_before_the_command_begins_is_one_line(module: str, tmp_path: Path) -> None:
    """The handler is there before the module's own imports: one of them waits here."""
    (tmp_path / "typer.py").write_text(
        "import time; open('begun', 'w').close()\nwhile True: time.sleep(0.05)", encoding="utf-8"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(tmp_path / "begun")
    process.send_signal(signal.SIGINT)
    ends(process, 130, LINE.replace("work", module.rpartition(".")[2]))


def test_the_line_of_an_interrupt_stands_below_a_bar(tmp_path: Path) -> None:
    code = "import os; os.write(2, b'a bar  ^C'); os.kill(os.getpid(), 2)"
    (tmp_path / "typer.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "westofn"]
    ended, shown = in_terminal(command, 80, PYTHONPATH=f"{tmp_path}:{ROOT}")
    line = LINE.replace("work", "westofn").strip()
    assert (ended, shown.splitlines()) == (130, ["a bar  ^C", line])


def test_a_program_that_imports_the_package_keeps_its_handlers() -> None:
    code = "import signal, westofn; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_command_gives_the_handlers_back(capsys: pytest.CaptureFixture[str]) -> None:
    from westofn.execution.ending import run_to_its_end

    before = [signal.getsignal(number) for number in (*CODES, signal.SIGALRM)]

    def raising(error: BaseException) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    with pytest.raises(SystemExit) as end:
        run_to_its_end("work", raising(KeyboardInterrupt()))
    assert (end.value.code, capsys.readouterr().err) == (130, LINE)
    with pytest.raises(ZeroDivisionError):
        run_to_its_end("work", raising(ZeroDivisionError()))
    assert [signal.getsignal(number) for number in (*CODES, signal.SIGALRM)] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
