"""The one function that trains every reward model: base, student, references and autorater.

They differ in their data and comparator only, so that the central comparison does not hang on
two code paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from westofn.artifacts.curve import Point
from westofn.core.calibration import calibrated_loss, calibrating_scale
from westofn.core.comparators import Comparator
from westofn.core.losses import Loss, centering_penalty
from westofn.core.metrics import accuracy
from westofn.core.seeds import derive_seed
from westofn.errors import TrainingError
from westofn.execution.account import LIMIT, Limit
from westofn.models.reward import RewardModel, Scorer, with_reward_statistics
from westofn.models.scoring import pair_margins, score_rows
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
from westofn.params.comparator import ComparatorName
from westofn.params.network import Precision
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder, Padded, pad
from westofn.training.average import MovingAverage
from westofn.training.batches import plan_batches, split_batch
from westofn.training.loop import Job, run
from westofn.training.losses import loss_of, loss_settings
from westofn.training.start import Start, reward_start


@dataclass(frozen=True)
class Preferences:
    """Pairs, row by row.

    Attributes:
        prompts: The prompts.
        chosen: The preferred responses.
        rejected: The other responses.
        p_chosen: The probability that a label is right, 1 for hard labels.
        confidence: The labeller's own probability, which losses with `reads_confidence` read; None
            where it is `p_chosen`.
    """

    prompts: list[str]
    chosen: list[str]
    rejected: list[str]
    p_chosen: list[float]
    confidence: list[float] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def labels(self, loss: Loss) -> list[float]:
        """The probabilities that a loss reads."""
        return (self.confidence if loss.reads_confidence else None) or self.p_chosen

    def take(self, rows: Sequence[int]) -> Preferences:
        """The rows with these indices."""
        return Preferences(
            [self.prompts[i] for i in rows],
            [self.chosen[i] for i in rows],
            [self.rejected[i] for i in rows],
            [self.p_chosen[i] for i in rows],
            None if self.confidence is None else [self.confidence[i] for i in rows],
        )


@dataclass(frozen=True)
class TrainedReward:
    """A trained reward model, facts for its card and metrics, and the curve of its training."""

    scorer: Scorer
    facts: Facts
    curve: list[Point] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingPairs:
    """The pairs of an arm.

    Attributes:
        human: The human pairs, D_L.
        synthetic: The synthetic pairs, D_L', or None.
        validation: Human pairs that pick checkpoints and temperature.
        synthetic_fraction: The share of synthetic pairs in every batch, where there are any; 0
            trains on human pairs alone.
    """

    human: Preferences
    synthetic: Preferences | None
    validation: Preferences
    synthetic_fraction: float = 0.5


@dataclass(frozen=True)
class Head:
    """Which comparator to put on the weights that a reward model starts from."""

    comparator: ComparatorName
    planes: int = 0


@dataclass(frozen=True)
class Recipe:
    """How a reward model is trained, whatever its pairs.

    Attributes:
        policy: Folder of the policy whose limits are taken over, and by default its weights and
            tokenizer.
        start: The section `reward_start`.
        params: Optimiser, loss, dropout, centering, runs.
        seed: The run's seed; arms with equal seeds share the head's initial weights.
        head: The comparator.
    """

    policy: Path
    start: RewardStartParams
    params: RewardModelParams
    seed: int
    head: Head = Head("pointwise")


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
    prepared = _prepare(name, pairs, recipe)
    adapters = facts_of(prepared.start, recipe.params.lora)
    runs = [_run(prepared, index, scratch, runtime, live) for index in range(recipe.params.runs)]
    model = _merge(prepared, runs)
    margins = _validation_margins(prepared, model)
    scorer, calibration = calibrated(model, prepared.encoder, margins, prepared.human)
    facts = _facts(prepared, runs) | calibration | adapters | start_facts(recipe)
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
        reader: The encoder, which remembers the validation texts.
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
        return [row for part in self.sets for row in _encode(self.encoder, part.rows, self.loss)]

    @cached_property
    def learned(self) -> frozenset[str]:
        """Names of the weights that training changes, where adapters are trained."""
        return frozenset(learned_weights(self.start))


def _prepare(name: str, pairs: TrainingPairs, recipe: Recipe) -> _Prepared:
    loss = loss_of(recipe.params, name)
    origin = reward_start(
        recipe.start,
        recipe.policy,
        recipe.head.comparator,
        recipe.seed,
        adapted=bool(recipe.params.lora.rank),
    )
    start, encoder = _new_model(name, origin, recipe), origin.encoder
    sets = [fitting_pairs(name, encoder, pairs.human, "human training pairs")]
    shares: tuple[int, ...] = (recipe.params.batch_size,)
    if pairs.synthetic is not None and pairs.synthetic_fraction:
        sets.append(fitting_pairs(name, encoder, pairs.synthetic, "synthetic pairs"))
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
        held_out=fitting_pairs(name, encoder, pairs.validation, "validation pairs"),
        reader=encoder.remembering(),
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
            f"{prepared.name}: rewards of validation pairs are not finite; lower its learning_rate "
            "in params.yaml"
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
    module = _PreferenceLoss(copy_sharing_frozen(prepared.start), prepared.loss, params)
    job = replace(_job(prepared, module, index, scratch), live=live)
    with recomputing(module.model.backbone, runtime.gradient_checkpointing):
        history = run(job, runtime)
    kept = module.kept.state_dict()
    names = prepared.learned if params.lora.rank else kept
    weights = {key: kept[key].cpu() for key in names}
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
        constant=frozen_names(module, module.model) if params.lora.rank else frozenset(),
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
        **counts(prepared.sets, prepared.held_out, prepared.encoder),
        "steps": params.steps,
        "best_step": round(sum(finished.best_step for finished in runs) / params.runs, 1),
    }


def counts(sets: Sequence[FittingPairs], validation: FittingPairs, encoder: Encoder) -> Facts:
    """Numbers of pairs for a card, see `stage_accounts.reward_model_account`.

    Args:
        sets: The human pairs, and the synthetic ones where there are any.
        validation: The validation pairs.
        encoder: The encoder of the model.
    """
    limit = encoder.template.max_response_tokens
    return {
        "human_pairs": len(sets[0].rows),
        "human_dropped_too_long": sets[0].dropped,
        "synthetic_pairs": sum(len(part.rows) for part in sets[1:]),
        "synthetic_dropped_too_long": sum(part.dropped for part in sets[1:]),
        "validation_pairs": len(validation.rows),
        "validation_dropped_too_long": validation.dropped,
        "prompts_trimmed": sum(sum(encoder.trims(part.rows.prompts)) for part in sets),
        "max_response_tokens": limit,
        # Of human pairs: synthetic ones follow the limit.
        "response_tokens_for_95_percent": Limit.of(limit, sets[0].lengths).for_most,
    }


def start_facts(recipe: Recipe) -> Facts:
    """Which weights the model started from, where they are not the policy's."""
    name = recipe.start.model
    return {} if name == "policy" else {"start": Path(name).name}


def calibrated(
    model: RewardModel, encoder: Encoder, margins: Tensor, human: Preferences
) -> tuple[Scorer, dict[str, float]]:
    """The model scaled to its margins of validation pairs, with statistics of its rewards.

    Args:
        model: A trained model; it is scaled in place.
        encoder: How the model reads text.
        margins: (pairs,), margins of validation pairs.
        human: The training pairs whose rewards RL standardises by.

    Returns:
        The scorer, and facts for its card.
    """
    scale = calibrating_scale(margins)
    model.rescale(scale)
    scorer = Scorer(model, encoder)
    facts = {
        "temperature": float(f"{1 / scale:.4g}"),
        "validation_accuracy": round(accuracy(margins.numpy()), 4),
        "validation_calibrated_loss": round(calibrated_loss(margins), 4),
    }
    return with_reward_statistics(scorer, _rewards(scorer, human)), facts


class _PreferenceLoss(nn.Module):
    """The loss of a batch of pairs, by the model's comparator.

    The moving average of the weights is a submodule, so that checkpoints hold it too. It is what
    validation sees and what is kept: single steps on a few hundred noisy pairs move a reward
    model's accuracy by points.
    """

    def __init__(self, model: RewardModel, loss: Loss, params: RewardModelParams) -> None:
        super().__init__()
        self.model, self.loss, self.centering = model, loss, params.centering
        self.settings = loss_settings(params)
        self.average = MovingAverage(model, params.average_decay) if params.average_decay else None

    @property
    def kept(self) -> RewardModel:
        """The model that validation sees and that is kept."""
        if self.average is None:
            return self.model
        return self.average.module

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


@dataclass(frozen=True)
class FittingPairs:
    """Pairs whose responses both fit, out of some pairs.

    Attributes:
        rows: The pairs that fit.
        lengths: Tokens of the longer response of each pair, of all pairs.
    """

    rows: Preferences
    lengths: list[int]

    @property
    def dropped(self) -> int:
        """Number of pairs that do not fit."""
        return len(self.lengths) - len(self.rows)


def fitting_pairs(name: str, encoder: Encoder, pairs: Preferences, what: str) -> FittingPairs:
    """Find the pairs whose responses both fit.

    Args:
        name: Name of the arm in error messages.
        encoder: The encoder of the model.
        pairs: Pairs, at least one.
        what: Name of the pairs in error messages.

    Raises:
        TrainingError: There are no pairs, or none fits.
    """
    if not len(pairs):
        raise TrainingError(
            f"{name}: there are no {what} in preferences.parquet, needs at least 1; rerun the "
            "stage that writes them"
        )
    limit = encoder.template.max_response_tokens
    sides = map(encoder.response_lengths, (pairs.chosen, pairs.rejected))
    lengths = list(map(max, *sides))
    rows = [index for index, length in enumerate(lengths) if length <= limit]
    if not rows:
        raise TrainingError(
            f"{name}: none of {len(pairs)} {what} fits {LIMIT} {limit}; "
            f"raise it: {Limit.of(limit, lengths).for_most} keeps 95 % of them"
        )
    return FittingPairs(pairs.take(rows), lengths)


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


def _rewards(scorer: Scorer, pairs: Preferences) -> Tensor:
    """The head's first output for both responses of every pair."""
    prompts = [*pairs.prompts, *pairs.prompts]
    return score_rows(scorer, prompts, [*pairs.chosen, *pairs.rejected])[:, 0]
