"""KL divergence of the policy from its start, with the same prompts and seed each time."""

from __future__ import annotations

import torch

from westofn.generation.hf import sample
from westofn.training.rl.checkpoint import Record
from westofn.training.rl.rollout import Crew, Prompts, actions_of, chunks, padded_prompts, take
from westofn.training.rl.tempered import action_counts

PROBE_PROMPTS = 64


@torch.no_grad()
def probe(crew: Crew, prompts: Prompts, seed: int) -> Record:
    """Sample one response per prompt from π_T and compare the token distributions.

    Args:
        crew: Policy and reference.
        prompts: A fixed set of prompts.
        seed: Seed of the samples, equal at every evaluation.

    Returns:
        kl: KL(π_T, π_T,start) of a response in nats: the sum over positions of the exact divergence
            of the next token given the sampled prefix. It is unbiased, nonnegative up to
            rounding, and 0 for equal weights.
        entropy: Entropy of the next token in nats, mean over positions.
        length: Mean number of tokens in a response, including the end token.
    """
    policy = crew.policy.policy
    encoder, device = policy.encoder, crew.accelerator.device
    samples = sample(
        policy,
        prompts.texts,
        prompts.ids,
        indices=[0],
        temperature=crew.policy.temperature,
        seed=seed,
    )
    limit = encoder.template.max_response_tokens
    drawn = actions_of(
        samples.ids[..., :limit].to(device), action_counts(samples, limit).to(device)
    )
    padded = padded_prompts(encoder, prompts, device)
    divergence = entropy = 0.0
    for rows in chunks(range(len(prompts)), crew.chunk):
        states, actions = take(padded, rows), take(drawn, rows)
        current = crew.policy.log_distribution(states, actions)
        start = crew.reference.log_distribution(states, actions)
        weight = current.exp() * actions.mask.unsqueeze(-1)
        divergence += float((weight * (current - start)).sum())
        entropy -= float((weight * current).sum())
    return {
        "kl": divergence / len(prompts),
        "entropy": entropy / float(drawn.mask.sum()),
        "length": float(samples.n_tokens.float().mean()),
    }
