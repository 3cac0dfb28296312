"""What every stage shares: how it starts, how it fails, and what it notes down about the run."""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from westofn.artifacts.atomic import refusal
from westofn.errors import WestofnError

RUNS = Path("runs")
LIVE = Path("dvclive")
"""Where training writes what can be followed live; see docs/training.md."""

In = Annotated[Path, typer.Option(help="input, relative to the repository root")]
Out = Annotated[Path, typer.Option(help="output, relative to the repository root")]


def run(main: Callable[..., None]) -> None:
    """Run a stage's command; an expected error is one line on stderr and exit code 2.

    Facts of the run (duration, peak memory, host) go to runs/stages.jsonl, which no stage reads.
    """
    module = main.__module__
    stage = Path(sys.argv[0]).stem if module == "__main__" else module.rpartition(".")[2]
    _quieten_libraries()
    _collect_young_garbage_alone()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    started = time.time()
    try:
        exit_code = app(standalone_mode=False)
    except WestofnError as error:
        _fail(stage, str(error))
    except typer.Exit as error:
        sys.exit(error.exit_code)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of typer's
            error.show()
            sys.exit(error.exit_code)
        if mend := refusal(error):  # of a library that writes models or checkpoints
            where = getattr(error, "filename", None) or "an output or its scratch folder"
            _fail(stage, f"{where}: cannot be written: {mend}")
        raise
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    if exit_code is None and first:  # a number: it only showed its help
        _note({"stage": stage, "arguments": sys.argv[1:], "started": round(started)}, started)


def _fail(stage: str, text: str) -> NoReturn:
    shown = text if text.startswith(f"{stage}:") else f"{stage}: {text}"
    typer.secho(shown, fg="red", err=True)
    sys.exit(2)


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


def _note(facts: dict[str, Any], started: float) -> None:
    facts["seconds"] = round(time.time() - started, 2)
    facts["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    facts["host"] = platform.node()
    facts["python"] = platform.python_version()
    try:
        RUNS.mkdir(exist_ok=True)
        with (RUNS / "stages.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(facts) + "\n")
    except OSError as error:  # a note is not worth a stage
        typer.secho(f"{facts['stage']}: run facts not noted ({error})", fg="yellow", err=True)
