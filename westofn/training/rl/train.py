"""The run: batches, gradient steps, the curve, checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from westofn.artifacts.curve import Point
from westofn.core.seeds import derive_seed
from westofn.errors import ParameterError, TrainingError
from westofn.execution.pace import Pace
from westofn.execution.processes import shards
from westofn.models.policy import Policy
from westofn.models.reward import Scorer
from westofn.networks.adapters import adapted_copy, facts_of, merge_adapters
from westofn.networks.precision import precision_of, rounded
from westofn.params.network import Precision
from westofn.params.rlhf import RlhfParams
from westofn.progress import working
from westofn.runtime import Runtime
from westofn.training.batches import plan_batches
from westofn.training.curves import EVALUATED, curve_of, logged_steps
from westofn.training.reports import Watch
from westofn.training.rl.checkpoint import Record, State, drop_damaged, load_state, save_state
from westofn.training.rl.networks import Learner, ValueNetwork, require_finite, require_learnable
from westofn.training.rl.probe import PROBE_PROMPTS, probe
from westofn.training.rl.processes import Accelerator
from westofn.training.rl.rollout import Crew, Prompts, Rollout, in_chunks, roll_out
from westofn.training.rl.tempered import TemperedPolicy
from westofn.training.rl.update import (
    Learners,
    explained_variance,
    ppo_targets,
    rloo_targets,
    update,
)

Evaluate = Callable[[Policy], dict[str, float]]
VALIDATED = ("reward", "kl", "entropy", "length")
"""What the model's own curve keeps of an evaluation: nothing that a judge says of the policy."""
LOGGED_AS = {"policy_loss": "loss"}


@dataclass(frozen=True)
class RlResult:
    """The trained policy and how it came about.

    Attributes:
        policy: The policy after the last step; the start policy is left as it was.
        curve: One record an evaluation, step 0 and the last included: step, kl, entropy, length
            (see `probe`), and what `evaluate` returned.
        history: One record a batch: step, reward (mean, standardised, less the penalty), kl
            (of a response, nats), length, cut (responses that the limit cut), learning_rate,
            clip_fraction, approx_kl, policy_loss, grad_norm; under ppo value_loss, value_grad_norm
            and explained_variance.
        training: The curve for the model's folder: of both, at most a hundred points of batches.
        facts: For the card and metrics.
    """

    policy: Policy
    curve: list[Record]
    history: list[Record]
    facts: dict[str, float | int | str]
    training: list[Point]


def train_rl(
    policy: Policy,
    scorer: Scorer,
    prompts: Prompts,
    params: RlhfParams,
    *,
    seed: int,
    evaluate: Evaluate,
    scratch: Path,
    runtime: Runtime,
    live: Path | None = None,
) -> RlResult:
    """Train a policy to raise a reward without leaving the start policy far behind.

    Maximises E[(r(x, y) − mean) / std − kl_weight · log(π_T(y|x) / π_T,start(y|x))], with the mean
    and standard deviation that are stored with the reward model, and T the temperature of sampling.
    `missing_end_penalty` is subtracted from the first term of a response without an end token.
    With PPO the policy stays frozen for the first `value_warmup_steps` batches. On the CPU equal
    seeds give equal bits, and so does a run that goes on from a checkpoint.

    Args:
        policy: The start policy and reference; not changed.
        scorer: A pointwise reward model.
        prompts: What to learn from; walked in orders that follow from the seed.
        params: The section `rlhf`.
        seed: The run's seed.
        evaluate: Measures a policy, on held-out prompts for instance. Called at `evaluations`
            evenly spaced steps, on every process. Returns "reward", the mean standardised reward,
            and whatever else the curve shall show.
        scratch: Folder for the checkpoints of this run alone.
        runtime: Hardware settings; `micro_batch` counts responses.
        live: Where DVCLive's files go; None writes none.

    Raises:
        ModelError: The reward model is not pointwise, or reads other tokens than the policy (ppo).
        ParameterError: The batch cannot be divided among the processes, or the run reports to what
            cannot be used.
        TrainingError: Too few prompts, or a reward, log-probability, loss or gradient that is not
            finite.
    """
    run = _Run.set_up(policy, scorer, prompts, params, seed, runtime)
    points = evaluation_steps(params.steps, params.evaluations)
    state = run.resume(scratch)
    watch = run.watch(runtime, live, scratch)
    watch.begin(run.logs(state))
    pace = Pace(runtime)
    with working("rlhf", params.steps, "steps") as progress:
        progress.skip(state.step)
        while True:
            if state.step in points and len(state.curve) <= points.index(state.step):
                state = run.evaluate(state, evaluate)
                run.keep(state, scratch, pace)
                watch.follow(run.logs(state))
                progress.say({k: value for k, value in state.curve[-1].items() if k != "step"})
            if state.step == params.steps:
                break
            state = run.advance(state)
            progress.advance()
            if state.step not in points and pace.is_due():
                run.keep(state, scratch, pace)
            if state.step in run.logged:
                watch.follow(run.logs(state))
    watch.end()
    facts = run.facts(state)
    policy = run.finished(precision_of(policy.model))
    return RlResult(policy, state.curve, state.history, facts, curve_of(run.logs(state)))


def evaluation_steps(steps: int, evaluations: int) -> list[int]:
    """Evenly spaced steps, 0 and the last included.

    >>> evaluation_steps(60, 6)
    [0, 12, 24, 36, 48, 60]
    """
    return sorted(set(np.linspace(0, steps, evaluations).round().astype(int).tolist()))


@dataclass(frozen=True)
class _Run:
    """Everything that stays the same from batch to batch."""

    crew: Crew
    policy: Learner
    value: Learner | None
    prompts: Prompts
    plan: np.ndarray
    params: RlhfParams
    seed: int

    @classmethod
    def set_up(
        cls,
        start: Policy,
        scorer: Scorer,
        prompts: Prompts,
        params: RlhfParams,
        seed: int,
        runtime: Runtime,
    ) -> _Run:
        require_learnable(start, scorer, params)
        # Unless it is told, accelerate looks for no other processes on a machine without CUDA.
        on_cpu = runtime.device == "cpu" or not torch.cuda.is_available()
        accelerator = Accelerator(cpu=on_cpu)
        per_batch = params.batch_size // params.samples_per_prompt
        _check_sizes(len(prompts), per_batch, params, accelerator.num_processes)
        known = _in_training(start, params)
        reference = TemperedPolicy(known, params.temperature)
        for module in (reference, scorer.model):
            module.eval().to(accelerator.device)
        if params.lora.rank:
            torch.manual_seed(derive_seed(seed, "rl", "adapters") % 2**32)
        trained = replace(known, model=_learning_copy(known.model, params))
        actor = TemperedPolicy(trained, params.temperature)
        chunk = per_batch
        if runtime.micro_batch:
            chunk = max(1, runtime.micro_batch // params.samples_per_prompt)
        value = None
        if params.algorithm == "ppo":
            critic = ValueNetwork(scorer, params.lora)
            value = _learner("value", critic, critic.backbone, accelerator, params, runtime)
        return cls(
            Crew(actor, reference, scorer, accelerator, chunk, params.missing_end_penalty),
            _learner("policy", actor, actor.model, accelerator, params, runtime),
            value,
            prompts,
            plan_batches(
                (len(prompts),), (per_batch,), params.steps, derive_seed(seed, "rl", "prompts")
            ),
            params,
            seed,
        )

    @property
    def trained(self) -> Policy:
        """The policy in training."""
        return self.crew.policy.policy

    @property
    def learners(self) -> list[Learner]:
        """What a checkpoint holds."""
        return [self.policy] if self.value is None else [self.policy, self.value]

    def advance(self, state: State) -> State:
        """Learn from one batch."""
        step, params = state.step, self.params
        rollout = roll_out(
            self.crew,
            self.prompts.take(self.plan[step].tolist()),
            per_prompt=params.samples_per_prompt,
            seed=derive_seed(self.seed, "rl", step),
        )
        record: Record = {"step": step, **_describe(rollout)}
        _check(record, step)
        frozen = params.frozen_steps
        self.policy.warm_up(step - frozen)
        if self.value is None:
            targets = rloo_targets(rollout, params)
        else:
            self.value.warm_up(step)
            with torch.no_grad():
                values = in_chunks(
                    self.value.network, rollout.prompts, rollout.actions, self.crew.chunk
                )
            targets = ppo_targets(rollout, values, params)
            record["explained_variance"] = explained_variance(targets)
        policy = self.policy if step >= frozen else None
        if policy is not None:
            record["learning_rate"] = policy.rate(step - frozen)
        record |= update(
            Learners(policy, self.value, params, self.crew.chunk),
            rollout,
            targets,
            seed=derive_seed(self.seed, "rl", "order", step),
            step=step,
        )
        for learner in self.learners:
            learner.refresh()
        return replace(state, step=step + 1, history=[*state.history, record])

    def evaluate(self, state: State, evaluate: Evaluate) -> State:
        """Add a point to the curve."""
        order = np.random.default_rng(derive_seed(self.seed, "rl", "probe"))
        rows = order.permutation(len(self.prompts))[:PROBE_PROMPTS].tolist()
        measured = probe(
            self.crew, self.prompts.take(rows), derive_seed(self.seed, "rl", "probe draws")
        )
        record: Record = {"step": state.step, **measured, **evaluate(self.trained)}
        self.crew.policy.eval()
        _check(record, state.step)
        return replace(state, curve=[*state.curve, record])

    def resume(self, scratch: Path) -> State:
        """Load the last checkpoint that is whole, after the first process has removed others."""
        if self.crew.accelerator.is_main_process:
            drop_damaged("rlhf", scratch)
        self.crew.accelerator.wait_for_everyone()
        return load_state(scratch, self.learners)

    def keep(self, state: State, scratch: Path, pace: Pace) -> None:
        """Write a checkpoint, once for all processes."""
        accelerator = self.crew.accelerator
        with pace.saving():
            save_state(scratch, state, self.learners)
            accelerator.wait_for_everyone()

    @property
    def logged(self) -> list[int]:
        """The steps at which a curve has a point of the batches since the point before."""
        return logged_steps(self.params.steps, self.params.steps)

    def logs(self, state: State) -> list[Record]:
        """What transformers' Trainer would have logged of a run that is so far."""
        points = {int(point["step"]): point for point in state.curve}
        logs, before = [], 0
        for step in sorted({*self.logged, *points}):
            if before < step <= state.step:
                logs.append({"step": step, **_mean_batch(state.history[before:step])})
                before = step
            if step in points:
                validated = {key: points[step][key] for key in VALIDATED if key in points[step]}
                logs.append({"step": step} | {EVALUATED + key: x for key, x in validated.items()})
        return logs

    def watch(self, runtime: Runtime, live: Path | None, scratch: Path) -> Watch:
        """What shows the run to others."""
        accelerator = self.crew.accelerator
        return Watch(
            runtime,
            "rlhf",
            live,
            scratch=scratch,
            model=self.trained.model,
            steps=self.params.steps,
            on_cpu=accelerator.device.type == "cpu",
        )

    def facts(self, state: State) -> dict[str, float | int | str]:
        """What the card and the metrics say about the run."""
        responses = self.params.steps * self.params.batch_size
        cut = sum(record["cut"] for record in state.history)
        return {
            "algorithm": self.params.algorithm,
            "steps": self.params.steps,
            "prompts": len(self.prompts),
            "prompts_trimmed": sum(self.trained.encoder.trims(self.prompts.texts)),
            "responses": responses,
            "cut_by_limit": int(cut),
            **facts_of(self.trained.model, self.params.lora),
        }

    def finished(self, precision: Precision) -> Policy:
        """The policy without what only training needs; afterwards the run is over."""
        model = self.trained.model
        if self.params.lora.rank:
            merge_adapters(model)
        return Policy(rounded(model, precision), self.trained.encoder)


def _learner(
    name: str,
    network: torch.nn.Module,
    backbone: PreTrainedModel,
    accelerator: Accelerator,
    params: RlhfParams,
    runtime: Runtime,
) -> Learner:
    return Learner(
        name,
        network,
        accelerator,
        params=params,
        warmup_steps=math.ceil(params.warmup_fraction * params.steps),
        recompute=backbone if runtime.gradient_checkpointing else None,
        sharded=shards(runtime),
    )


def _in_training(start: Policy, params: RlhfParams) -> Policy:
    """The start policy as it is computed beside the one that learns, so that both begin equal."""
    if precision_of(start.model) == "fp32":
        return start
    model = start.model if params.lora.rank else copy.deepcopy(start.model).float()
    return Policy(model, start.encoder, mixed=True)


def _learning_copy(model: PreTrainedModel, params: RlhfParams) -> PreTrainedModel:
    if params.lora.rank:
        return adapted_copy(model, params.lora, "rlhf: lora")
    return copy.deepcopy(model)


def _check_sizes(prompts: int, per_batch: int, params: RlhfParams, processes: int) -> None:
    if prompts < per_batch:
        raise TrainingError(
            f"rlhf: {prompts} prompts, a batch needs {per_batch} different ones; lower "
            f"rlhf.batch_size ({params.batch_size}) or give more unlabeled prompts"
        )
    if per_batch // params.minibatches % processes:
        raise ParameterError(
            f"rlhf: a minibatch of {per_batch // params.minibatches} prompts cannot be shared by "
            f"{processes} processes; change rlhf.batch_size or rlhf.minibatches, or start fewer"
        )


def _mean_batch(batches: Sequence[Record]) -> Record:
    """Means over the batches that have a quantity."""
    names = dict.fromkeys(name for batch in batches for name in batch if name != "step")
    means = {}
    for name in names:
        values = [batch[name] for batch in batches if name in batch]
        means[LOGGED_AS.get(name, name)] = sum(values) / len(values)
    return means


def _describe(rollout: Rollout) -> Record:
    return {
        "reward": float(rollout.reward.mean()),
        "kl": float(rollout.kl.sum(-1).mean()),
        "length": float(rollout.actions.mask.sum(-1).float().mean()),
        "cut": rollout.cut,
    }


def _check(record: Record, step: int) -> None:
    for quantity, value in record.items():
        require_finite(quantity, value, step)
