"""DVCLive's files while a model trains: for `dvc exp show`, `dvc plots show` and the editor.

`latest/metrics.json` holds the name of the model in training, its step and its last measures;
`plots/metrics/{train,validation}/*.tsv` hold a measure's course each. A model clears what an
earlier one left. dvc.yaml names both folders, and git knows an empty file in each, so that they are
there in every commit; what is written here git ignores, and no stage reads it.

`dvclive.Live` itself opens the repository, which takes longer than a short training, may start one
where there is none, and may commit; only its writers are used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from westofn.artifacts.curve import Point
from westofn.artifacts.json_file import write_json
from westofn.terminal import Terminal
from westofn.training.curves import curve_of


class LiveFiles(TrainerCallback):
    """Writes the files of one run; of a failure it tells once, and training goes on."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.works = True
        self.latest: dict[str, Any] = {"model": name}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start anew, with what a run logged that is taken up."""
        self._attempt(lambda: self._restart(curve_of(state.log_history)))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Add what was logged."""
        rows = curve_of([{**(logs or {}), "step": state.global_step}])
        self._attempt(lambda: self._add(rows))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take back the mark of a finished step."""
        if "DVC_ROOT" in os.environ:
            from dvclive.vscode import cleanup_dvclive_step_completed

            self._attempt(cleanup_dvclive_step_completed)

    def _attempt(self, work: Callable[[], None]) -> None:
        if not self.works:
            return
        try:
            work()
        except Exception as error:  # whatever it is, it is not worth a training run
            self.works = False
            reason = " ".join(str(error).split())
            Terminal(stderr=True).print(
                f"{self.name}: {self.folder} is not written, so nothing can follow this run live "
                f"({reason}); training goes on",
                style="yellow",
                highlight=False,
                soft_wrap=True,
            )

    def _restart(self, rows: Sequence[Point]) -> None:
        for path in (self.folder / "plots").rglob("*.tsv"):
            path.unlink()
        self._add(rows)

    def _add(self, rows: Sequence[Point]) -> None:
        from dvclive.plots.metric import Metric

        for row in rows:
            measures = {key: row[key] for key in row if key not in ("split", "step")}
            for key, value in measures.items():
                metric = Metric(f"{row['split']}/{key}", str(self.folder / "plots"))
                metric.step = row["step"]
                metric.dump(value)
            self.latest |= {"step": row["step"], row["split"]: measures}
        write_json(self.latest, self.folder / "latest" / "metrics.json")
        if rows and "DVC_ROOT" in os.environ:  # which DVC sets for its stages
            from dvclive.vscode import mark_dvclive_step_completed

            mark_dvclive_step_completed(rows[-1]["step"])
