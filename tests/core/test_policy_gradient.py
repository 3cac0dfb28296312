from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.policy_gradient import (
    gae,
    kl_k3,
    kl_per_token,
    last_token_mask,
    masked_mean,
    ppo_policy_loss,
    rloo_advantages,
    shaped_rewards,
    value_loss,
    whiten,
)

NAN = torch.nan
UNIT = st.floats(0, 1)
TRUE = torch.ones(1, 1, dtype=torch.bool)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def batch(seed: int, rows: int = 3, tokens: int = 5) -> tuple[torch.Tensor, ...]:
    """Rewards, values and a mask of responses of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, rows, tokens, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, tokens + 1, (rows, 1), generator=generator)
    return rewards, values, torch.arange(tokens) < lengths


def gae_by_definition(rewards, values, gamma: float, lam: float) -> list[float]:
    """A_t = sum_l (gamma lam)^l delta_(t+l), for one response without padding."""
    values = [*values, 0.0]
    deltas = [r + gamma * values[t + 1] - values[t] for t, r in enumerate(rewards)]
    return [
        sum((gamma * lam) ** (s - t) * deltas[s] for s in range(t, len(deltas)))
        for t in range(len(deltas))
    ]


@given(st.integers(0, 10_000), UNIT, UNIT)
def test_gae_is_the_discounted_sum_of_td_errors(seed, gamma, lam) -> None:
    rewards, values, mask = batch(seed)
    result = gae(rewards, values, mask, gamma, lam)
    for index, length in enumerate(mask.sum(1).tolist()):
        expected = gae_by_definition(
            rewards[index, :length].tolist(), values[index, :length].tolist(), gamma, lam
        )
        assert result.advantages[index, :length].tolist() == pytest.approx(expected)
        assert (result.advantages[index, length:] == 0).all()
    torch.testing.assert_close(
        result.returns, torch.where(mask, result.advantages + values, torch.zeros(()).double())
    )


def test_gae_by_hand() -> None:
    # delta_2 = 8 - 2 = 6, delta_1 = 1 + 0.5 * 2 - 4 = -2; A_1 = -2 + 0.5 * 0.5 * 6 = -0.5.
    result = gae(row(1, 8), row(4, 2), torch.ones(1, 2).bool(), 0.5, 0.5)
    assert result.advantages.tolist() == [[-0.5, 6.0]]
    assert result.returns.tolist() == [[3.5, 8.0]]


def test_lambda_one_is_the_reward_to_come_less_the_value() -> None:
    result = gae(row(1, 2, 4), row(10, 20, 30), torch.ones(1, 3).bool(), 1.0, 1.0)
    assert result.advantages.tolist() == [[-3.0, -14.0, -26.0]]
    assert result.returns.tolist() == [[7.0, 6.0, 4.0]]


@given(st.integers(0, 10_000), st.integers(0, 3), st.integers(0, 3), st.sampled_from([7.0, NAN]))
def test_gae_does_not_depend_on_padding(seed, left, right, filler) -> None:
    rewards, values, mask = batch(seed)
    plain = gae(rewards, values, mask, 0.9, 0.8)

    def pad(x: torch.Tensor, value: float) -> torch.Tensor:
        return torch.nn.functional.pad(x, (left, right), value=value)

    padded_mask = torch.nn.functional.pad(mask, (left, right), value=False)
    padded = gae(pad(rewards, filler), pad(values, filler), padded_mask, 0.9, 0.8)
    torch.testing.assert_close(padded.advantages, pad(plain.advantages, 0.0))
    torch.testing.assert_close(padded.returns, pad(plain.returns, 0.0))


def test_gae_passes_no_gradient() -> None:
    values = row(1, 2).requires_grad_()
    result = gae(row(1, 2), values, torch.ones(1, 2).bool(), 1.0, 0.95)
    assert not result.advantages.requires_grad
    assert not result.returns.requires_grad


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 3.0, -3.0),
        (2.0, 1.0, -1.2),  # rewarded enough: clipped at 1 + 0.2
        (2.0, -1.0, 2.0),  # never clipped where it makes things worse
        (0.5, 1.0, -0.5),
        (0.5, -1.0, 0.8),  # punished enough: clipped at 1 - 0.2
    ],
)
def test_policy_loss_is_the_clipped_surrogate(ratio, advantage, loss) -> None:
    result = ppo_policy_loss(row(math.log(ratio)), row(0.0), row(advantage), TRUE, 0.2)
    assert result.loss.item() == pytest.approx(loss)
    assert result.clip_fraction.item() == float(abs(ratio - 1) > 0.2)
    assert result.approx_kl.item() == pytest.approx(ratio - 1 - math.log(ratio))


def test_on_policy_the_gradient_is_reinforce() -> None:
    logprob = row(-1.0, -2.0, -3.0).requires_grad_()
    mask = torch.tensor([[True, True, False]])
    ppo_policy_loss(logprob, logprob.detach(), row(4.0, -6.0, 9.0), mask, 0.2).loss.backward()
    assert logprob.grad.tolist() == [[-2.0, 3.0, 0.0]]


def test_a_clipped_token_has_no_gradient() -> None:
    logprob = row(1.0).requires_grad_()
    ppo_policy_loss(logprob, row(0.0), row(1.0), TRUE, 0.2).loss.backward()
    assert logprob.grad.item() == 0.0


def test_diagnostics_of_the_policy_loss_carry_no_gradient() -> None:
    result = ppo_policy_loss(row(0.1).requires_grad_(), row(0.0), row(1.0), TRUE, 0.2)
    assert result.loss.requires_grad
    assert not result.clip_fraction.requires_grad
    assert not result.approx_kl.requires_grad


def test_value_loss_takes_the_larger_of_plain_and_clipped_error() -> None:
    # V = 3 from 0, clip 1. Target 4: plain 1, clipped (1 - 4)^2 = 9. Target 0: plain 9, clipped 1.
    values, old = row(3, 3), row(0, 0)
    assert value_loss(values, old, row(4, 0), torch.ones(1, 2).bool(), 1.0).item() == 9 / 2


def test_value_loss_within_the_clip_is_half_the_squared_error() -> None:
    assert value_loss(row(0.5), row(0.0), row(2.5), TRUE, 1.0).item() == 2.0


def test_rloo_by_hand() -> None:
    # 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2
    assert rloo_advantages(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-3.0, -1.5, 4.5]]


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 6), st.floats(-100, 100))
def test_rloo_is_leave_one_out_and_does_not_see_a_shift(seed, prompts, k, shift) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(prompts, k, generator=generator, dtype=torch.float64)
    result = rloo_advantages(rewards)
    for i in range(k):
        others = torch.cat([rewards[:, :i], rewards[:, i + 1 :]], dim=1)
        torch.testing.assert_close(result[:, i], rewards[:, i] - others.mean(1))
    torch.testing.assert_close(result.sum(1), torch.zeros(prompts).double())
    torch.testing.assert_close(rloo_advantages(rewards + shift), result, atol=1e-9, rtol=1e-9)


@given(st.integers(0, 10_000), st.floats(0.01, 3))
def test_both_kl_estimators_are_unbiased_and_k3_is_never_negative(seed, scale) -> None:
    # Expectation over a categorical policy, summed exactly.
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 6, generator=generator, dtype=torch.float64) * scale
    logprob, ref_logprob = logits.log_softmax(-1)
    expected = torch.nn.functional.kl_div(ref_logprob, logprob, log_target=True, reduction="sum")
    for estimate in (kl_per_token(logprob, ref_logprob), kl_k3(logprob, ref_logprob)):
        torch.testing.assert_close((logprob.exp() * estimate).sum(), expected)
    assert (kl_k3(logprob, ref_logprob) >= 0).all()


def test_k3_keeps_its_digits_near_zero() -> None:
    # rho - 1 - log rho = d^2 / 2 for small d = log rho.
    assert kl_k3(row(0.0), row(1e-9)).item() == pytest.approx(5e-19, rel=1e-3, abs=0)


def test_masked_mean_weighs_tokens_and_not_responses() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [10.0, NAN, NAN]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert masked_mean(x, mask).item() == 4.0


@given(st.integers(0, 10_000))
def test_whitened_tokens_have_mean_zero_and_variance_one(seed) -> None:
    x, _, mask = batch(seed, rows=4, tokens=6)
    result = whiten(x * 50 + 7, mask)
    assert (result[~mask] == 0).all()
    real = result[mask]
    assert real.mean().item() == pytest.approx(0.0, abs=1e-9)
    assert real.var(correction=0).item() == pytest.approx(1.0, abs=1e-6)


def test_whitening_a_constant_gives_zero() -> None:
    assert whiten(row(5, 5), torch.ones(1, 2).bool()).tolist() == [[0.0, 0.0]]


def test_the_reward_lands_on_the_last_real_token() -> None:
    mask = torch.tensor([[True, True, True, False], [False, True, False, False]])
    kl = torch.tensor([[1.0, 2.0, -1.0, NAN], [NAN, 4.0, NAN, NAN]])
    result = shaped_rewards(torch.tensor([10.0, 20.0]), kl, mask, 0.5)
    assert result.tolist() == [[-0.5, -1.0, 10.5, 0.0], [0.0, 18.0, 0.0, 0.0]]


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_shaped_rewards_sum_to_the_reward_less_the_penalty(seed, weight) -> None:
    kl, final, mask = batch(seed)
    result = shaped_rewards(final[:, 0], kl, mask, weight)
    expected = final[:, 0] - weight * torch.where(mask, kl, torch.zeros(()).double()).sum(1)
    torch.testing.assert_close(result.sum(1), expected)


def test_last_token_is_the_last_real_one_with_padding_on_either_side() -> None:
    mask = torch.tensor([[True, True, False], [False, True, True], [True, False, False]])
    expected = [[False, True, False], [False, False, True], [True, False, False]]
    assert last_token_mask(mask).tolist() == expected


def test_nan_off_the_mask_reaches_no_result_and_no_gradient() -> None:
    mask = torch.tensor([[True, False]])
    bad = row(0.5, NAN)

    def leaf() -> torch.Tensor:
        return bad.clone().requires_grad_()

    for loss in (
        lambda x: ppo_policy_loss(x, bad, bad, mask, 0.2).loss,
        lambda x: value_loss(x, bad, bad, mask, 0.2),
        lambda x: masked_mean(x, mask),
        lambda x: whiten(x, mask).sum(),
    ):
        x = leaf()
        result = loss(x)
        result.backward()
        assert torch.isfinite(result)
        assert torch.isfinite(x.grad).all()
        assert x.grad[0, 1] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: masked_mean(row(1.0), torch.ones(1, 1)), "mask is torch.float32"),
        (lambda: masked_mean(row(1.0), torch.ones(1).bool()), "needs bool \\(batch, tokens\\)"),
        (lambda: masked_mean(row(1.0), ~TRUE), "mask marks no token"),
        (lambda: masked_mean(row(1.0, 2.0), TRUE), "shapes differ"),
        (lambda: gae(row(1.0), row(1.0, 2.0), TRUE, 1.0, 1.0), "shapes differ"),
        (lambda: gae(row(1.0), row(1.0), TRUE, 1.1, 1.0), "gamma is 1.1"),
        (lambda: gae(row(1.0), row(1.0), TRUE, 1.0, -0.1), "lam is -0.1"),
        (
            lambda: last_token_mask(torch.tensor([[True, False, True]])),
            "mask row 0 has 2 runs of tokens, needs one",
        ),
        (
            lambda: last_token_mask(torch.tensor([[True, True], [False, False]])),
            "mask row 1 has 0 runs of tokens, needs one",
        ),
        (lambda: ppo_policy_loss(row(1.0), row(1.0), row(1.0), TRUE, 0.0), "clip is 0.0"),
        (lambda: value_loss(row(1.0), row(1.0), row(1.0), TRUE, -1.0), "clip is -1.0"),
        (lambda: rloo_advantages(torch.zeros(2, 1)), "needs \\(P, K\\) with K >= 2"),
        (lambda: rloo_advantages(torch.zeros(0, 2)), "needs \\(P, K\\)"),
        (lambda: kl_per_token(row(1.0), row(1.0, 2.0)), "shapes differ"),
        (lambda: kl_k3(row(1.0), row(1.0, 2.0)), "shapes differ"),
        (lambda: shaped_rewards(torch.zeros(2), row(1.0), TRUE, 0.1), "needs \\(1,\\)"),
        (lambda: shaped_rewards(torch.zeros(1), row(1.0), TRUE, -0.1), "kl_weight is -0.1"),
    ],
)
def test_unfit_inputs_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
