"""The one function that trains every reward model: base, student, references and autorater.

They differ in their data and comparator only, so that the central comparison does not hang on
two code paths.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from westofn.artifacts.curve import Point
from westofn.core.calibration import calibrated_loss
from westofn.core.comparators import Comparator
from westofn.core.losses import Loss, centering_penalty
from westofn.core.metrics import accuracy
from westofn.core.seeds import derive_seed
from westofn.errors import TrainingError
from westofn.execution.processes import shards
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins
from westofn.networks.adapters import (
    Facts,
    add_adapters,
    copy_sharing_frozen,
    facts_of,
    frozen_names,
    learned_weights,
    merge_adapters,
)
from westofn.networks.recompute import recomputing
from westofn.networks.sharding import whole
from westofn.params.network import Precision
from westofn.params.reward import RewardModelParams
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder, Padded, pad
from westofn.training.average import MovingAverage
from westofn.training.batches import plan_batches, split_batch
from westofn.training.linear_head import start_head
from westofn.training.loop import Job, run
from westofn.training.losses import loss_of, loss_settings
from westofn.training.pairs import FittingPairs, Preferences, TrainingPairs, fitting_pairs
from westofn.training.recipe import Recipe, start_facts
from westofn.training.start import Start, reward_start
from westofn.training.trained import TrainedReward, calibrated, counts


def train_reward_model(
    name: str,
    pairs: TrainingPairs,
    recipe: Recipe,
    scratch: Path,
    runtime: Runtime,
    live: Path | None = None,
) -> TrainedReward:
    """Train a reward model from a policy's weights, or from where `reward_start` says.

    Every run keeps its validation-best checkpoint. The weights of `params.runs` runs, which start
    alike and differ in the order of batches and in dropout, are averaged (Ramé et al. 2024, arXiv
    2401.12187). The head is then scaled by the temperature that fits the validation pairs (Guo et
    al. 2017), so that σ(margin) is a probability: the order of responses does not change, and RL
    standardises rewards anyway.

    Args:
        name: The arm's name, for errors.
        pairs: What it learns from.
        recipe: How it learns.
        scratch: Folder for checkpoints.
        runtime: Hardware settings.
        live: Where DVCLive's files go; None writes none.

    Raises:
        ModelError: The start cannot be loaded, or its positions end before the limits.
        ParameterError: There is no such loss.
        TrainingError: A set has no pair that fits the template, or the loss is not finite.
    """
    sampled = pairs.sampled(recipe.params.validation_pairs, recipe.seed)
    prepared = _prepare(name, sampled, recipe, runtime)
    adapters = facts_of(prepared.start, recipe.params.lora)
    runs = [_run(prepared, index, scratch, runtime, live) for index in range(recipe.params.runs)]
    model = _merge(prepared, runs)
    margins = _validation_margins(prepared, model)
    scorer, calibration = calibrated(model, prepared.reader, margins, prepared.human, recipe.seed)
    scorer = replace(scorer, encoder=prepared.encoder)  # the texts are not needed any more
    facts = _facts(prepared, runs) | calibration | adapters | start_facts(recipe)
    facts["validation_not_read"] = len(pairs.validation) - len(sampled.validation)
    return TrainedReward(scorer, facts, [point for finished in runs for point in finished.curve])


@dataclass(frozen=True)
class _Prepared:
    """What all runs of a reward model share.

    Attributes:
        name: The arm's name.
        recipe: How it learns.
        loss: The loss that the recipe names.
        start: The model before training; runs train copies of it.
        encoder: How the model reads text.
        precision: What the model is saved in.
        sets: The human pairs, and the synthetic ones where there are any.
        shares: Pairs of each set in a batch.
        held_out: The validation pairs.
        reader: The encoder, which remembers the texts, so that each is tokenised once.
    """

    name: str
    recipe: Recipe
    loss: Loss
    start: RewardModel
    encoder: Encoder
    precision: Precision
    sets: list[FittingPairs]
    shares: tuple[int, ...]
    held_out: FittingPairs
    reader: Encoder

    @property
    def human(self) -> Preferences:
        """The human training pairs that fit."""
        return self.sets[0].rows

    @property
    def validation(self) -> Preferences:
        """The validation pairs that fit."""
        return self.held_out.rows

    @cached_property
    def rows(self) -> list[_Row]:
        """The ids of all training pairs, set after set."""
        return [row for part in self.sets for row in _encode(self.reader, part.rows, self.loss)]

    @cached_property
    def learned(self) -> frozenset[str]:
        """Names of the weights that training changes, where adapters are trained."""
        return frozenset(learned_weights(self.start))


def _prepare(name: str, pairs: TrainingPairs, recipe: Recipe, runtime: Runtime) -> _Prepared:
    loss = loss_of(recipe.params, name)
    origin = reward_start(
        recipe.start,
        recipe.policy,
        recipe.head.comparator,
        recipe.seed,
        adapted=bool(recipe.params.lora.rank),
    )
    start, encoder = _new_model(name, origin, recipe), origin.encoder
    if recipe.params.head_start == "linear_head":
        start_head(name, start, encoder, pairs, runtime)
    reader = encoder.remembering()
    sets = [fitting_pairs(name, reader, pairs.human, "human training pairs")]
    shares: tuple[int, ...] = (recipe.params.batch_size,)
    if pairs.synthetic is not None and pairs.synthetic_fraction:
        sets.append(fitting_pairs(name, reader, pairs.synthetic, "synthetic pairs"))
        shares = split_batch(recipe.params.batch_size, pairs.synthetic_fraction)
    return _Prepared(
        name=name,
        recipe=recipe,
        loss=loss,
        start=start,
        encoder=encoder,
        precision=origin.precision,
        sets=sets,
        shares=shares,
        held_out=fitting_pairs(name, reader, pairs.validation, "validation pairs"),
        reader=reader,
    )


def _new_model(name: str, origin: Start, recipe: Recipe) -> RewardModel:
    """The model before training, with a new head and, where asked for, adapters."""
    params, head = recipe.params, recipe.head
    adapted = bool(params.lora.rank)
    torch.manual_seed(derive_seed(recipe.seed, "reward", head.comparator) % 2**32)
    model = RewardModel(
        origin.model if adapted else origin.model.float(),
        head.comparator,
        head.planes,
        params.readout,
        params.dropout,
        mixed=origin.precision == "bf16",
    )
    if adapted:
        add_adapters(model.backbone, params.lora, f"{name}: lora", model.network.fresh)
    return model


def _validation_margins(prepared: _Prepared, model: RewardModel) -> Tensor:
    rows = prepared.validation
    margins = pair_margins(Scorer(model, prepared.reader), rows.prompts, rows.chosen, rows.rejected)
    if not bool(margins.isfinite().all()):
        raise TrainingError(
            f"{prepared.name}: rewards of validation pairs are not finite; "
            "lower reward.learning_rate in params.yaml"
        )
    return margins


class _Run(NamedTuple):
    """What one run kept: weights on the CPU, where they were, its best step, its curve."""

    weights: dict[str, Tensor]
    device: torch.device
    best_step: int
    curve: list[Point]


def _run(
    prepared: _Prepared, index: int, scratch: Path, runtime: Runtime, live: Path | None
) -> _Run:
    """Train a copy of the common start."""
    params = prepared.recipe.params
    # A sharded weight belongs to one module.
    copied: Callable[[RewardModel], RewardModel]
    copied = copy.deepcopy if shards(runtime) else copy_sharing_frozen
    module = _PreferenceLoss(copied(prepared.start), prepared.loss, params, copied)
    job = replace(_job(prepared, module, index, scratch), live=live)
    with recomputing(module.model.backbone, runtime.gradient_checkpointing):
        history = run(job, runtime)
    kept = module.kept.state_dict()
    names = prepared.learned if params.lora.rank else kept
    # In one order, since all processes gather a sharded weight together.
    weights = {key: whole(kept[key]).cpu() for key in sorted(names)}
    curve = [{"run": index + 1, **point} for point in history.curve]
    return _Run(weights, module.kept.device, history.best_step, curve)


def _job(prepared: _Prepared, module: _PreferenceLoss, index: int, scratch: Path) -> Job:
    """A run as the training loop takes it."""
    name, recipe = prepared.name, prepared.recipe
    params, comparator = recipe.params, module.model.comparator
    labels = torch.tensor(prepared.validation.labels(prepared.loss))

    def evaluate() -> dict[str, float]:
        margins = _validation_margins(prepared, module.kept)
        return {
            "calibrated_loss": calibrated_loss(margins),
            "accuracy": accuracy(margins.numpy()),
            "loss": float(module.loss.function(margins, labels, module.settings)),
            "margin": float(margins.mean()),
        }

    return Job(
        name=name if params.runs == 1 else f"{name} {index + 1}/{params.runs}",
        module=module,
        rows=prepared.rows,
        collate=partial(_collate, pad_id=prepared.encoder.pad_id, comparator=comparator),
        plan=plan_batches(
            tuple(len(part.rows) for part in prepared.sets),
            prepared.shares,
            params.steps,
            derive_seed(recipe.seed, "reward", "rows", index),
        ),
        optimiser=params,
        evaluate=evaluate,
        best_by="calibrated_loss",
        evaluations=params.evaluations,
        seed=derive_seed(recipe.seed, "reward", "dropout", index),
        scratch=scratch / f"run-{index}",
        after_step=module.follow,
        constant=module.frozen if params.lora.rank else frozenset(),
    )


def _merge(prepared: _Prepared, runs: Sequence[_Run]) -> RewardModel:
    """One model of all runs' weights, in the precision that it is saved in."""
    model = prepared.start.to(runs[0].device).eval()
    if prepared.recipe.params.lora.rank:
        merge_adapters(model, [finished.weights for finished in runs])
    else:
        model.load_state_dict(_mean_weights(runs))
    model.finish(prepared.precision)
    return model


def _mean_weights(runs: Sequence[_Run]) -> dict[str, Tensor]:
    """The mean of every tensor over the runs, in fp32."""
    return {
        key: torch.stack([finished.weights[key].float() for finished in runs]).mean(0)
        for key in runs[0].weights
    }


def _facts(prepared: _Prepared, runs: Sequence[_Run]) -> Facts:
    """What the card says of the pairs and the runs."""
    params = prepared.recipe.params
    return {
        **counts(prepared.sets, prepared.held_out, prepared.reader),
        "steps": params.steps,
        "best_step": round(sum(finished.best_step for finished in runs) / params.runs, 1),
    }


MODELS = ("model", "average.module")
"""Names of the model in training and of its average."""


class _PreferenceLoss(nn.Module):
    """The loss of a batch of pairs, by the model's comparator.

    The moving average of the weights is a submodule, so that checkpoints hold it too. It is what
    validation sees and what is kept: single steps on a few hundred noisy pairs move a reward
    model's accuracy by points.
    """

    def __init__(
        self,
        model: RewardModel,
        loss: Loss,
        params: RewardModelParams,
        copied: Callable[[RewardModel], RewardModel] = copy_sharing_frozen,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.centering = model, loss, params.centering
        self.settings = loss_settings(params)
        decay = params.average_decay
        self.average = MovingAverage(model, decay, copied) if decay else None

    @property
    def kept(self) -> RewardModel:
        """The model that validation sees and that is kept."""
        if self.average is None:
            return self.model
        return self.average.module

    @property
    def frozen(self) -> frozenset[str]:
        """Names of the frozen weights of the model, and of the average's, shared or not."""
        names = frozen_names(self.model, self.model)
        return frozenset(f"{place}.{name}" for place in MODELS for name in names)

    def follow(self) -> None:
        """Let the average follow; to be called after every optimiser step."""
        if self.average is not None:
            self.average.follow(self.model)

    def forward(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        response_ids: Tensor,
        response_mask: Tensor,
        p_chosen: Tensor,
    ) -> dict[str, Tensor]:
        states = self.model.prompt_states(Padded(prompt_ids, prompt_mask))
        outputs = self.model.features(states, Padded(response_ids, response_mask))
        margin = self.model.comparator.margin(outputs)
        loss = self.loss.function(margin, p_chosen, self.settings)
        if self.centering:
            loss = loss + self.centering * centering_penalty(outputs[:, 0, 0], outputs[:, 1, 0])
        right = (margin.detach().sign() + 1) / 2  # ties count half
        return {"loss": loss, "margin": margin.detach(), "accuracy": right}


@dataclass(frozen=True)
class _Row:
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    p_chosen: float


def _encode(encoder: Encoder, pairs: Preferences, loss: Loss) -> list[_Row]:
    columns = zip(
        encoder.prompts(pairs.prompts),
        encoder.responses(pairs.chosen),
        encoder.responses(pairs.rejected),
        pairs.labels(loss),
        strict=True,
    )
    return [_Row(*row) for row in columns]


def _collate(rows: list[_Row], pad_id: int, comparator: Comparator) -> dict[str, Tensor]:
    """A batch: prompts (P, S), and the two rows that the comparator reads for a pair, (P, 2, T)."""
    prompts = pad([row.prompt for row in rows], pad_id)
    both = [ids for row in rows for ids in comparator.rows(row.chosen, row.rejected)]
    responses = pad(both, pad_id)
    return {
        "prompt_ids": prompts.ids,
        "prompt_mask": prompts.mask,
        "response_ids": responses.ids.view(len(rows), 2, -1),
        "response_mask": responses.mask.view(len(rows), 2, -1),
        "p_chosen": torch.tensor([row.p_chosen for row in rows]),
    }
