"""Checkpoints of RL; a resumed run gives the same result as an uninterrupted run.

RL uses no random generator with a state: samples and orders depend on seed and step, and dropout is
off. So a checkpoint holds only weights, optimisers and records.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file, save_file

from westofn.artifacts.atomic import beside, sync
from westofn.artifacts.integrity import damage, write_manifest
from westofn.execution.damage import drop, not_tensors
from westofn.execution.processes import is_first
from westofn.networks.adapters import learned_weights
from westofn.training.rl.networks import Learner

Record = dict[str, float]


@dataclass(frozen=True)
class State:
    """Progress of a run.

    Attributes:
        step: Number of finished batches.
        curve: One record per evaluation.
        history: One record per batch.
    """

    step: int = 0
    curve: list[Record] = field(default_factory=list)
    history: list[Record] = field(default_factory=list)


def save_state(folder: Path, state: State, learners: Sequence[Learner]) -> None:
    """Write `folder/step-N` with checksums atomically, then remove those before the last.

    All processes call it together, and the first one writes.
    """
    optimisers = [learner.state() for learner in learners]
    if not is_first():
        return
    folder.mkdir(parents=True, exist_ok=True)
    earlier = _finished(folder)
    final = folder / f"step-{state.step:08d}"
    temporary = beside(final)
    temporary.mkdir()
    for learner, optimiser in zip(learners, optimisers, strict=True):
        # Frozen weights come from the start models.
        save_file(learned_weights(learner.network), temporary / f"{learner.name}.safetensors")
        torch.save(optimiser, temporary / f"{learner.name}.optimiser.pt")
    records = {"curve": state.curve, "history": state.history}
    (temporary / "records.json").write_text(json.dumps(records), encoding="utf-8")
    write_manifest(temporary)
    os.replace(temporary, final)  # noqa: PTH105 (an atomic rename)
    sync(folder)
    for path in earlier[:-1]:
        shutil.rmtree(path)


def drop_damaged(name: str, folder: Path) -> None:
    """Remove the checkpoints that are damaged, newest first, up to one that is whole.

    Args:
        name: Name of the stage on stderr.
        folder: Folder of the checkpoints.
    """
    finished = _finished(folder)
    while finished and (fault := damage(finished[-1])):
        path = finished.pop()
        follows = f"goes on from {finished[-1].name}" if finished else "starts again"
        drop(name, path, fault, f"training {follows}")


def load_state(folder: Path, learners: Sequence[Learner]) -> State:
    """Load the last checkpoint into the learners; without one, return a state at step 0.

    `drop_damaged` comes first.

    Raises:
        DataError: An optimiser's file holds something else than tensors and numbers.
    """
    finished = _finished(folder)
    if not finished:
        return State()
    last = finished[-1]
    for learner in learners:
        saved = load_file(last / f"{learner.name}.safetensors")
        # On the CPU: AdamW refuses step counts on a GPU; other state moves to the weights' device.
        path = last / f"{learner.name}.optimiser.pt"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise not_tensors("rlhf", str(path), error) from None
        learner.load(saved, state)
    records = json.loads((last / "records.json").read_text(encoding="utf-8"))
    step = int(last.name.removeprefix("step-"))
    return State(step, records["curve"], records["history"])


def _finished(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
