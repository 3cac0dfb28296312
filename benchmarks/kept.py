"""What benchmarks make once and keep: policies and candidates; and networks of an arm."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.json_file import read_json, write_json
from westofn.errors import DataError
from westofn.generation.sample_pools import Draw, sample_pool
from westofn.models.policy import Policy, load_policy, save_policy
from westofn.models.reward import Scorer
from westofn.params.sft import SftParams
from westofn.runtime import Runtime
from westofn.training.pairs import TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Recipe
from westofn.training.sft import Examples, train_sft

CPU = Runtime(device="cpu")

LATER_KEYS = {
    "head_start": "zero",
    "learner": "network",
    "validation_pairs": 512,
    "validation_rows": 512,
}
"""Keys that came after the first records -> the value that means what came before them."""


def recorded(section: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section as records have them: without later keys that change nothing.

    So a new parameter leaves finished runs valid.

    >>> recorded({"steps": 40, "head_start": "zero"}), recorded({"head_start": "linear_head"})
    ({'steps': 40}, {'head_start': 'linear_head'})
    """
    return {k: v for k, v in section.items() if k not in LATER_KEYS or v != LATER_KEYS[k]}


def kept_policy(
    folder: Path,
    demonstrations: Callable[[], tuple[Examples, Examples]],
    sft: SftParams,
    seed: int,
) -> Policy:
    """The SFT policy of a folder; trained where the folder does not hold it yet.

    Args:
        folder: The policy's; checkpoints lie in `sft-scratch` beside it.
        demonstrations: Makes what it learns and what is held out; called where it is trained.
        sft: The section `sft`.
        seed: Decides the training.

    Raises:
        DataError: The folder holds a policy that was trained with other settings.
    """
    settings = folder.with_suffix(".json")
    made_with = {"sft": recorded(sft.model_dump()), "seed": seed}
    if folder.exists() and (not settings.exists() or _made_with(settings) != made_with):
        raise DataError(
            f"{folder}: the policy was trained with other settings than today's; remove "
            f"{folder.parent} and run again"
        )
    if not folder.exists():
        write_json(made_with, settings)
        train, validation = demonstrations()
        scratch = folder.parent / "sft-scratch"
        trained = train_sft(train, validation, sft, seed=seed, scratch=scratch, runtime=CPU)
        canaries = list(zip(validation.prompts[:4], validation.responses[:4], strict=True))
        save_policy(trained.policy, folder, canaries, trained.facts)
        shutil.rmtree(scratch, ignore_errors=True)
    return load_policy(folder, "cpu")


def _made_with(path: Path) -> dict[str, Any]:
    record = read_json(path, "")
    return {**record, "sft": recorded(record["sft"])}


def kept_candidates(
    path: Path, policy: Policy, prompts: pl.DataFrame, draw: Draw, description: str
) -> pl.DataFrame:
    """Table candidates of a file; sampled where there is none yet.

    Args:
        path: The file; finished shards lie beside it until it is whole.
        policy: Samples.
        prompts: Rows of table prompts.
        draw: How to sample.
        description: Shown beside the progress bar.
    """
    if not path.exists():
        scratch = path.with_suffix(".scratch")
        CANDIDATES.write(sample_pool(policy, prompts, draw, scratch, description), path)
        shutil.rmtree(scratch, ignore_errors=True)
    return CANDIDATES.read(path)


def trained_network(name: str, pairs: TrainingPairs, recipe: Recipe, scratch: Path) -> Scorer:
    """A reward model by the pipeline's training function, on the CPU; checkpoints do not stay.

    Args:
        name: The arm's name.
        pairs: What it learns from.
        recipe: How it learns.
        scratch: Folder for checkpoints, removed afterwards.
    """
    trained = train_reward_model(name, pairs, recipe, scratch, CPU)
    shutil.rmtree(scratch, ignore_errors=True)
    return trained.scorer
