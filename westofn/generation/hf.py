"""The sampling loop: N responses a prompt from a local model, with their log-likelihoods.

A sample is a function of (seed, prompt_id, candidate index) and the policy: each token is drawn
by inverting the cumulative distribution at a uniform number that is keyed by those and by the
position. So batch size, order and chunking do not enter, up to floating-point rounding of the
logits (a uniform number within 1e-6 of a boundary).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from westofn.core.logprobs import rows_at_once
from westofn.core.seeds import prompt_keys, uniforms
from westofn.models.policy import Policy
from westofn.networks.network import Cache
from westofn.text.encoding import pad

# Below this share of live rows the finished ones are dropped; dropping copies the cache.
COMPACT_BELOW = 0.75
UNCERTAIN = 2**-10
"""Probability of the tokens that may be drawn below which their weights have few digits."""


@dataclass(frozen=True)
class Samples:
    """N responses for each of P prompts.

    Attributes:
        ids: (P, N, T) token ids; the end token included, padding after it.
        logprob: (P, N) sum of log π(y_t | …) at temperature 1, the end token included.
        n_tokens: (P, N) tokens, the end token included.
        stopped: (P, N) bool, True where the end token was drawn, False where the limit cut.
    """

    ids: Tensor
    logprob: Tensor
    n_tokens: Tensor
    stopped: Tensor


def sample(
    policy: Policy,
    prompts: Sequence[str],
    prompt_ids: Sequence[str],
    *,
    indices: Sequence[int],
    temperature: float,
    seed: int,
) -> Samples:
    """Draw candidates `indices` of every prompt.

    Args:
        policy: The policy.
        prompts: P prompts.
        prompt_ids: Their ids, which key the randomness.
        indices: Candidate indices, e.g. range(64); candidate 5 does not depend on the others.
        temperature: Divides the logits for drawing; log-likelihoods stay at temperature 1.
        seed: The run's seed.
    """
    policy.model.eval()
    with torch.inference_mode(), policy.computing():
        return _sample(policy, prompts, prompt_ids, indices, temperature, seed)


def _sample(
    policy: Policy,
    prompts: Sequence[str],
    prompt_ids: Sequence[str],
    indices: Sequence[int],
    temperature: float,
    seed: int,
) -> Samples:
    encoder, network, device = policy.encoder, policy.network, policy.device
    limit = encoder.template.max_response_tokens
    count, per_prompt = len(prompts), len(indices)
    padded = pad(encoder.prompts(prompts), encoder.pad_id)
    states = network.prompt_states(padded.ids.to(device), padded.mask.to(device))
    cache = network.cache(states, per_prompt, limit + 1)
    keys = np.repeat(prompt_keys(prompt_ids), per_prompt)
    draws = _Draws(seed, keys, np.tile(np.asarray(indices), count), device)
    distribution = _Distribution(policy, temperature)

    total = count * per_prompt
    ids = torch.full((total, limit + 1), encoder.pad_id, dtype=torch.long, device=device)
    logprob = torch.zeros(total, device=device)
    live = torch.arange(total, device=device).view(count, per_prompt)  # place in the cache -> row
    running = torch.ones(total, dtype=torch.bool, device=device)
    lengths = torch.zeros(total, dtype=torch.long, device=device)
    tokens = states.start.unsqueeze(-1).expand_as(live)
    for step in range(limit + 1):
        # The limit counts without the end token, which alone may still come after it.
        only = encoder.eos_id if step == limit else None
        drawn, gain = distribution.draw(network.step(cache, tokens), draws.at(step, live), only)
        writing = running[live] & (drawn >= 0)
        ids[live[writing], step] = drawn[writing]
        logprob[live[writing]] += gain[writing]
        lengths[live[writing]] += 1
        running[live[drawn == encoder.eos_id]] = False
        if only is not None or not bool(running.any()):
            break
        alive = running[live]
        if float(alive.float().mean()) < COMPACT_BELOW:
            live, drawn = _compact(cache, live, drawn, alive)
        tokens = drawn
    # By position and not by id: padding may be the end token.
    last = ids.gather(1, (lengths - 1).unsqueeze(1)).squeeze(1)
    return Samples(
        ids=ids.view(count, per_prompt, -1).cpu(),
        logprob=logprob.view(count, per_prompt).clamp_max(0.0).cpu(),
        n_tokens=lengths.view(count, per_prompt).cpu(),
        stopped=(last == encoder.eos_id).view(count, per_prompt).cpu(),
    )


def decode(policy: Policy, samples: Samples) -> list[list[str]]:
    """Texts of the samples, one list a prompt."""
    prompts, per_prompt, _ = samples.ids.shape
    texts = policy.encoder.decode(samples.ids.flatten(0, 1).tolist())
    return [texts[p * per_prompt : (p + 1) * per_prompt] for p in range(prompts)]


class _Draws:
    """Uniform numbers in [0, 1) for any rows at any step."""

    def __init__(
        self, seed: int, keys: np.ndarray, indices: np.ndarray, device: torch.device
    ) -> None:
        self.seed, self.keys, self.indices, self.device = seed, keys, indices, device

    def at(self, step: int, rows: Tensor) -> Tensor:
        """The numbers of these rows at this position, in their shape."""
        flat = rows.reshape(-1).cpu().numpy()
        values = uniforms(self.seed, self.keys[flat], self.indices[flat], step)
        below_one = np.minimum(values, 1 - 2**-24)  # float32 would round what is above to 1
        return torch.from_numpy(below_one).float().to(self.device).view(rows.shape)


def never_drawn(policy: Policy) -> list[int]:
    """Special tokens other than the end token, and padded vocabulary: no text spells them."""
    tokenizer = policy.tokenizer
    # Chat templates write special tokens without a role, which the list of roles lacks.
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    beyond = range(len(tokenizer), policy.network.vocabulary)
    return sorted(({*tokenizer.all_special_ids} | added | {*beyond}) - {policy.encoder.eos_id})


class _Distribution:
    """The next token's distribution; logits exist for a part of the rows at a time."""

    def __init__(self, policy: Policy, temperature: float) -> None:
        never = never_drawn(policy)
        self.network, self.temperature = policy.network, temperature
        self.rows = rows_at_once(policy.network.vocabulary, policy.device)
        self.never = torch.tensor(never, dtype=torch.long, device=policy.device)
        self.last = max({*range(policy.network.vocabulary)}.difference(never))

    def draw(self, states: Tensor, uniform: Tensor, only: int | None) -> tuple[Tensor, Tensor]:
        """Draw a token for every row from softmax(logits / temperature).

        Args:
            states: (P, K, d), states of the rows.
            uniform: (P, K), numbers in [0, 1) at which the cumulative distribution is inverted.
            only: The one token that may be drawn; −1 stands for others. None: any.

        Returns:
            (P, K) ids, and (P, K) log π of these ids (of `only`) at temperature 1, fp32.
        """
        parts = zip(
            torch.split(states.flatten(0, 1), self.rows),
            torch.split(uniform.flatten(), self.rows),
            strict=True,
        )
        drawn, gain = zip(*(self._draw(*part, only) for part in parts), strict=True)
        return torch.cat(drawn).view(uniform.shape), torch.cat(gain).view(uniform.shape)

    def _draw(self, states: Tensor, uniform: Tensor, only: int | None) -> tuple[Tensor, Tensor]:
        logits = self.network.logits(states).float()
        peak = logits.amax(-1, keepdim=True)
        weights = (logits - peak).exp_()
        total = weights.sum(-1, keepdim=True)
        cumulative = weights.index_fill_(-1, self.never, 0.0).cumsum(-1)
        if self.temperature != 1 or bool((cumulative[:, -1:] < UNCERTAIN * total).any()):
            allowed = logits.index_fill(-1, self.never, float("-inf"))
            weights = allowed.sub_(allowed.amax(-1, keepdim=True)).div_(self.temperature).exp_()
            cumulative = weights.cumsum(-1)
        target = uniform.unsqueeze(-1) * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, target, right=True).clamp_max_(self.last)
        if only is not None:
            drawn.masked_fill_(drawn != only, -1)
        chosen = drawn if only is None else torch.full_like(drawn, only)
        gain = logits.gather(-1, chosen) - peak - total.log()
        return drawn.squeeze(-1), gain.squeeze(-1)


def _compact(cache: Cache, live: Tensor, tokens: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    """Keep prompts with live rows, and of each as many rows as the prompt with most has.

    Finished rows that fill the gaps go on decoding; what they draw is never written.
    """
    prompts = alive.any(-1).nonzero().squeeze(-1)
    width = int(alive.sum(-1).max())
    order = alive[prompts].int().argsort(dim=-1, descending=True, stable=True)[:, :width]
    rows = (prompts.unsqueeze(-1) * live.shape[1] + order).reshape(-1)
    cache.keep(prompts, rows)
    shape = (len(prompts), width)
    return live.reshape(-1)[rows].view(shape), tokens.reshape(-1)[rows].view(shape)
