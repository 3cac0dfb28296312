"""The gradient steps on one batch: PPO (arXiv 1707.06347) or RLOO (arXiv 2402.14740).

Both take `epochs` passes of `minibatches` steps over the batch with the clipped ratio; the first
step of a batch is on-policy. They differ in who gets the credit:

| algorithm | credit | advantage |
|---|---|---|
| ppo | every token | GAE with a value network, whitened over the batch; KL penalty on each token |
| rloo | the whole response | reward − kl_weight · KL, less the prompt's other responses' mean |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from westofn.core.policy_gradient import (
    gae,
    ppo_policy_loss,
    rloo_advantages,
    shaped_rewards,
    value_loss,
    whiten,
)
from westofn.core.seeds import derive_seed
from westofn.params.rlhf import RlhfParams
from westofn.training.rl.networks import Learner
from westofn.training.rl.processes import share_of
from westofn.training.rl.rollout import Rollout, chunks, take


@dataclass(frozen=True)
class Targets:
    """What a rollout teaches. A unit of credit is a token (U = T) or a response (U = 1).

    Attributes:
        advantage: (P, K, U).
        logprob: (P, K, U) log π_T of the units when they were drawn.
        mask: (P, K, U) bool.
        values: (P, K, T) V before every action at that time; None under rloo.
        returns: (P, K, T) what V should have been; None under rloo.
    """

    advantage: Tensor
    logprob: Tensor
    mask: Tensor
    values: Tensor | None = None
    returns: Tensor | None = None


def ppo_targets(rollout: Rollout, values: Tensor, params: RlhfParams) -> Targets:
    """Advantages and returns of every action, from the values (P, K, T) before it."""
    mask = rollout.actions.mask
    rows, shape = mask.flatten(0, 1), mask.shape
    rewards = shaped_rewards(
        rollout.reward.flatten(), rollout.kl.flatten(0, 1), rows, params.kl_weight
    )
    estimate = gae(rewards, values.flatten(0, 1), rows, params.discount, params.gae_lambda)
    advantage = whiten(estimate.advantages, rows).view(shape)
    return Targets(advantage, rollout.logprob, mask, values, estimate.returns.view(shape))


def rloo_targets(rollout: Rollout, params: RlhfParams) -> Targets:
    """The advantage of every response."""
    penalised = rollout.reward - params.kl_weight * rollout.kl.sum(-1)
    advantage = rloo_advantages(penalised).unsqueeze(-1)
    whole = rollout.logprob.sum(-1, keepdim=True)
    return Targets(advantage, whole, torch.ones_like(whole, dtype=torch.bool))


def explained_variance(targets: Targets) -> float:
    """1 − Var(returns − values) / Var(returns) over actions: 1 is perfect, 0 a constant's."""
    assert targets.values is not None
    assert targets.returns is not None
    returns = targets.returns[targets.mask]
    missed = (returns - targets.values[targets.mask]).var()
    return float(1 - missed / returns.var().clamp_min(1e-8))


@dataclass(frozen=True)
class Learners:
    """What one batch may change: the policy is None while frozen, the value under rloo."""

    policy: Learner | None
    value: Learner | None
    params: RlhfParams
    chunk: int


def update(
    learners: Learners, rollout: Rollout, targets: Targets, *, seed: int, step: int
) -> dict[str, float]:
    """Take the gradient steps on one batch.

    Args:
        learners: What learns, and how many prompts go through it at once.
        rollout: The batch.
        targets: Of `ppo_targets` or `rloo_targets`.
        seed: Of the order of prompts.
        step: Named in errors.

    Returns:
        Means over the steps: policy_loss, clip_fraction, approx_kl, grad_norm; value_loss,
        value_grad_norm. Gradient norms are those before clipping.
    """
    params, rows = learners.params, []
    for epoch in range(params.epochs):
        order = np.random.default_rng(derive_seed(seed, epoch)).permutation(len(rollout.reward))
        rows += order.reshape(params.minibatches, -1).tolist()
    steps = [_gradient_step(learners, rollout, targets, some, step) for some in rows]
    return {name: sum(row[name] for row in steps) / len(steps) for name in steps[0]}


def _gradient_step(
    learners: Learners, rollout: Rollout, targets: Targets, rows: list[int], step: int
) -> dict[str, float]:
    """One step of each network on the minibatch of these prompts."""
    params = learners.params

    def policy_loss(logprob: Tensor, some: Sequence[int]) -> Tensor:
        if params.algorithm == "rloo":
            logprob = logprob.sum(-1, keepdim=True)
        old, advantage, mask = (
            part[some].flatten(0, 1) for part in (targets.logprob, targets.advantage, targets.mask)
        )
        result = ppo_policy_loss(logprob.flatten(0, 1), old, advantage, mask, params.clip)
        return torch.stack([result.loss, result.clip_fraction, result.approx_kl])

    def squared_error(values: Tensor, some: Sequence[int]) -> Tensor:
        assert targets.values is not None
        assert targets.returns is not None
        old, returns, mask = (
            part[some].flatten(0, 1) for part in (targets.values, targets.returns, targets.mask)
        )
        return value_loss(values.flatten(0, 1), old, returns, mask, params.value_clip).reshape(1)

    watched: dict[str, float] = {}
    if learners.policy is not None:
        parts = _parts(learners.policy, rollout, targets, rows, learners.chunk, policy_loss)
        names = ("policy_loss", "clip_fraction", "approx_kl")
        watched |= zip(names, learners.policy.descend(parts, step), strict=True)
        watched["grad_norm"] = learners.policy.gradient_norm
    if learners.value is not None:
        parts = _parts(learners.value, rollout, targets, rows, learners.chunk, squared_error)
        watched["value_loss"] = learners.value.descend(parts, step)[0]
        watched["value_grad_norm"] = learners.value.gradient_norm
    return watched


def _parts(
    learner: Learner,
    rollout: Rollout,
    targets: Targets,
    rows: list[int],
    chunk: int,
    mean_loss: Callable[[Tensor, Sequence[int]], Tensor],
) -> list[Callable[[], Tensor]]:
    """This process's share of a minibatch in parts of `chunk` prompts, for `Learner.descend`.

    A part's mean weighs as its share of the units of the whole minibatch, over all processes.
    """
    accelerator = learner.accelerator
    # accelerate takes the mean over processes, the minibatch needs the sum.
    scale: Tensor = accelerator.num_processes / targets.mask[rows].sum()

    def part(some: Sequence[int]) -> Tensor:
        output: Tensor = learner.module(take(rollout.prompts, some), take(rollout.actions, some))
        return mean_loss(output, some) * (targets.mask[some].sum() * scale)

    own = [rows[place] for place in share_of(accelerator, len(rows))]
    return [partial(part, some) for some in chunks(own, chunk)]
