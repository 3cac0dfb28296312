"""Gradient steps on one batch: PPO (arXiv 1707.06347) or RLOO (arXiv 2402.14740).

Both take `epochs` passes of `minibatches` steps over the batch with the clipped ratio; the first
step of a batch is on-policy. They differ in the advantages:

| algorithm | unit | advantage |
|---|---|---|
| ppo | token | GAE with a value network, whitened over the batch; KL penalty on each token |
| rloo | response | reward − kl_weight · KL, minus the mean of the prompt's other responses |
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
    """Training targets of a rollout. A unit is a token (U = T) or a response (U = 1).

    Attributes:
        advantage: (P, K, U), advantages.
        logprob: (P, K, U), log π_T of the units at sampling time, nats.
        mask: (P, K, U) bool, True at real units.
        values: (P, K, T), V before every action at sampling time; None for rloo.
        returns: (P, K, T), targets of V; None for rloo.
    """

    advantage: Tensor
    logprob: Tensor
    mask: Tensor
    values: Tensor | None = None
    returns: Tensor | None = None


def ppo_targets(rollout: Rollout, values: Tensor, params: RlhfParams) -> Targets:
    """Compute advantages and returns of every action from the values (P, K, T) before it."""
    mask = rollout.actions.mask
    rows, shape = mask.flatten(0, 1), mask.shape
    rewards = shaped_rewards(
        rollout.reward.flatten(), rollout.kl.flatten(0, 1), rows, params.kl_weight
    )
    estimate = gae(rewards, values.flatten(0, 1), rows, params.discount, params.gae_lambda)
    advantage = whiten(estimate.advantages, rows).view(shape)
    return Targets(advantage, rollout.logprob, mask, values, estimate.returns.view(shape))


def rloo_targets(rollout: Rollout, params: RlhfParams) -> Targets:
    """Compute the advantage of every response."""
    penalised = rollout.reward - params.kl_weight * rollout.kl.sum(-1)
    advantage = rloo_advantages(penalised).unsqueeze(-1)
    logprob = rollout.logprob.sum(-1, keepdim=True)
    return Targets(advantage, logprob, torch.ones_like(logprob, dtype=torch.bool))


def explained_variance(targets: Targets) -> float:
    """Return 1 − Var(returns − values) / Var(returns) over actions; 0 for constant values."""
    assert targets.values is not None
    assert targets.returns is not None
    returns = targets.returns[targets.mask]
    residual = (returns - targets.values[targets.mask]).var()
    return float(1 - residual / returns.var().clamp_min(1e-8))


@dataclass(frozen=True)
class Learners:
    """The networks to update; policy is None while it is frozen, value is None for rloo."""

    policy: Learner | None
    value: Learner | None
    params: RlhfParams
    chunk: int


def update(
    learners: Learners, rollout: Rollout, targets: Targets, *, seed: int, step: int
) -> dict[str, float]:
    """Take the gradient steps on one batch.

    Args:
        learners: Networks to update, and number of prompts per forward pass.
        rollout: Batch of responses.
        targets: Result of `ppo_targets` or `rloo_targets`.
        seed: Seed of the order of prompts.
        step: Number of the batch in error messages.

    Returns:
        Name -> mean over the steps: policy_loss, clip_fraction, approx_kl, grad_norm, value_loss,
        value_grad_norm. Gradient norms are measured before clipping.
    """
    params, rows = learners.params, []
    for epoch in range(params.epochs):
        order = np.random.default_rng(derive_seed(seed, epoch)).permutation(len(rollout.reward))
        rows += order.reshape(params.minibatches, -1).tolist()
    steps = [_gradient_step(learners, rollout, targets, minibatch, step) for minibatch in rows]
    return {name: sum(row[name] for row in steps) / len(steps) for name in steps[0]}


def _gradient_step(
    learners: Learners, rollout: Rollout, targets: Targets, rows: list[int], step: int
) -> dict[str, float]:
    """Take one step of each network on the minibatch of the given prompts."""
    params = learners.params

    def policy_loss(logprob: Tensor, part_rows: Sequence[int]) -> Tensor:
        if params.algorithm == "rloo":
            logprob = logprob.sum(-1, keepdim=True)
        old, advantage, mask = (
            part[part_rows].flatten(0, 1)
            for part in (targets.logprob, targets.advantage, targets.mask)
        )
        result = ppo_policy_loss(logprob.flatten(0, 1), old, advantage, mask, params.clip)
        return torch.stack([result.loss, result.clip_fraction, result.approx_kl])

    def squared_error(values: Tensor, part_rows: Sequence[int]) -> Tensor:
        assert targets.values is not None
        assert targets.returns is not None
        old, returns, mask = (
            part[part_rows].flatten(0, 1)
            for part in (targets.values, targets.returns, targets.mask)
        )
        return value_loss(values.flatten(0, 1), old, returns, mask, params.value_clip).reshape(1)

    diagnostics: dict[str, float] = {}
    if learners.policy is not None:
        parts = _parts(learners.policy, rollout, targets, rows, learners.chunk, policy_loss)
        names = ("policy_loss", "clip_fraction", "approx_kl")
        diagnostics |= zip(names, learners.policy.descend(parts, step), strict=True)
        diagnostics["grad_norm"] = learners.policy.gradient_norm
    if learners.value is not None:
        parts = _parts(learners.value, rollout, targets, rows, learners.chunk, squared_error)
        diagnostics["value_loss"] = learners.value.descend(parts, step)[0]
        diagnostics["value_grad_norm"] = learners.value.gradient_norm
    return diagnostics


def _parts(
    learner: Learner,
    rollout: Rollout,
    targets: Targets,
    rows: list[int],
    chunk: int,
    mean_loss: Callable[[Tensor, Sequence[int]], Tensor],
) -> list[Callable[[], Tensor]]:
    """Divide this process's share of a minibatch into parts of `chunk` prompts.

    The weight of a part's mean is its share of the minibatch's units over all processes.
    """
    accelerator = learner.accelerator
    # accelerate averages over processes, but the parts must be summed.
    scale: Tensor = accelerator.num_processes / targets.mask[rows].sum()

    def part(part_rows: Sequence[int]) -> Tensor:
        prompts, actions = take(rollout.prompts, part_rows), take(rollout.actions, part_rows)
        output: Tensor = learner.module(prompts, actions)
        return mean_loss(output, part_rows) * (targets.mask[part_rows].sum() * scale)

    share = [rows[index] for index in share_of(accelerator, len(rows))]
    return [partial(part, part_rows) for part_rows in chunks(share, chunk)]
