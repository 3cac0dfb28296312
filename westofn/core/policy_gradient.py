"""Advantages, losses and KL estimates of PPO and RLOO for a batch of sampled responses.

Tensors are (B, T): B responses padded to T tokens. `mask` is bool and True on a response's tokens,
which are contiguous in each row (padding on either side). Values at other positions, even NaN, do
not influence any result or gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_WHITEN_EPSILON = 1e-8


@dataclass(frozen=True)
class Advantages:
    """Result of `gae` for every token.

    Attributes:
        advantages: (B, T), advantages; 0 outside the mask.
        returns: (B, T), targets of the value function (advantage + value); 0 outside the mask.
    """

    advantages: Tensor
    returns: Tensor


@dataclass(frozen=True)
class PolicyLoss:
    """Loss of a batch and its diagnostics.

    Attributes:
        loss: Scalar to minimise.
        clip_fraction: Scalar without gradient, share of tokens whose ratio differs from 1 by more
            than `clip`.
        approx_kl: Scalar without gradient, KL(old, new) per token in nats, by `kl_k3`.
    """

    loss: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Advantages:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438, Eq. 16).

    delta_t = r_t + gamma V_(t+1) - V_t and A_t = delta_t + gamma lam A_(t+1), where V and A are 0
    after the last token. No gradient flows into the result.

    Args:
        rewards: (B, T), reward of each token (`shaped_rewards`).
        values: (B, T), value V of the state before each token.
        mask: bool (B, T), contiguous and not empty in each row.
        gamma: Discount factor in [0, 1].
        lam: Lambda in [0, 1]; 0 is the one-step estimate, 1 the Monte Carlo estimate.

    Raises:
        ValueError: Shapes differ, a row has no tokens or a gap, or gamma or lam is out of
            range.

    >>> result = gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]),
    ...              torch.tensor([[True, True]]), gamma=1.0, lam=1.0)
    >>> result.advantages.tolist(), result.returns.tolist()
    ([[0.5, 0.5]], [[1.0, 1.0]])
    """
    _check_rows(mask, rewards=rewards, values=values)
    _check_fraction("gamma", gamma)
    _check_fraction("lam", lam)
    with torch.no_grad():
        reward, value = _real(rewards, mask), _real(values, mask)
        # `value` is 0 outside the mask, so the value after the last token is 0.
        following = torch.cat([value[:, 1:], torch.zeros_like(value[:, :1])], dim=1)
        delta = _real(reward + gamma * following - value, mask)
        advantages = torch.empty_like(delta)
        running = torch.zeros_like(delta[:, 0])
        for t in reversed(range(delta.shape[1])):
            # `running` continues into padding on the left; the `_real` below sets it to 0 there.
            running = delta[:, t] + gamma * lam * running
            advantages[:, t] = running
        advantages = _real(advantages, mask)
        return Advantages(advantages, advantages + value)


def ppo_policy_loss(
    logprob: Tensor, old_logprob: Tensor, advantage: Tensor, mask: Tensor, clip: float
) -> PolicyLoss:
    """Clipped surrogate objective (Schulman et al. 2017, PPO, arXiv 1707.06347, Eq. 7), negated.

    It is -E[min(ratio A, clip(ratio, 1 - clip, 1 + clip) A)] with ratio = exp(logprob -
    old_logprob); the mean is over all tokens of the batch.

    Args:
        logprob: (B, T), log pi(token) under the policy in training, nats.
        old_logprob: (B, T), log pi(token) under the policy that sampled the responses, nats.
        advantage: (B, T), from `gae`, or from `rloo_advantages` repeated over the tokens.
        mask: bool (B, T), the responses' tokens.
        clip: Clipping range, > 0, usually 0.2.

    Raises:
        ValueError: Shapes differ, there are no tokens, or clip <= 0.

    >>> ones, log_two = torch.ones(1, 1), torch.tensor([[2.0]]).log()
    >>> result = ppo_policy_loss(log_two, 0 * ones, ones, ones.bool(), clip=0.2)
    >>> round(result.loss.item(), 4), result.clip_fraction.item()
    (-1.2, 1.0)
    """
    _check_tokens(mask, logprob=logprob, old_logprob=old_logprob, advantage=advantage)
    if not clip > 0:
        raise ValueError(f"clip is {clip}, needs a number > 0")
    new, old, gain = (_real(values, mask) for values in (logprob, old_logprob, advantage))
    ratio = torch.exp(new - old)
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    with torch.no_grad():
        clipped = masked_mean(((ratio - 1).abs() > clip).to(ratio.dtype), mask)
        # The old policy drew the samples, so this estimates KL(old, new).
        divergence = masked_mean(kl_k3(old, new), mask)
    return PolicyLoss(-masked_mean(surrogate, mask), clipped, divergence)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """Squared error of the value function, clipped around its values at sampling time.

    It is 1/2 E[max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2)], as in the reference
    implementation of PPO (Huang et al. 2022, "The 37 implementation details of PPO", detail 9).

    Args:
        values: (B, T), values V of the function in training.
        old_values: (B, T), values V at sampling time.
        returns: (B, T), targets R from `gae`.
        mask: bool (B, T), the responses' tokens.
        clip: Clipping range, > 0, in units of the reward.

    Returns:
        A scalar, the mean over all tokens.

    Raises:
        ValueError: Shapes differ, there are no tokens, or clip <= 0.

    >>> ones = torch.ones(1, 1)
    >>> value_loss(ones, 0 * ones, ones, ones.bool(), clip=0.5).item()  # (0.5 - 1)^2 / 2
    0.125
    """
    _check_tokens(mask, values=values, old_values=old_values, returns=returns)
    if not clip > 0:
        raise ValueError(f"clip is {clip}, needs a number > 0")
    value, old, target = (_real(tensor, mask) for tensor in (values, old_values, returns))
    clipped = torch.clamp(value, old - clip, old + clip)
    error = torch.maximum((value - target).square(), (clipped - target).square())
    return 0.5 * masked_mean(error, mask)


def rloo_advantages(rewards: Tensor) -> Tensor:
    """REINFORCE leave-one-out: each reward minus the mean reward of the prompt's other responses.

    Ahmadian et al. 2024, "Back to basics" (arXiv 2402.14740), after Kool et al. 2019, "Buy 4
    REINFORCE samples, get a baseline for free!".

    Args:
        rewards: (P, K), rewards of K >= 2 responses to each prompt.

    Returns:
        (P, K), advantages; each row sums to 0.

    Raises:
        ValueError: `rewards` is not a matrix, there are no prompts, or K < 2.

    >>> rloo_advantages(torch.tensor([[1.0, 2.0, 6.0]])).tolist()
    [[-3.0, -1.5, 4.5]]
    """
    if rewards.ndim != 2 or rewards.shape[0] == 0 or rewards.shape[1] < 2:
        raise ValueError(f"rewards have shape {tuple(rewards.shape)}, needs (P, K) with K >= 2")
    baseline = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - baseline


def kl_per_token(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """Single-sample estimate of KL(pi, pi_ref): log pi - log pi_ref; unbiased, can be negative.

    The sum over a response is the KL penalty of RLHF (Ouyang et al. 2022, Eq. 2).

    Args:
        logprob: (...), log pi of tokens sampled from pi, nats.
        ref_logprob: (...), log pi_ref of the same tokens.

    Returns:
        (...), estimates, nats.

    Raises:
        ValueError: Shapes differ.

    >>> kl_per_token(torch.tensor([-1.0]), torch.tensor([-1.5])).item()
    0.5
    """
    _check_same_shape(logprob=logprob, ref_logprob=ref_logprob)
    return logprob - ref_logprob


def kl_k3(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """Low-variance estimate of KL(pi, pi_ref): (rho - 1) - log rho with rho = pi_ref / pi.

    Schulman 2020, "Approximating KL divergence" (the estimator k3): unbiased and never negative.

    Args:
        logprob: (...), log pi of tokens sampled from pi, nats.
        ref_logprob: (...), log pi_ref of the same tokens.

    Returns:
        (...), estimates, nats, >= 0.

    Raises:
        ValueError: Shapes differ.

    >>> round(kl_k3(torch.tensor([0.0]), torch.tensor([2.0]).log()).item(), 4)  # 2 - 1 - log 2
    0.3069
    """
    _check_same_shape(logprob=logprob, ref_logprob=ref_logprob)
    log_ratio = ref_logprob - logprob
    return torch.expm1(log_ratio) - log_ratio


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over all real tokens of the batch, with equal weights.

    Args:
        x: (B, T), values.
        mask: bool (B, T), real tokens, at least one.

    Returns:
        A scalar.

    Raises:
        ValueError: Shapes differ, or there are no tokens.

    >>> masked_mean(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[True, True, False]]))
    tensor(2.)
    """
    _check_tokens(mask, x=x)
    return _real(x, mask).sum() / mask.sum()


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over the real tokens of the batch.

    Args:
        x: (B, T), values.
        mask: bool (B, T), real tokens, at least one.

    Returns:
        (B, T), 0 outside the mask, and 0 everywhere if `x` is constant.

    Raises:
        ValueError: Shapes differ, or there are no tokens.

    >>> whiten(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[True, True, False]])).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    centred = _real(x - masked_mean(x, mask), mask)
    variance = masked_mean(centred.square(), mask)
    return centred * torch.rsqrt(variance + _WHITEN_EPSILON)


def shaped_rewards(
    final_reward: Tensor, kl_per_token: Tensor, mask: Tensor, kl_weight: float
) -> Tensor:
    """Rewards per token: the KL penalty at every token plus the final reward at the last token.

    r_t = -kl_weight KL_t, plus the final reward at the last real token (Ziegler et al. 2019, arXiv
    1909.08593, Eq. 2; Ouyang et al. 2022, Eq. 2). No gradient flows into the result.

    Args:
        final_reward: (B,), the reward model's reward of the whole response.
        kl_per_token: (B, T), log pi - log pi_ref, nats.
        mask: bool (B, T), contiguous and not empty in each row.
        kl_weight: Weight of the KL penalty, >= 0, reward per nat.

    Returns:
        (B, T), 0 outside the mask; a row sums to final_reward - kl_weight * KL.

    Raises:
        ValueError: Shapes do not match, a row has no tokens or a gap, or kl_weight < 0.

    >>> shaped_rewards(torch.tensor([2.0]), torch.tensor([[1.0, -1.0, 0.0]]),
    ...                torch.tensor([[True, True, False]]), kl_weight=0.5).tolist()
    [[-0.5, 2.5, 0.0]]
    """
    _check_rows(mask, kl_per_token=kl_per_token)
    if final_reward.shape != mask.shape[:1]:
        shape = tuple(final_reward.shape)
        raise ValueError(f"final_reward has shape {shape}, needs ({mask.shape[0]},)")
    if not kl_weight >= 0:
        raise ValueError(f"kl_weight is {kl_weight}, needs a number >= 0")
    with torch.no_grad():
        rewards = -kl_weight * _real(kl_per_token, mask)
        return rewards + last_token_mask(mask) * final_reward.unsqueeze(1)


def last_token_mask(mask: Tensor) -> Tensor:
    """Mark the last real token of each response.

    Args:
        mask: bool (B, T), contiguous and not empty in each row.

    Returns:
        bool (B, T), one True per row.

    Raises:
        ValueError: A row has no tokens or a gap.

    >>> last_token_mask(torch.tensor([[False, True, True, False]])).tolist()
    [[False, False, True, False]]
    """
    _check_rows(mask)
    following = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    return mask & ~following


def _real(x: Tensor, mask: Tensor) -> Tensor:
    """Set values outside the mask to 0; unlike a product, this also removes NaN and gradients."""
    return torch.where(mask, x, 0.0)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, needs a number in [0, 1]")


def _check_same_shape(**tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes differ: {listed}; needs one shape")


def _check_tokens(mask: Tensor, **tensors: Tensor) -> None:
    """Raise ValueError unless all tensors are (B, T) and the mask is bool with a True element."""
    if mask.dtype != torch.bool or mask.ndim != 2:
        description = f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise ValueError(f"mask is {description}, needs bool (batch, tokens)")
    _check_same_shape(mask=mask, **tensors)
    if not mask.any():
        raise ValueError("mask marks no token, needs at least one")


def _check_rows(mask: Tensor, **tensors: Tensor) -> None:
    """Run `_check_tokens`, and require one contiguous run of tokens in every row."""
    _check_tokens(mask, **tensors)
    before = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], dim=1)
    runs = (mask & ~before).sum(1)
    if bool((runs != 1).any()):
        row = int((runs != 1).nonzero()[0])
        raise ValueError(f"mask row {row} has {int(runs[row])} runs of tokens, needs one")
