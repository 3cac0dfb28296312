"""What every stage shares: how it starts, how it fails, and what it notes down about the run."""

from __future__ import annotations

import errno
import functools
import gc
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from westofn.artifacts.atomic import refusal, sweep
from westofn.errors import DataError, WestofnError
from westofn.execution.ending import run_to_its_end
from westofn.execution.launch import launch, number_of_processes
from westofn.execution.processes import check_environment, count, is_first
from westofn.execution.scratch import ROOT as SCRATCH
from westofn.execution.scratch import require_inputs
from westofn.progress import working
from westofn.runtime import load_runtime

RUNS = Path("runs")
LIVE = Path("dvclive")
"""Where training writes what can be followed live; see docs/training.md."""

In = Annotated[Path, typer.Option(help="input, relative to the repository root")]
Out = Annotated[Path, typer.Option(help="output, relative to the repository root")]


def run(main: Callable[..., None], shares: Callable[[], bool] = lambda: False) -> None:
    """Run a stage's command; see `westofn.execution.ending` for how it may end.

    Facts of the run (duration, peak memory, host) go to runs/stages.jsonl, which no stage reads.

    Args:
        main: The command.
        shares: Returns whether several processes can share the stage's training; then it starts as
            many as runtime.toml says.
    """
    module = main.__module__
    stage = Path(sys.argv[0]).stem if module == "__main__" else module.rpartition(".")[2]
    _quieten_libraries()
    _collect_young_garbage_alone()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(_swept(main))
    several = False

    def work() -> int | None:
        nonlocal several
        check_environment()
        several = count() == 1 and _asks_for_processes() and shares()
        return None if several else _work(stage, app)

    if code := run_to_its_end(stage, work):
        sys.exit(code)
    if several:  # outside, since torch handles the signals that end these processes
        sys.exit(launch(f"stages.{stage}", sys.argv[1:], load_runtime()))


def _asks_for_processes() -> bool:
    runtime = load_runtime()
    return "--help" not in sys.argv and number_of_processes(runtime) * max(1, runtime.nodes) > 1


def _work(stage: str, app: typer.Typer) -> int | None:
    started = time.time()
    try:
        with working(stage):
            code: int | None = app(standalone_mode=False)
    except WestofnError:
        raise
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of typer's
            error.show()
            return int(error.exit_code)
        raise
    if code is None and is_first():  # a number: it only showed its help, or was interrupted
        _note({"stage": stage, "arguments": sys.argv[1:], "started": round(started)}, started)
    return code


def _swept(main: Callable[..., None]) -> Callable[..., None]:
    """Let a stage begin with a look at its inputs, and remove what killed runs left.

    What is missing shows before a stage imports torch.
    """
    outs = [name for name, hint in get_type_hints(main, include_extras=True).items() if hint == Out]

    @functools.wraps(main)
    def swept(**options: Any) -> None:
        paths = {name: path for name, path in options.items() if isinstance(path, Path)}
        try:
            require_inputs(path for name, path in paths.items() if name not in outs)
            if is_first():
                for name in outs:
                    sweep(options[name])
            main(**options)
        except Exception as error:  # a library that writes models or checkpoints may name no file
            if isinstance(error, WestofnError) or not (mend := refusal(error)):
                raise
            places = ", ".join(str(options[name]) for name in outs)
            where = getattr(error, "filename", None) or f"{places} or {SCRATCH}"
            reading = isinstance(error, OSError) and error.errno == errno.EIO
            doing = "read or written" if reading else "written"
            raise DataError(f"{where}: cannot be {doing}: {mend}") from error

    return swept


def _quieten_libraries() -> None:
    """Progress and errors are ours to show; set before the libraries are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _collect_young_garbage_alone() -> None:
    """A full collection walks over all that torch and transformers define, to free next to nothing.

    Half a dozen of them were a fifth of the time that a stage takes to start.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1000)


def _peak_memory() -> dict[str, int]:
    """Return the peak memory of this process, and of its GPU if it used one, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss holds the parent's peak too, if that was larger
        fields = dict(line.split(":", 1) for line in status.read_text("utf-8").splitlines())
        peak = int(fields["VmHWM"].split()[0])
    facts = {"peak_memory_mib": peak // 1024}
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        facts["device_memory_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return facts


def _note(facts: dict[str, Any], started: float) -> None:
    facts["seconds"] = round(time.time() - started, 2)
    facts["cpu_seconds"] = round(time.process_time(), 2)
    facts |= _peak_memory()
    facts["host"] = platform.node()
    facts["python"] = platform.python_version()
    try:
        RUNS.mkdir(exist_ok=True)
        with (RUNS / "stages.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(facts) + "\n")
    except OSError as error:  # a note is not worth a stage
        typer.secho(f"{facts['stage']}: run facts not noted ({error})", fg="yellow", err=True)
