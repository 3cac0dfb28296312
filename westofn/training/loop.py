"""transformers' Trainer, set up the same way for SFT and for every reward model.

AdamW, linear warm-up and a schedule; batches planned from the seed; checkpoints in a
scratch folder from which a killed run goes on; one optimiser step is one global batch whatever the
number of processes and the size of a micro-batch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset, Sampler
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints
from transformers.utils import SAFE_WEIGHTS_NAME

from westofn.artifacts.curve import Point
from westofn.artifacts.integrity import damage, write_manifest
from westofn.errors import ParameterError, TrainingError
from westofn.execution.damage import drop, not_tensors, remove
from westofn.execution.pace import Pace
from westofn.execution.processes import count, is_first, shards
from westofn.networks.sharding import (
    gathered,
    is_sharded,
    load_optimiser,
    load_whole,
    shard,
    whole,
)
from westofn.params.optimiser import OptimiserParams
from westofn.progress import Task, working
from westofn.runtime import Runtime
from westofn.training.average import MovingAverage
from westofn.training.batches import PlannedSampler
from westofn.training.curves import curve_of, logged_steps
from westofn.training.reports import finish, run_name, watchers

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
"""The names that transformers has for them."""
SINCE_LOGGED = "since_logged.pt"
KEPT = 2
"""Checkpoints that are kept: the newest and the best, or the one before."""


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        name: Shown in errors.
        module: Its forward takes a collated batch as keywords and returns {"loss": scalar} and
            perhaps measures by name, (rows,) each, whose means the curve shows.
        rows: The training set; `plan` indexes it.
        collate: Rows to a batch of tensors.
        plan: (steps, batch_size) indices.
        optimiser: Steps, learning rate, and so on.
        evaluate: Returns validation metrics by name, without a prefix.
        best_by: The metric whose smallest value picks the checkpoint; None keeps the last.
        evaluations: How often to evaluate.
        seed: Seed of dropout.
        scratch: Folder for checkpoints.
        after_step: Called after every optimiser step.
        constant: Names of weights that do not change; checkpoints do not hold them.
        live: Where DVCLive's files go while it runs; None writes none.
    """

    name: str
    module: nn.Module
    rows: Sequence[Any]
    collate: Callable[[list[Any]], dict[str, torch.Tensor]]
    plan: np.ndarray
    optimiser: OptimiserParams
    evaluate: Callable[[], dict[str, float]]
    best_by: str | None
    evaluations: int
    seed: int
    scratch: Path
    after_step: Callable[[], None] = lambda: None
    constant: frozenset[str] = frozenset()
    live: Path | None = None


@dataclass(frozen=True)
class History:
    """What a run went through.

    Attributes:
        evaluations: One row an evaluation: step and the validation metrics.
        best_step: The step of the checkpoint that the module now holds.
        curve: Records of training and validation, see `curve_of`. Loss, accuracy and margin of
            training are means since the record before; learning rate and gradient norm (before
            clipping) are those of the step.
    """

    evaluations: list[dict[str, float]]
    best_step: int
    curve: list[Point]


def run(job: Job, runtime: Runtime) -> History:
    """Train the module in place; afterwards it holds the chosen checkpoint.

    Raises:
        TrainingError: The loss is not finite.
        DataError: A checkpoint holds something else than tensors and numbers.
        ParameterError: The batch cannot be divided as the runtime asks, or it reports to what
            cannot be used.
    """
    steps, evaluations = job.optimiser.steps, min(job.evaluations, job.optimiser.steps)
    every = -(-steps // evaluations)
    pace = Pace(runtime)
    arguments = _arguments(job, runtime, every)
    if shards(runtime):
        averages = [part for part in job.module.modules() if isinstance(part, MovingAverage)]
        shard(job.module, arguments.device, averages)  # validation reads these, training does not
    trainer = _Trainer(
        job=job,
        pace=pace,
        model=job.module,
        args=arguments,
        train_dataset=_Rows(job.rows),
        eval_dataset=_Rows([]),  # asked for by transformers; `evaluate` does not read it
        data_collator=job.collate,
        callbacks=[
            _StopOnNan(job.name),
            _AfterStep(job.after_step),
            _LogAt(frozenset(logged_steps(steps, every))),
            _SaveInTime(pace),
            *watchers(runtime, job.name, job.live),
        ],
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    with trainer.args.main_process_first(local=False):  # it removes what is damaged
        last = _last_checkpoint(job.name, job.scratch)
    with working(job.name, steps, "steps") as progress:
        trainer.add_callback(_Progress(progress))
        if last:
            trainer.add_callback(_TakeUp(lambda: trainer.take_up(Path(last))))
        try:
            trainer.train(resume_from_checkpoint=last)
        except UnpicklingError as error:  # a checkpoint is read without running what is in it
            raise not_tensors(job.name, str(last), error) from None
    finish(runtime)
    rows = [
        {key.removeprefix("eval_"): value for key, value in row.items()}
        for row in trainer.state.log_history
        if any(key.startswith("eval_") for key in row)
    ]
    best = trainer.state.best_global_step if job.best_by else None
    return History(rows, best or steps, curve_of(trainer.state.log_history))


def _last_checkpoint(name: str, folder: Path) -> str | None:
    """The newest whole checkpoint whose best one is whole too; those that are not are dropped.

    A checkpoint that a kill cut short has no manifest, and is dropped as well.
    """
    paths = {
        int(match[1]): path
        for path in folder.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    faults = {step: fault for step, path in paths.items() if (fault := damage(path))}
    whole = sorted(set(paths) - set(faults))
    best = {step: _best_of(paths[step]) for step in whole}
    last = max((step for step in whole if best[step] in (None, *whole)), default=None)
    unusable = [step for step in paths if step in faults or last is None or step > last]
    follows = "training starts again" if last is None else f"training goes on from step {last}"
    if faults:
        newest = max(faults)
        drop(name, paths.pop(newest), faults[newest], follows)
    for step in set(unusable) & set(paths):
        remove(paths[step])
    return None if last is None else str(paths[last])


def _best_of(checkpoint: Path) -> int | None:
    """The step of the checkpoint with the best weights so far; None where the last are kept."""
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    return int(state["best_global_step"] or 0) or None


def _arguments(job: Job, runtime: Runtime, every: int) -> TrainingArguments:
    optimiser = job.optimiser
    device = runtime.device or ("cuda" if torch.cuda.is_available() else "cpu")
    processes = count()
    micro = runtime.micro_batch or optimiser.batch_size // processes
    if optimiser.batch_size % (micro * processes):
        raise ParameterError(
            f"{job.name}: batch_size {optimiser.batch_size} is not a multiple of micro_batch "
            f"{micro} × {processes} processes; change micro_batch in runtime.toml"
        )
    return TrainingArguments(
        output_dir=str(job.scratch),
        max_steps=optimiser.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=optimiser.batch_size // (micro * processes),
        learning_rate=optimiser.learning_rate,
        lr_scheduler_type=SCHEDULES[optimiser.schedule],
        warmup_steps=math.ceil(optimiser.warmup_fraction * optimiser.steps),
        weight_decay=optimiser.weight_decay,
        adam_beta1=optimiser.adam_beta1,
        adam_beta2=optimiser.adam_beta2,
        adam_epsilon=optimiser.adam_epsilon,
        max_grad_norm=optimiser.max_gradient_norm,
        optim="adamw_torch_fused",
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        load_best_model_at_end=job.best_by is not None,
        metric_for_best_model=f"eval_{job.best_by}" if job.best_by else None,
        greater_is_better=False if job.best_by else None,
        logging_strategy="no",  # `_LogAt` says when
        logging_nan_inf_filter=False,
        report_to=[],  # `watchers` are given as callbacks
        run_name=run_name(runtime, job.name),
        remove_unused_columns=False,
        label_names=[],
        use_cpu=device == "cpu",
        ddp_find_unused_parameters=False,  # there are none, and torch warns of looking for them
        seed=job.seed % 2**32,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        save_only_model=False,
    )


class _Rows(Dataset[Any]):
    """A sequence as a torch data set."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


class _Trainer(Trainer):
    """Planned batches, our own validation, and checkpoints of modules with shared tensors."""

    def __init__(self, *, job: Job, pace: Pace, **options: Any) -> None:
        super().__init__(**options)
        self.job, self.pace = job, pace
        self.sharded = is_sharded(job.module)
        if self.sharded:  # else accelerate would copy it to every process, as ddp does
            accelerator: Any = self.accelerator
            accelerator.prepare_model = partial(accelerator.prepare_model, evaluation_mode=True)
        self._measured: dict[str, torch.Tensor] = {}

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return PlannedSampler(self.job.plan)  # type: ignore[return-value]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        for name in outputs.keys() - {"loss"}:
            values = outputs[name].detach().float()
            total = torch.stack([values.sum(), torch.ones_like(values).sum()])
            self._measured[name] = self._measured.get(name, 0) + total
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name in sorted(self._measured):
                total, rows = self.accelerator.reduce(self._measured[name], "sum").tolist()
                logs[name] = total / rows
            self._measured = {}
        super().log(logs, start_time)

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor:
        trainer: Any = super()
        norm: torch.Tensor = whole(trainer._clip_grad_norm(model))
        return norm

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self.job.module.eval()
        with gathered(self.job.module), torch.inference_mode():
            metrics = {f"eval_{key}": value for key, value in self.job.evaluate().items()}
        for key, value in metrics.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self.job.name}: {key} is {value} at step {self.state.global_step}; "
                    f"{_slower(self.job.name)}"
                )
        self.job.module.train()
        self.log(dict(metrics))  # it adds the epoch to what it is given
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        learned = self._learned_state()
        if self.sharded:
            learned = whole(learned, kept=self.args.should_save)
        else:  # safetensors refuses tensors that share memory, such as T5's embeddings
            learned = {name: value.clone() for name, value in learned.items()}
        super()._save(output_dir, learned)

    def _learned_state(self) -> dict[str, torch.Tensor]:
        state = self.job.module.state_dict()
        return {name: value for name, value in state.items() if name not in self.job.constant}

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.sharded:  # transformers would gather the constant weights too
            self._save(output_dir)
        else:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # In the form of a single process, so that a run can go on with any number of them.
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        state = whole(self.optimizer.state_dict(), kept=self.args.should_save)
        if self.args.should_save:
            torch.save(state, Path(output_dir, OPTIMIZER_NAME))
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.sharded or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        state = torch.load(Path(checkpoint, OPTIMIZER_NAME), "cpu", weights_only=True, mmap=True)
        load_optimiser(self.optimizer, state)
        schedule = torch.load(Path(checkpoint, SCHEDULER_NAME), weights_only=True)
        self.lr_scheduler.load_state_dict(schedule)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        if not self.sharded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_whole(self.job.module, load_file(Path(resume_from_checkpoint, SAFE_WEIGHTS_NAME)))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # What a checkpoint leaves out by intention is no news.
        missing = [key for key in load_result.missing_keys if key not in self.job.constant]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with self.pace.saving():
            super()._save_checkpoint(model, trial)
            folder = self.job.scratch / f"checkpoint-{self.state.global_step}"
            since = self._since_logged()
            self.accelerator.wait_for_everyone()  # every process writes its generator's state
            if is_first():
                torch.save(since, folder / SINCE_LOGGED)
                write_manifest(folder)
                # Only now, so that a kill leaves a whole one.
                rotate_checkpoints(str(self.job.scratch), KEPT, self.state.best_model_checkpoint)
            self.accelerator.wait_for_everyone()

    def _since_logged(self) -> tuple[int, torch.Tensor, dict[str, torch.Tensor]]:
        """What all processes measured since the last record: its step, mean loss, sums by name."""
        accelerator = self.accelerator
        loss = accelerator.reduce(self._tr_loss, "mean")
        sums = {name: accelerator.reduce(self._measured[name]) for name in sorted(self._measured)}
        return self._globalstep_last_logged, loss, sums

    def take_up(self, checkpoint: Path) -> None:
        """Go on with the means of the curve where a checkpoint between two records left them.

        The run may have had another number of processes, so each takes an equal part of the sums.
        """
        path = checkpoint / SINCE_LOGGED
        if path.is_file():
            # Not straight to the device: it may be called cpu:0, to which torch cannot load.
            logged, loss, sums = torch.load(path, "cpu", weights_only=True)
            self._globalstep_last_logged = logged
            device = self.args.device
            self._measured = {name: value.to(device) / count() for name, value in sums.items()}
            self._tr_loss += loss.to(device)

    def _load_best_model(self) -> None:
        if fault := damage(Path(str(self.state.best_model_checkpoint))):
            raise TrainingError(
                f"{self.job.name}: the best checkpoint was damaged during training "
                f"({fault.partition(';')[0]}); run the same command again"
            )
        if self.sharded:
            self._load_from_checkpoint(str(self.state.best_model_checkpoint))
        else:
            super()._load_best_model()


class _StopOnNan(TrainerCallback):
    """Ends a run whose loss or gradient is not finite, before it overwrites a good checkpoint."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        for key, title in (("loss", "loss"), ("grad_norm", "norm of the gradient")):
            value = (logs or {}).get(key, 0.0)
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"{self.name}: the {title} is {value} at step {state.global_step}; "
                    f"{_slower(self.name)}"
                )


def _slower(name: str) -> str:
    """Return what mends a training that diverges: that of the policy, or of a reward model."""
    return f"lower {'sft' if name == 'sft' else 'reward'}.learning_rate in params.yaml"


class _LogAt(TrainerCallback):
    """Has the loss logged after these steps."""

    def __init__(self, steps: frozenset[int]) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_log = state.global_step in self.steps


class _SaveInTime(TrainerCallback):
    """Has a checkpoint saved once the last one is too long ago."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_save |= self.pace.is_due()


class _TakeUp(TrainerCallback):
    """Calls a function once transformers has set up what it takes from a checkpoint."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.call()


class _AfterStep(TrainerCallback):
    """Calls the job's own function after every optimiser step."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.call()


class _Progress(TrainerCallback):
    """A bar in a terminal, a line an evaluation elsewhere."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.task.skip(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.task.advance()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        self.task.say({key.removeprefix("eval_"): value for key, value in metrics.items()})
