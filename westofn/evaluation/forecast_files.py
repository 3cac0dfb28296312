"""A forecast from files of one's own, or with the features of a model by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from westofn.artifacts.pools import Pools
from westofn.errors import DataError, ModelError
from westofn.evaluation.forecasting import ForecastTexts, Reader, bounded, reader_of_run
from westofn.models.card import CARD
from westofn.models.features import FeatureReader
from westofn.networks.pretrained import load_pretrained
from westofn.params.network import Readout
from westofn.params.reward_start import RewardStartParams
from westofn.sources.collect import Reading, collect_pairs, parts_of
from westofn.sources.formats.rows import Pair
from westofn.sources.pool_files import pools_of
from westofn.sources.reading import files_of, rows_of
from westofn.sources.splits import hash_order
from westofn.training.pairs import Preferences

VALIDATION_SHARE = 1 / 3
"""The share of the prompts of a file of pairs that is held out to choose penalties."""


def texts_of_files(preferences: Path, responses: Path, seed: int) -> ForecastTexts:
    """Texts of files: preferences in any form of docs/data.md, and rows of prompt and responses.

    A third of the prompts of the preferences is held out as validation pairs.

    Args:
        preferences: File or folder.
        responses: File or folder with rows {prompt, responses: at least two texts}.
        seed: Decides which prompts are held out.

    Raises:
        DataError: A file or row cannot be read, or too little is left.
    """
    parts = parts_of(preferences, 0, "--preferences")
    collected = collect_pairs(parts, Reading(seed=seed), preferences).pairs
    prompts = hash_order({pair.prompt_id for pair in collected}, seed, "forecast validation")
    held_out = set(prompts[: max(1, round(VALIDATION_SHARE * len(prompts)))])
    labeled = [pair for pair in collected if pair.prompt_id not in held_out]
    validation = [pair for pair in collected if pair.prompt_id in held_out]
    if len(labeled) < 4 or not validation:
        raise DataError(
            f"--preferences: {preferences} has {len(collected)} pairs of {len(prompts)} prompts, "
            "needs at least 4 pairs beside the third of the prompts that is held out; give more"
        )
    return bounded(_preferences(labeled), _preferences(validation), _read_samples(responses))


def reader_of_model(
    model: str, start: RewardStartParams, readout: Readout, limits: tuple[int, int], seed: int
) -> Reader:
    """A model by its folder or name: a policy of a run, or any pretrained one.

    Args:
        model: A folder that holds a card, or what `sft.model` takes.
        start: The section `reward_start`, of whose `model` this one takes the place.
        readout: What is read of its states.
        limits: Tokens of prompts and of responses, where no card has them.
        seed: The run's.
    """
    if (Path(model) / CARD).is_file():
        of_policy = start.model_copy(update={"model": "policy"})
        return reader_of_run(of_policy, Path(model), readout, seed)
    if model == "scratch":
        raise ModelError("--model: scratch has no features yet; give a trained model")
    backbone, encoder = load_pretrained(
        model,
        "--model",
        max_prompt_tokens=limits[0],
        max_response_tokens=limits[1],
    )
    return Reader(FeatureReader(backbone, encoder, readout), encoder)


def _read_samples(path: Path) -> Pools:
    """Rows of prompt and responses; every pool is cut to the size of the smallest."""
    pools = Pools.of_rows(
        (name, prompt, responses)
        for file in files_of(path, "--responses")
        for name, prompt, responses in pools_of(rows_of(file), {}, {}).rows()
        if len(responses) > 1
    )
    if not pools.prompts or not all(pools.prompts):
        raise DataError(
            f"--responses: {path} needs rows with a prompt and at least two responses each"
        )
    return pools.cut(pools.n_candidates)


def _preferences(pairs: Sequence[Pair]) -> Preferences:
    return Preferences(
        [pair.prompt for pair in pairs],
        [pair.chosen for pair in pairs],
        [pair.rejected for pair in pairs],
        [1.0] * len(pairs),
    )
