"""An arm of the comparison: human pairs, perhaps synthetic ones -> a saved reward model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.curve import read_curve, write_curve
from westofn.core.seeds import derive_seed
from westofn.execution.account import tell
from westofn.execution.damage import has_model
from westofn.execution.processes import is_first
from westofn.execution.scratch import model_folders, scratch
from westofn.execution.stage_accounts import reward_model_account
from westofn.models.card import member_folder, member_folders, read_card, write_ensemble
from westofn.models.saved_reward import save_reward_model
from westofn.plugins import plugin_file
from westofn.runtime import load_runtime, set_up_torch
from westofn.sources.human import HumanData
from westofn.training.linear_head import LinearHead, LinearHeads
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Recipe

CANARIES = 4


def train_arm(
    name: str,
    human: HumanData,
    recipe: Recipe,
    out: Path,
    *,
    synthetic: pl.DataFrame | None = None,
    synthetic_fraction: float = 0.5,
    members: int = 1,
    linear: LinearHead | None = None,
    live: Path | None = None,
) -> None:
    """Train an arm and save it.

    Several members differ in their seed: initial head, order of batches, dropout; linear heads in
    their bootstrap sample of the training pairs. The first is the model that one member would be.

    Args:
        name: The arm's name, for its scratch folder and errors.
        human: The human pairs, D_L.
        recipe: How it is trained; the section `reward_start` is the same for all arms.
        out: Folder of the model.
        synthetic: The synthetic pairs, D_L' (table preferences), or None.
        synthetic_fraction: Share of synthetic rows in every batch; 0: human pairs alone.
        members: Models to train; of more than one, `out` holds a folder each and ensemble.json.
        linear: Fit a linear head on frozen features instead of training a network; of the recipe's
            parameters it reads the readout, the loss and the number of validation pairs.
        live: Where DVCLive's files go while a network trains; None writes none.

    Raises:
        ParameterError: There is no such loss, or a linear head cannot be fitted to it.
        TrainingError: Training fails, see `train_reward_model` and `train_linear_head`.
    """
    runtime = load_runtime()
    set_up_torch(runtime)
    pairs = TrainingPairs(
        preferences_from(human.train),
        None if synthetic is None else preferences_from(synthetic),
        preferences_from(human.validation),
        synthetic_fraction,
    )
    first_rows = human.validation.head(CANARIES)
    canaries = list(zip(first_rows["prompt"], first_rows["chosen"], strict=True))

    heads: list[LinearHeads] = []  # of all members, which read the same features

    def train(member: str, member_seed: int, checkpoints: Path, place: Path) -> None:
        if linear:
            heads[:] = heads or [LinearHeads(name, pairs, linear, recipe, runtime)]
            trained = heads[0].fit(None if member_seed == recipe.seed else member_seed)
        else:
            own = replace(recipe, seed=member_seed)
            trained = train_reward_model(member, pairs, own, checkpoints, runtime, live)
        if is_first():
            save_reward_model(trained.scorer, place, canaries, trained.facts, trained.curve)

    settings = _settings(human, recipe, synthetic, synthetic_fraction, members, linear)
    files = [*human.files, *_files(recipe), *(linear.files if linear else [])]
    with scratch(f"{name}-{out.parent.name}", settings, files, together=True) as folder:
        if members == 1:
            train(name, recipe.seed, folder, out)
        else:
            _train_members(name, members, recipe.seed, train, folder, out)
    if is_first():
        first = read_card(member_folders(out)[0], "reward_model")  # members have the same pairs
        tell(reward_model_account(name, first.training))


def _settings(
    human: HumanData,
    recipe: Recipe,
    synthetic: pl.DataFrame | None,
    synthetic_fraction: float,
    members: int,
    linear: LinearHead | None,
) -> dict[str, object]:
    """What a resumed training must have in common with the one that was killed, beside files."""
    return {
        "seed": recipe.seed,
        "params": recipe.params.model_dump(),
        "start": recipe.start.model_dump(),
        "head": [recipe.head.comparator, recipe.head.planes],
        "fraction": synthetic_fraction,
        "train": human.train["pair_id"].to_list(),
        "synthetic": None if synthetic is None else synthetic.rows(),
        "members": members,
        "powers": None if linear is None else linear.powers,
    }


def _files(recipe: Recipe) -> list[Path]:
    """The files that a recipe names: policy, start, and the loss where it is the user's own."""
    loss = plugin_file(recipe.params.loss)
    return [recipe.policy, *model_folders(recipe.start.model), *([loss] if loss else [])]


def _train_members(
    name: str,
    members: int,
    seed: int,
    train: Callable[[str, int, Path, Path], None],
    folder: Path,
    out: Path,
) -> None:
    """Train one member after the other in the scratch folder; `out` appears when all are there."""
    finished = folder / "members"
    for index in range(members):
        place = member_folder(finished, index)
        if not has_model(name, place, "reward_model"):  # else a run that was killed finished it
            # The first keeps the run's seed, so that more members change nothing about it.
            member_seed = derive_seed(seed, "member", index) if index else seed
            train(f"{name} {place.name}", member_seed, folder / f"of-{place.name}", place)
    if not is_first():
        return
    write_ensemble(finished, members)
    curves = [read_curve(member_folder(finished, index)) for index in range(members)]
    rows = [{"member": index, **row} for index, curve in enumerate(curves) for row in curve]
    write_curve(rows, finished)
    with whole_folder(out) as place:
        shutil.copytree(finished, place, dirs_exist_ok=True)


def preferences_from(frame: pl.DataFrame) -> Preferences:
    """Rows of table preferences as hard labels: West-of-N trains on hard labels.

    Their p_chosen, the labeller's confidence, is kept beside for losses that read it.
    """
    return Preferences(
        prompts=frame["prompt"].to_list(),
        chosen=frame["chosen"].to_list(),
        rejected=frame["rejected"].to_list(),
        p_chosen=[1.0] * frame.height,
        confidence=frame["p_chosen"].fill_null(1.0).to_list(),
    )
