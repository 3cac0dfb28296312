"""Rollouts: a batch of responses with rewards and log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from westofn.core.policy_gradient import kl_per_token
from westofn.generation.hf import decode, sample
from westofn.models.reward import Scorer
from westofn.models.scoring import score_pools
from westofn.text.encoding import Encoder, Padded, pad
from westofn.training.rl.processes import Accelerator, gather_shares, share_of
from westofn.training.rl.tempered import TemperedPolicy, action_counts


@dataclass(frozen=True)
class Prompts:
    """Prompts to learn from; the id of a prompt determines the random numbers of its responses."""

    ids: list[str]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Prompts:
        """Return the prompts at the given rows."""
        return Prompts([self.ids[i] for i in rows], [self.texts[i] for i in rows])


@dataclass(frozen=True)
class Rollout:
    """K responses to each of P prompts; equal on every process.

    Attributes:
        prompts: (P, S), token ids and mask.
        actions: (P, K, T), token ids and mask of the responses.
        logprob: (P, K, T), log π_T of the actions at sampling time, nats.
        ref_logprob: (P, K, T), log-probability under the frozen start policy, nats.
        reward: (P, K), standardised rewards, less the penalty of responses without end token.
        cut: Number of responses that reached the token limit without an end token.
    """

    prompts: Padded
    actions: Padded
    logprob: Tensor
    ref_logprob: Tensor
    reward: Tensor
    cut: int

    @property
    def kl(self) -> Tensor:
        """Estimate of the KL divergence per token, log π_T − log π_T,start, (P, K, T)."""
        return kl_per_token(self.logprob, self.ref_logprob)


@dataclass(frozen=True)
class Crew:
    """Models and settings of a rollout.

    Attributes:
        policy: Policy in training.
        reference: Frozen start policy.
        scorer: Reward model.
        accelerator: Accelerator of the processes.
        chunk: Number of prompts per forward pass.
        missing_end_penalty: Subtracted from the standardised reward of a response that reached the
            token limit without an end token.
    """

    policy: TemperedPolicy
    reference: TemperedPolicy
    scorer: Scorer
    accelerator: Accelerator
    chunk: int
    missing_end_penalty: float


@torch.no_grad()
def roll_out(crew: Crew, prompts: Prompts, *, per_prompt: int, seed: int) -> Rollout:
    """Sample responses, score them, and compute log-probabilities, divided among processes.

    A response that reached the token limit is scored as if it had ended there, less the penalty
    for the missing end token.

    Args:
        crew: Models and settings.
        prompts: P prompts, a multiple of the number of processes.
        per_prompt: Number K of responses per prompt.
        seed: Seed of the batch's samples.
    """
    accelerator, policy = crew.accelerator, crew.policy.policy
    rows = share_of(accelerator, len(prompts))
    share = prompts.take(rows)
    samples = sample(
        policy,
        share.texts,
        share.ids,
        indices=range(per_prompt),
        temperature=crew.policy.temperature,
        seed=seed,
    )
    rewards = standardised_rewards(crew.scorer, share.texts, decode(policy, samples))
    rewards = rewards - crew.missing_end_penalty * ~samples.stopped
    limit = policy.encoder.template.max_response_tokens

    def gather(values: Tensor) -> Tensor:
        return gather_shares(accelerator, values)

    states = padded_prompts(policy.encoder, prompts, accelerator.device)
    actions = actions_of(gather(samples.ids[..., :limit]), gather(action_counts(samples, limit)))
    logprob, reference = (
        gather(in_chunks(network, take(states, rows), take(actions, rows), crew.chunk))
        for network in (crew.policy, crew.reference)
    )
    cut = int(gather((~samples.stopped).sum().reshape(1)).sum())
    return Rollout(states, actions, logprob, reference, gather(rewards), cut)


def standardised_rewards(
    scorer: Scorer, prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> Tensor:
    """Standardise rewards by the mean and standard deviation in the card, (P, K) on the CPU."""
    raw = torch.stack(score_pools(scorer, prompts, responses))[..., 0]
    return (raw - scorer.reward_mean) / scorer.reward_std


def padded_prompts(encoder: Encoder, prompts: Prompts, device: torch.device) -> Padded:
    """Encode and pad prompts, (P, S) on the device."""
    rows = pad(encoder.prompts(prompts.texts), encoder.pad_id)
    return Padded(rows.ids.to(device), rows.mask.to(device))


def actions_of(ids: Tensor, counts: Tensor) -> Padded:
    """Return the first `counts` (P, K) tokens of ids (P, K, limit), without empty columns.

    At least two columns remain, because the decoder reads all columns except the last.
    """
    ids = ids[..., : max(2, int(counts.max()))]
    position = torch.arange(ids.shape[-1], device=ids.device)
    return Padded(ids, position < counts.unsqueeze(-1))


def take(padded: Padded, rows: Sequence[int]) -> Padded:
    """Return the given rows."""
    index = torch.tensor(rows, device=padded.ids.device)
    return Padded(padded.ids[index], padded.mask[index])


def chunks(rows: Sequence[int], size: int) -> list[Sequence[int]]:
    """Split rows into consecutive parts of at most `size`.

    >>> chunks(range(5), 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def in_chunks(network: nn.Module, prompts: Padded, actions: Padded, size: int) -> Tensor:
    """Return the network's output for all prompts, computed in chunks of `size` prompts."""
    parts = chunks(range(len(prompts.ids)), size)
    return torch.cat([network(take(prompts, rows), take(actions, rows)) for rows in parts])
