"""The one function that trains every reward model: base, student, references and autorater.

They differ in their data and comparator only, so that the central comparison does not hang on
two code paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from westofn.core.calibration import calibrated_loss, calibrating_scale
from westofn.core.comparators import pair_margin
from westofn.core.losses import bradley_terry_loss, centering_penalty
from westofn.core.metrics import accuracy
from westofn.core.seeds import derive_seed
from westofn.errors import TrainingError
from westofn.models.reward import RewardModel, Scorer, with_reward_statistics
from westofn.models.scoring import pair_margins, score_rows
from westofn.networks.adapters import (
    add_adapters,
    copy_sharing_frozen,
    facts_of,
    frozen_names,
    learned_weights,
    merge_adapters,
)
from westofn.networks.recompute import recomputing
from westofn.params.comparator import Comparator
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder, Padded, pad
from westofn.training.average import MovingAverage
from westofn.training.batches import plan_batches, split_batch
from westofn.training.loop import Job, run
from westofn.training.start import reward_start


@dataclass(frozen=True)
class Preferences:
    """Pairs, row by row; p_chosen is the probability that chosen is better, 1 for hard labels."""

    prompts: list[str]
    chosen: list[str]
    rejected: list[str]
    p_chosen: list[float]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: Sequence[int]) -> Preferences:
        """Some of the rows."""
        return Preferences(
            [self.prompts[i] for i in rows],
            [self.chosen[i] for i in rows],
            [self.rejected[i] for i in rows],
            [self.p_chosen[i] for i in rows],
        )


@dataclass(frozen=True)
class TrainedReward:
    """A trained reward model, and facts for its card and metrics."""

    scorer: Scorer
    facts: dict[str, float | int | str]


@dataclass(frozen=True)
class Head:
    """Which comparator to put on the weights that a reward model starts from."""

    comparator: Comparator
    planes: int = 0


def train_reward_model(
    name: str,
    human: Preferences,
    synthetic: Preferences | None,
    validation: Preferences,
    *,
    policy: Path,
    start: RewardStartParams,
    head: Head,
    params: RewardModelParams,
    synthetic_fraction: float,
    seed: int,
    scratch: Path,
    runtime: Runtime,
) -> TrainedReward:
    """Train a reward model from a policy's weights, or from where `reward_start` says.

    Every run keeps its validation-best checkpoint. The weights of `params.runs` runs, which start
    alike and differ in the order of batches and in dropout, are averaged (Ramé et al. 2024, arXiv
    2401.12187). The head is then scaled by the temperature that fits the validation pairs (Guo et
    al. 2017), so that σ(margin) is a probability: the order of responses does not change, and RL
    standardises rewards anyway.

    Args:
        name: For errors and the seed's stream of dropout.
        human: D_L.
        synthetic: D_L', or None; where given, every batch holds `synthetic_fraction` of it, which
            may be 0.
        validation: Human pairs that pick checkpoints and temperature.
        policy: Folder of the policy whose limits are taken over, and by default its weights and
            tokenizer.
        start: The section `reward_start`.
        head: The comparator.
        params: Optimiser, dropout, centering, runs.
        synthetic_fraction: See synthetic.
        seed: The run's seed; arms with equal seeds share the head's initial weights.
        scratch: Folder for checkpoints.
        runtime: Hardware settings.

    Raises:
        ModelError: The start cannot be loaded, or its positions end before the limits.
        TrainingError: A set has no pair that fits the template, or the loss is not finite.
    """
    adapted = bool(params.lora.rank)
    origin = reward_start(start, policy, head.comparator, seed, adapted=adapted)
    encoder, precision = origin.encoder, origin.precision
    torch.manual_seed(derive_seed(seed, "reward", head.comparator) % 2**32)
    first = RewardModel(
        origin.model if adapted else origin.model.float(),
        head.comparator,
        head.planes,
        params.readout,
        params.dropout,
        mixed=precision == "bf16",
    )
    if adapted:
        add_adapters(first.backbone, params.lora, f"{name}: lora", first.network.fresh)
    human_rows, human_dropped = fitting_pairs(name, encoder, human, "human training pairs")
    sets = [human_rows]
    shares: tuple[int, ...] = (params.batch_size,)
    synthetic_dropped = 0
    if synthetic is not None and synthetic_fraction:
        rows, synthetic_dropped = fitting_pairs(name, encoder, synthetic, "synthetic pairs")
        sets.append(rows)
        shares = split_batch(params.batch_size, synthetic_fraction)
    held_out, _ = fitting_pairs(name, encoder, validation, "validation pairs")
    encoded = [row for rows in sets for row in _encode(encoder, rows)]

    reader = encoder.remembering()

    def validation_margins(model: RewardModel) -> Tensor:
        scorer = Scorer(model, reader)
        margins = pair_margins(scorer, held_out.prompts, held_out.chosen, held_out.rejected)
        if not bool(margins.isfinite().all()):
            raise TrainingError(
                f"{name}: rewards of validation pairs are not finite; lower its learning_rate in "
                "params.yaml"
            )
        return margins

    def train(index: int) -> _Run:
        """One run from the common start."""
        module = _PreferenceLoss(copy_sharing_frozen(first), params.centering, params.average_decay)

        def evaluate() -> dict[str, float]:
            margins = validation_margins(module.kept)
            return {
                "calibrated_loss": calibrated_loss(margins),
                "accuracy": accuracy(margins.numpy()),
            }

        job = Job(
            name=name if params.runs == 1 else f"{name} {index + 1}/{params.runs}",
            module=module,
            rows=encoded,
            collate=lambda some: _collate(some, encoder.pad_id, head.comparator == "joint"),
            plan=plan_batches(
                tuple(map(len, sets)),
                shares,
                params.steps,
                derive_seed(seed, "reward", "rows", index),
            ),
            optimiser=params,
            evaluate=evaluate,
            best_by="calibrated_loss",
            evaluations=params.evaluations,
            seed=derive_seed(seed, "reward", "dropout", index),
            scratch=scratch / f"run-{index}",
            after_step=module.follow,
            constant=frozen_names(module, module.model) if adapted else frozenset(),
        )
        with recomputing(module.model.backbone, runtime.gradient_checkpointing):
            history = run(job, runtime)
        kept = module.kept.state_dict()
        weights = {key: kept[key].cpu() for key in (learned if adapted else kept)}
        return _Run(weights, module.kept.device, history.best_step)

    learned = learned_weights(first)
    adapters = facts_of(first, params.lora)
    runs = [train(index) for index in range(params.runs)]
    model = first.to(runs[0].device).eval()
    if adapted:
        merge_adapters(model, [one.weights for one in runs])
    else:
        model.load_state_dict(_mean_weights(runs))
    model.finish(precision)
    margins = validation_margins(model)
    scorer, calibration = calibrated(model, encoder, margins, human_rows)
    facts: dict[str, float | int | str] = {
        "human_pairs": len(human_rows),
        "human_dropped_too_long": human_dropped,
        "synthetic_pairs": sum(map(len, sets[1:])),
        "synthetic_dropped_too_long": synthetic_dropped,
        "steps": params.steps,
        "best_step": round(sum(one.best_step for one in runs) / params.runs, 1),
        **calibration,
        **adapters,
    }
    if start.model != "policy":
        facts["start"] = Path(start.model).name
    return TrainedReward(scorer, facts)


def calibrated(
    model: RewardModel, encoder: Encoder, margins: Tensor, human: Preferences
) -> tuple[Scorer, dict[str, float]]:
    """The model scaled to its margins of validation pairs, with statistics of its rewards.

    Args:
        model: Trained; it is scaled in place.
        encoder: Of its texts.
        margins: (pairs,) of validation pairs.
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


class _Run(NamedTuple):
    """What one run kept: its weights on the CPU, where they were, and the step that was best."""

    weights: dict[str, Tensor]
    device: torch.device
    best_step: int


def _mean_weights(runs: Sequence[_Run]) -> dict[str, Tensor]:
    """The mean of every tensor over the runs, in fp32."""
    return {
        key: torch.stack([one.weights[key].float() for one in runs]).mean(0)
        for key in runs[0].weights
    }


class _PreferenceLoss(nn.Module):
    """Bradley–Terry loss of a batch of pairs under the model's comparator.

    The moving average of the weights is a submodule, so that checkpoints hold it too. It is what
    validation sees and what is kept: single steps on a few hundred noisy pairs move a reward
    model's accuracy by points.
    """

    def __init__(self, model: RewardModel, centering: float, decay: float) -> None:
        super().__init__()
        self.model, self.centering = model, centering
        self.average = MovingAverage(model, decay) if decay else None

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
        features = self.model.features(states, Padded(response_ids, response_mask))
        chosen, rejected = features[:, 0], features[:, 1]
        if self.model.comparator == "joint":
            # The two columns are the two orders of the same pair.
            margin = (chosen[:, 0] - rejected[:, 0]) / 2
        else:
            margin = pair_margin(chosen, rejected)
        loss = bradley_terry_loss(margin, p_chosen)
        if self.centering:
            loss = loss + self.centering * centering_penalty(chosen[:, 0], rejected[:, 0])
        return {"loss": loss}


@dataclass(frozen=True)
class _Row:
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    p_chosen: float


def fitting_pairs(
    name: str, encoder: Encoder, pairs: Preferences, what: str
) -> tuple[Preferences, int]:
    """Pairs whose responses both fit, and how many do not."""
    if not len(pairs):
        raise TrainingError(
            f"{name}: there are no {what} in preferences.parquet, needs at least 1; rerun the "
            "stage that writes them"
        )
    both = zip(encoder.fits(pairs.chosen), encoder.fits(pairs.rejected), strict=True)
    rows = [index for index, (a, b) in enumerate(both) if a and b]
    if not rows:
        limit = encoder.template.max_response_tokens
        raise TrainingError(
            f"{name}: none of {len(pairs)} {what} fits sft.max_response_tokens {limit}; raise it"
        )
    return pairs.take(rows), len(pairs) - len(rows)


def _encode(encoder: Encoder, pairs: Preferences) -> list[_Row]:
    columns = zip(
        encoder.prompts(pairs.prompts),
        encoder.responses(pairs.chosen),
        encoder.responses(pairs.rejected),
        pairs.p_chosen,
        strict=True,
    )
    return [_Row(*row) for row in columns]


def _collate(rows: list[_Row], pad_id: int, joint: bool) -> dict[str, Tensor]:
    """(P, S) prompts and (P, 2, T) responses: chosen and rejected, or both orders."""
    prompts = pad([row.prompt for row in rows], pad_id)
    pairs = [
        response
        for row in rows
        for response in (
            (row.chosen + row.rejected, row.rejected + row.chosen)
            if joint
            else (row.chosen, row.rejected)
        )
    ]
    responses = pad(pairs, pad_id)
    return {
        "prompt_ids": prompts.ids,
        "prompt_mask": prompts.mask,
        "response_ids": responses.ids.view(len(rows), 2, -1),
        "response_mask": responses.mask.view(len(rows), 2, -1),
        "p_chosen": torch.tensor([row.p_chosen for row in rows]),
    }


def _rewards(scorer: Scorer, pairs: Preferences) -> Tensor:
    """Rewards of both responses of every pair; the head's first output."""
    prompts = [*pairs.prompts, *pairs.prompts]
    return score_rows(scorer, prompts, [*pairs.chosen, *pairs.rejected])[:, 0]
