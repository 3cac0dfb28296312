"""Reports of a run to what transformers' Trainer knows: tensorboard, wandb, mlflow and others.

`report_to` and `run_name` in runtime.toml choose them; no parameter does, so that they invalidate
nothing. A model is a run of its own, called after its stage.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import integration_utils
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    TensorBoardCallback,
)

from westofn.errors import ParameterError
from westofn.execution.processes import is_first
from westofn.runtime import Runtime
from westofn.training.live import LiveFiles

TENSORBOARD = Path("runs") / "tensorboard"
"""A folder a run; what Trainer takes by default is in the scratch folder, which goes."""


def run_name(runtime: Runtime, name: str) -> str:
    """What a report calls the run of this model."""
    return f"{runtime.run_name} {name}".strip()


def watchers(runtime: Runtime, name: str, live: Path | None) -> list[TrainerCallback]:
    """The callbacks that show a run to others.

    Args:
        runtime: Its `report_to` and `run_name`.
        name: Of the model.
        live: Where DVCLive's files go; None writes none.

    Raises:
        ParameterError: `report_to` names what Trainer does not know, or what is not installed.
    """
    reports = [_reporter(kind, runtime, name) for kind in runtime.report_to]
    files = [LiveFiles(name, live)] if live and is_first() else []
    return [*files, *reports]


def _reporter(kind: str, runtime: Runtime, name: str) -> TrainerCallback:
    if kind == "dvclive":
        raise ParameterError(
            "runtime.toml: report_to names dvclive, whose files every stage that trains writes "
            "without it; leave it out"
        )
    if kind not in INTEGRATION_TO_CALLBACK:
        known = ", ".join(sorted(set(INTEGRATION_TO_CALLBACK) - {"dvclive"}))
        raise ParameterError(
            f"runtime.toml: report_to names {kind!r}, which transformers' Trainer does not know; "
            f"known: {known}"
        )
    # Most are called like their package. Of the others, the callback says what to install; it is
    # not made for all, since what mlflow's leaves behind when it fails complains later.
    available = getattr(integration_utils, f"is_{kind}_available", lambda: True)
    try:
        if not available():
            raise ImportError(f"pip install {kind}")
        reporter: TrainerCallback = INTEGRATION_TO_CALLBACK[kind]()
    except (ImportError, RuntimeError) as error:
        raise ParameterError(
            f"runtime.toml: report_to names {kind}, which is not installed: "
            f"{' '.join(str(error).split())}"
        ) from None
    if isinstance(reporter, TensorBoardCallback) and reporter.logging_dir is None:
        folder = re.sub(r"[^\w.-]+", "-", run_name(runtime, name))
        reporter.logging_dir = str(TENSORBOARD / folder)
    return reporter


def finish(runtime: Runtime) -> None:
    """End the run of a reporter that would let the next model go on with it."""
    if "wandb" in runtime.report_to and (wandb := sys.modules.get("wandb")):
        wandb.finish()


class Watch:
    """Calls the callbacks of a training loop that is not transformers' Trainer.

    Args:
        runtime: Hardware settings.
        name: Of the model.
        live: See `watchers`.
        scratch: Folder for what a reporter writes beside its reports.
        model: That learns; reporters read its configuration.
        steps: Of the whole run.
        on_cpu: Whether it computes there.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        live: Path | None,
        *,
        scratch: Path,
        model: Any,
        steps: int,
        on_cpu: bool,
    ) -> None:
        self.runtime, self.model = runtime, model
        self.callbacks = watchers(runtime, name, live)
        self.state = TrainerState(max_steps=steps, is_world_process_zero=is_first())
        self.arguments = None
        if runtime.report_to:
            self.arguments = TrainingArguments(
                output_dir=str(scratch),
                max_steps=steps,
                run_name=run_name(runtime, name),
                report_to=[],
                use_cpu=on_cpu,
            )

    def begin(self, history: Sequence[Mapping[str, float]]) -> None:
        """Begin, or go on after these logs of a run that is taken up."""
        self.state.log_history = [dict(logs) for logs in history]
        self._call("on_train_begin")

    def _log(self, logs: Mapping[str, float]) -> None:
        self.state.global_step = int(logs["step"])
        shown = {key: value for key, value in logs.items() if key != "step"}
        self.state.log_history.append(dict(logs))
        self._call("on_log", logs=shown)

    def follow(self, history: Sequence[Mapping[str, float]]) -> None:
        """Tell what a history has beyond what was told."""
        for logs in history[len(self.state.log_history) :]:
            self._log(logs)

    def end(self) -> None:
        """The run is over."""
        self._call("on_train_end")
        finish(self.runtime)

    def _call(self, event: str, **given: Any) -> None:
        for callback in self.callbacks:
            # A copy, since callbacks may add to it.
            options = {key: dict(value) for key, value in given.items()}
            getattr(callback, event)(
                self.arguments, self.state, TrainerControl(), model=self.model, **options
            )
