"""Training beside TRL's RewardTrainer and transformers' Trainer, step by step and as a whole.

Ours and the peer start from the same folder, read the same texts in the same order in fp32, take
the same steps of the same AdamW, evaluate the same validation rows at the end and save a
checkpoint; their losses must agree. The time of the steps runs from the beginning of the first to
the end of the last one. The whole call also loads, tokenises, evaluates and saves; ours also keeps
a moving average, fits the temperature and reads rewards for their mean and standard deviation.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets  # type: ignore[import-untyped]
import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    PrinterCallback,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.speed.models import FAMILIES, SIZES, Case, Size, case_of
from benchmarks.speed.rounds import Part, Timed, compare
from westofn.models.policy import load_policy, save_policy
from westofn.models.reward import RewardModel
from westofn.networks.network import freeze_vocabulary_projection
from westofn.params.file import load_section
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams
from westofn.params.sft import SftParams
from westofn.runtime import Runtime
from westofn.text.encoding import pad
from westofn.training import loop, preference, sft
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.recipe import Recipe

STEPS = 25
BATCH = 32
VALIDATION = 64
IGNORED = -100
LOGGED = 5
"""Steps between two losses of the peers; ours logs every step."""
REWARD_RATE = 1e-4
"""Of the default rate, rounding alone parts two trainings within a few steps."""
CPU = Runtime(device="cpu")
LONG = Size("500 words", SIZES[0].model, prompts=0, prompt=500, response=20, candidates=2)
NO_TRL = "left out, since TRL is not installed: pip install -e '.[trl]'"


@dataclass(frozen=True)
class Lesson:
    """A saved policy, and what it learns from.

    Attributes:
        case: The policy, a prompt a row, and two responses to each.
        folder: Where the policy is saved.
        steps: Number of steps, each of which reads new rows.
        batch: Rows of a batch; the rows after those of all batches are for validation.
    """

    case: Case
    folder: Path
    steps: int
    batch: int

    @property
    def train(self) -> Preferences:
        """The rows to learn from."""
        return self._rows(slice(0, self.steps * self.batch))

    @property
    def validation(self) -> Preferences:
        """The other rows."""
        return self._rows(slice(self.steps * self.batch, None))

    def _rows(self, part: slice) -> Preferences:
        prompts, pools = self.case.prompts[part], self.case.pools[part]
        chosen, rejected = ([f" {pool[side]}" for pool in pools] for side in (0, 1))
        return Preferences(prompts, chosen, rejected, [1.0] * len(prompts))

    @cached_property
    def head(self) -> Tensor:
        """Weights of the reward head from which ours and the peer start, (1, width)."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(1, self.case.policy.network.width, generator=generator) / 10

    @cached_property
    def reward(self) -> RewardModelParams:
        """The default recipe without dropout, of one run, as sequence classifiers read rows."""
        return load_section(RewardModelParams).model_copy(
            update={
                "steps": self.steps,
                "batch_size": self.batch,
                "readout": "last",
                "dropout": 0.0,
                "centering": 0.0,
                "runs": 1,
                "evaluations": 1,
                "learning_rate": REWARD_RATE,
            }
        )

    @cached_property
    def sft(self) -> SftParams:
        """The default recipe from the saved policy."""
        limits = self.case.policy.encoder.template
        return load_section(SftParams).model_copy(
            update={
                "model": str(self.folder),
                "steps": self.steps,
                "batch_size": self.batch,
                "evaluations": 1,
                "max_prompt_tokens": limits.max_prompt_tokens,
                "max_response_tokens": limits.max_response_tokens,
            }
        )


@dataclass(frozen=True)
class Trained:
    """What a training told.

    Attributes:
        losses: Means of the losses of each `LOGGED` steps.
        seconds: Processor time of the steps.
    """

    losses: list[float]
    seconds: float


class _Clock(TrainerCallback):
    """Takes the processor time from the beginning of the first step to the end of the last."""

    def __init__(self) -> None:
        self.started = self.ended = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.started = self.started or time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ended = time.process_time()

    @property
    def seconds(self) -> float:
        return self.ended - self.started


def measure(rounds: int, steps: int = STEPS, batch: int = BATCH) -> list[Timed]:
    """Time every family, with short prompts and, beside TRL, with long ones.

    Args:
        rounds: Number of rounds.
        steps: Number of steps of a training.
        batch: Rows of a batch.
    """
    timed = []
    for family, name in FAMILIES.items():
        with lesson_of(f"{name}, embedded", family, SIZES[0], steps, batch) as lesson:
            timed += measure_reward(lesson, rounds) + measure_sft(lesson, rounds)
    with lesson_of("Llama, 500 words", "causal", LONG, steps, max(2, batch // 8)) as lesson:
        timed += measure_reward(lesson, rounds)
    return timed


@contextmanager
def lesson_of(name: str, family: str, size: Size, steps: int, batch: int) -> Iterator[Lesson]:
    """Save a policy in a folder that is removed afterwards."""
    rows = steps * batch + VALIDATION
    case = case_of(name, family, replace(size, prompts=rows, candidates=2))
    with tempfile.TemporaryDirectory(prefix="lesson-") as folder:
        save_policy(case.policy, Path(folder) / "policy", [(case.prompts[0], case.pools[0][0])], {})
        yield Lesson(case, Path(folder) / "policy", steps, batch)


def has_trl() -> bool:
    """Return whether TRL is installed."""
    return find_spec("trl") is not None


def measure_reward(lesson: Lesson, rounds: int) -> list[Timed]:
    """Time the training of a reward model; there are no rows if its peer is not installed."""
    causal = lesson.case.policy.network.family == "causal"
    if causal and not has_trl():
        print(f"{lesson.case.name}: {NO_TRL}", flush=True)
        return []
    peer = "TRL's RewardTrainer" if causal else "transformers' Trainer, a row a response"
    return _compare(
        lesson, "reward model", peer, _our_reward_model, _trl if causal else _row_by_row, rounds
    )


def measure_sft(lesson: Lesson, rounds: int) -> list[Timed]:
    """Time supervised fine-tuning."""
    return _compare(lesson, "SFT", "transformers' Trainer", _our_sft, _their_sft, rounds)


def _compare(
    lesson: Lesson,
    what: str,
    peer: str,
    ours: Callable[[Lesson, Path], Trained],
    theirs: Callable[[Lesson, Path], Trained],
    rounds: int,
) -> list[Timed]:
    def in_new_folder(work: Callable[[Lesson, Path], Trained]) -> Trained:
        with tempfile.TemporaryDirectory(prefix="training-") as folder:
            return work(lesson, Path(folder))

    name = f"{lesson.case.name}: {what}, {lesson.steps} steps"
    return compare(
        f"{name}, whole call",
        lambda: in_new_folder(ours),
        {peer: lambda: in_new_folder(theirs)},
        rounds,
        _have_equal_losses,
        Part(name, lambda trained: float(trained.seconds)),
    )


def _have_equal_losses(ours: object, theirs: object) -> bool:
    assert isinstance(ours, Trained)
    assert isinstance(theirs, Trained)
    assert len(ours.losses) == len(theirs.losses) > 0
    return np.allclose(ours.losses, theirs.losses, rtol=1e-3, atol=1e-4)


@contextmanager
def _timed_in_order(clock: _Clock) -> Iterator[None]:
    """Let our trainings read the rows in their order, and a clock watch them."""

    def in_order(sizes: tuple[int, ...], _: object, steps: int, __: int) -> Any:
        return np.arange(*sizes).reshape(steps, -1)

    with (
        patch.object(preference, "plan_batches", in_order),
        patch.object(sft, "plan_batches", in_order),
        patch.object(loop, "watchers", lambda *_: [clock]),
    ):
        yield


def _told(curve: list[Any], clock: _Clock) -> Trained:
    losses = [point["loss"] for point in curve if point["split"] == "train"]
    return Trained(np.reshape(losses, (-1, LOGGED)).mean(1).tolist(), clock.seconds)


def _our_reward_model(lesson: Lesson, folder: Path) -> Trained:
    new_model = preference._new_model

    def with_head(*given: Any) -> RewardModel:
        model = new_model(*given)
        model.head.weight.data.copy_(lesson.head)
        return model

    clock = _Clock()
    with _timed_in_order(clock), patch.object(preference, "_new_model", with_head):
        trained = preference.train_reward_model(
            "student_rm",
            TrainingPairs(lesson.train, None, lesson.validation),
            Recipe(lesson.folder, load_section(RewardStartParams), lesson.reward, seed=0),
            folder,
            CPU,
        )
    return _told(trained.curve, clock)


def _our_sft(lesson: Lesson, folder: Path) -> Trained:
    clock = _Clock()
    train, validation = (
        sft.Examples(rows.prompts, rows.chosen) for rows in (lesson.train, lesson.validation)
    )
    with _timed_in_order(clock):
        trained = sft.train_sft(train, validation, lesson.sft, seed=0, scratch=folder, runtime=CPU)
    return _told(trained.curve, clock)


def _settings(
    lesson: Lesson, params: RewardModelParams | SftParams, folder: Path
) -> dict[str, Any]:
    """What a peer is asked for, so that it does what ours does."""
    return {
        "output_dir": str(folder),
        "max_steps": lesson.steps,
        "per_device_train_batch_size": lesson.batch,
        "per_device_eval_batch_size": VALIDATION,
        "learning_rate": params.learning_rate,
        "lr_scheduler_type": loop.SCHEDULES[params.schedule],
        "warmup_steps": math.ceil(params.warmup_fraction * lesson.steps),
        "weight_decay": params.weight_decay,
        "adam_beta1": params.adam_beta1,
        "adam_beta2": params.adam_beta2,
        "adam_epsilon": params.adam_epsilon,
        "max_grad_norm": params.max_gradient_norm,
        "train_sampling_strategy": "sequential",
        "eval_strategy": "steps",
        "eval_steps": lesson.steps,
        "logging_steps": LOGGED,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }


def _train(trainer: Trainer) -> Trained:
    clock = _Clock()
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    history = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return Trained(history, clock.seconds)


def _trl(lesson: Lesson, folder: Path) -> Trained:
    from trl import RewardConfig, RewardTrainer  # type: ignore[import-not-found,unused-ignore]

    tokenizer = lesson.case.policy.tokenizer
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        lesson.folder, num_labels=1, dtype=torch.float32, trust_remote_code=False
    )
    model.score.weight.data.copy_(lesson.head)
    train, validation = (
        datasets.Dataset.from_dict(
            {"prompt": rows.prompts, "chosen": rows.chosen, "rejected": rows.rejected}
        )
        for rows in (lesson.train, lesson.validation)
    )
    args = RewardConfig(
        **_settings(lesson, lesson.reward, folder),
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
    )
    return _train(RewardTrainer(model, args, None, train, validation, processing_class=tokenizer))


class _RowByRow(T5ForConditionalGeneration):
    """A T5 with a reward head that reads prompt and response of every row."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        freeze_vocabulary_projection(self)
        self.reward = nn.Linear(config.d_model, 1, bias=False)

    def forward(self, prompts: Tensor, mask: Tensor, responses: Tensor, last: Tensor) -> Any:
        encoded = self.encoder(input_ids=prompts, attention_mask=mask).last_hidden_state
        states = self.decoder(
            input_ids=responses,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        rewards = self.reward(states[torch.arange(len(last)), last]).squeeze(-1)
        chosen, rejected = rewards.chunk(2)
        return {"loss": -nn.functional.logsigmoid(chosen - rejected).mean(), "rewards": rewards}


def _row_by_row(lesson: Lesson, folder: Path) -> Trained:
    model: Any = _RowByRow.from_pretrained(lesson.folder, trust_remote_code=False)
    model.reward.weight.data.copy_(lesson.head)
    encoder, start = lesson.case.policy.encoder, model.config.decoder_start_token_id
    rows = [
        list(
            zip(
                encoder.prompts(part.prompts),
                encoder.responses(part.chosen),
                encoder.responses(part.rejected),
                strict=True,
            )
        )
        for part in (lesson.train, lesson.validation)
    ]

    def collate(batch: list[tuple[list[int], ...]]) -> dict[str, Tensor]:
        prompts = pad([row[0] for row in batch] * 2, encoder.pad_id)
        responses = [[start, *row[side]] for side in (1, 2) for row in batch]
        return {
            "prompts": prompts.ids,
            "mask": prompts.mask.long(),
            "responses": pad(responses, encoder.pad_id).ids,
            "last": torch.tensor([len(row) - 1 for row in responses]),
        }

    return _train(_trainer(model, collate, rows, _settings(lesson, lesson.reward, folder)))


def _their_sft(lesson: Lesson, folder: Path) -> Trained:
    policy = load_policy(lesson.folder)
    encoder = policy.encoder
    causal = policy.network.family == "causal"
    rows = [
        list(zip(encoder.prompts(part.prompts), encoder.responses(part.chosen), strict=True))
        for part in (lesson.train, lesson.validation)
    ]

    def collate(batch: list[tuple[list[int], ...]]) -> dict[str, Tensor]:
        read = [x + y for x, y in batch] if causal else [x for x, _ in batch]
        answers = [[IGNORED] * len(x) + y for x, y in batch] if causal else [y for _, y in batch]
        padded = pad(read, encoder.pad_id)
        return {
            "input_ids": padded.ids,
            "attention_mask": padded.mask.long(),
            "labels": pad(answers, IGNORED).ids,
        }

    return _train(_trainer(policy.model, collate, rows, _settings(lesson, lesson.sft, folder)))


def _trainer(model: Any, collate: Any, rows: list[Any], settings: dict[str, Any]) -> Trainer:
    return Trainer(
        model,
        TrainingArguments(**settings, remove_unused_columns=False),
        collate,
        train_dataset=rows[0],
        eval_dataset=rows[1],
    )
