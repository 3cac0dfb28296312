"""One batch of experience: responses, their rewards, and their log-probabilities."""

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
from westofn.training.rl.processes import Accelerator, everyones, share_of
from westofn.training.rl.tempered import TemperedPolicy, action_counts


@dataclass(frozen=True)
class Prompts:
    """Prompts to learn from, each with its id, which keys the randomness of its responses."""

    ids: list[str]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Prompts:
        """Some of the prompts."""
        return Prompts([self.ids[i] for i in rows], [self.texts[i] for i in rows])


@dataclass(frozen=True)
class Rollout:
    """K responses to each of P prompts; the same on every process.

    Attributes:
        prompts: (P, S).
        actions: (P, K, T).
        logprob: (P, K, T) log π_T when the responses were drawn, nats.
        ref_logprob: (P, K, T) of the frozen start policy, nats.
        reward: (P, K) standardised.
        cut: Responses that reached the limit without an end token.
    """

    prompts: Padded
    actions: Padded
    logprob: Tensor
    ref_logprob: Tensor
    reward: Tensor
    cut: int

    @property
    def kl(self) -> Tensor:
        """(P, K, T) log π_T − log π_T,start: unbiased for the KL divergence, of either sign."""
        return kl_per_token(self.logprob, self.ref_logprob)


@dataclass(frozen=True)
class Crew:
    """Who makes a rollout, and how: `chunk` prompts go through a network at once."""

    policy: TemperedPolicy
    reference: TemperedPolicy
    scorer: Scorer
    accelerator: Accelerator
    chunk: int


@torch.no_grad()
def roll_out(crew: Crew, prompts: Prompts, *, per_prompt: int, seed: int) -> Rollout:
    """Sample, score, and look up log-probabilities; processes share the work and the result.

    A response that the limit cut is scored as it stands.

    Args:
        crew: See Crew.
        prompts: P prompts, a multiple of the number of processes.
        per_prompt: K.
        seed: Of this batch's samples.
    """
    accelerator, policy = crew.accelerator, crew.policy.policy
    own = share_of(accelerator, len(prompts))
    mine = prompts.take(own)
    samples = sample(
        policy,
        mine.texts,
        mine.ids,
        indices=range(per_prompt),
        temperature=crew.policy.temperature,
        seed=seed,
    )
    rewards = standardised_rewards(crew.scorer, mine.texts, decode(policy, samples))
    limit = policy.encoder.template.max_response_tokens

    def whole(share: Tensor) -> Tensor:
        return everyones(accelerator, share)

    states = padded_prompts(policy.encoder, prompts, accelerator.device)
    actions = actions_of(whole(samples.ids[..., :limit]), whole(action_counts(samples, limit)))
    logprob, reference = (
        whole(in_chunks(network, take(states, own), take(actions, own), crew.chunk))
        for network in (crew.policy, crew.reference)
    )
    cut = int(whole((~samples.stopped).sum().reshape(1)).sum())
    return Rollout(states, actions, logprob, reference, whole(rewards), cut)


def standardised_rewards(
    scorer: Scorer, prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> Tensor:
    """(reward − mean) / standard deviation, both stored with the model; (P, K) on the CPU."""
    raw = torch.stack(score_pools(scorer, prompts, responses))[..., 0]
    return (raw - scorer.reward_mean) / scorer.reward_std


def padded_prompts(encoder: Encoder, prompts: Prompts, device: torch.device) -> Padded:
    """(P, S) on the device."""
    rows = pad(encoder.prompts(prompts.texts), encoder.pad_id)
    return Padded(rows.ids.to(device), rows.mask.to(device))


def actions_of(ids: Tensor, counts: Tensor) -> Padded:
    """The first `counts` (P, K) tokens of ids (P, K, limit), without columns of padding only.

    Two columns stay even where every response is empty: the decoder reads all but the last.
    """
    ids = ids[..., : max(2, int(counts.max()))]
    position = torch.arange(ids.shape[-1], device=ids.device)
    return Padded(ids, position < counts.unsqueeze(-1))


def take(rows: Padded, some: Sequence[int]) -> Padded:
    """Some of the rows."""
    index = torch.tensor(some, device=rows.ids.device)
    return Padded(rows.ids[index], rows.mask[index])


def chunks(rows: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive parts of at most `size` rows.

    >>> chunks(range(5), 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def in_chunks(network: nn.Module, prompts: Padded, actions: Padded, size: int) -> Tensor:
    """The network's output for all prompts, a few at a time."""
    parts = chunks(range(len(prompts.ids)), size)
    return torch.cat([network(take(prompts, some), take(actions, some)) for some in parts])
