"""Disk space that a run needs: its models, each also in DVC's cache, and checkpoints.

Every saved model is complete, so their number decides. Tables and small models are in `OTHER`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from westofn.errors import DataError
from westofn.params.reward import RewardModelParams
from westofn.params.sft import SftParams
from westofn.params.whole import Params

OTHER = 3 * 2**30
"""Bytes for everything but pretrained models and their copies."""
_REFERENCES = 3  # hf50, hf100 and the linear head with the covariance prior
_CHECKPOINTS = 3  # that training keeps, and the one that it writes
_MOMENTS = 8  # bytes a trained weight: Adam's moments in fp32
_SAVED = {"fp32": 4, "bf16": 2}  # bytes a weight of a saved model
_FLOAT = 4


@dataclass(frozen=True)
class DiskNeed:
    """Disk space that a run needs.

    Attributes:
        size: Bytes.
        models: Saved models that start from a pretrained one.
        unknown: Pretrained models whose weights this machine does not have yet.
    """

    size: int
    models: int
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        parts = []
        if self.models:
            parts.append(f" for {self.models} models, each also in DVC's cache, and checkpoints")
        if self.unknown:
            parts.append(f", and more for {' and '.join(self.unknown)}: no weights here yet")
        return f"{math.ceil(self.size / 2**30)} GiB{''.join(parts)}"


def disk_need(params: Params) -> DiskNeed:
    """Compute the disk space that a run of all stages needs.

    Raises:
        DataError: A file of weights is damaged.
    """
    names = {"policy": params.sft.model, "rewards": _reward_model(params)}
    weights = {name: _weights(name) for name in names.values() if name != "scratch"}
    policy, reward = (weights.get(name) or 0 for name in names.values())
    rounds = len(params.loop)
    autorater = params.prepare.source != "world"
    copies = {
        "policy": 1 + rounds,
        "rewards": params.base_rm.members + _REFERENCES + rounds + autorater,
    }
    bytes_a_weight = _SAVED[params.sft.precision]
    saved = (copies["policy"] * policy + copies["rewards"] * reward) * bytes_a_weight
    checkpoint = max(
        _trained(params.sft, policy) * (_FLOAT + _MOMENTS),
        *(_trained(part, reward) * (2 * _FLOAT + _MOMENTS) for part in _recipes(params)),
        (0 if params.rlhf.lora.rank else policy + reward) * (_FLOAT + _MOMENTS),
    )
    return DiskNeed(
        size=OTHER + 2 * saved + _CHECKPOINTS * checkpoint,
        models=sum(copies[role] for role, name in names.items() if weights.get(name)),
        unknown=tuple(name for name, count in weights.items() if count is None),
    )


def _reward_model(params: Params) -> str:
    name = params.reward_start.model
    return params.sft.model if name == "policy" else name


def _recipes(params: Params) -> tuple[RewardModelParams, ...]:
    return params.base_rm, params.student_rm


def _trained(recipe: SftParams | RewardModelParams, weights: int) -> int:
    """Return how many weights a checkpoint holds; adapters and heads are small."""
    small = recipe.lora.rank or getattr(recipe, "learner", "network") == "linear_head"
    return 0 if small else weights


def _weights(name: str) -> int | None:
    """Return the number of weights of a pretrained model; None where this machine has none."""
    files = _files(name)
    return sum(map(_weights_of_file, files)) if files else None


def _files(name: str) -> list[Path]:
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(name, "config.json")
        if not isinstance(config, str):
            return []
        folder = Path(config).parent
    single = folder / "model.safetensors"
    return [single] if single.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))


def _weights_of_file(path: Path) -> int:
    """Count the weights by the header of a file in safetensors: its length, then JSON."""
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(min(length, path.stat().st_size)))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is damaged ({reason}); copy the folder again") from None
    return sum(map(math.prod, shapes))
