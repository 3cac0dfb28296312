"""How far the policy is from its start, on the same prompts and draws at every evaluation."""

from __future__ import annotations

import torch

from westofn.generation.hf import sample
from westofn.training.rl.checkpoint import Record
from westofn.training.rl.rollout import Crew, Prompts, actions_of, chunks, padded_prompts, take
from westofn.training.rl.tempered import action_counts

PROBE_PROMPTS = 64


@torch.no_grad()
def probe(crew: Crew, prompts: Prompts, seed: int) -> Record:
    """Sample one response a prompt from π_T and compare the distributions along it.

    Args:
        crew: The policy and its reference.
        prompts: A fixed few.
        seed: The same at every evaluation.

    Returns:
        kl: KL(π_T, π_T,start) of a whole response in nats. The sum over its positions of the exact
            divergence of the next token, given what was drawn: unbiased, never negative up to
            rounding, exactly 0 for equal weights.
        entropy: Of the next token in nats, mean over positions.
        length: Tokens of a response, the end token included.
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
    for some in chunks(range(len(prompts)), crew.chunk):
        states, actions = take(padded, some), take(drawn, some)
        now = crew.policy.log_distribution(states, actions)
        start = crew.reference.log_distribution(states, actions)
        weight = now.exp() * actions.mask.unsqueeze(-1)
        divergence += float((weight * (now - start)).sum())
        entropy -= float((weight * now).sum())
    return {
        "kl": divergence / len(prompts),
        "entropy": entropy / float(drawn.mask.sum()),
        "length": float(samples.n_tokens.float().mean()),
    }
