"""A pool of N candidates for every prompt, in committed shards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.core.halving import in_halves
from westofn.execution.job import Group, Job, Work
from westofn.execution.shards import shard_files
from westofn.generation.hf import decode, sample
from westofn.models.policy import Policy, SavedPolicy, load_policy
from westofn.networks.room import free_bytes
from westofn.runtime import set_up_torch

PROMPTS_A_SHARD = 64
"""Prompts in a shard, at most."""
TOKENS_A_SHARD = 2**17
"""Tokens of responses in a shard, at most, unless one prompt has more: what a kill may lose."""
"""Logits, scaled logits, probabilities, their sums, and what softmax holds meanwhile."""


@dataclass(frozen=True)
class Draw:
    """How to sample: N candidates, the temperature, and the seed of this stage."""

    n_candidates: int
    temperature: float
    seed: int


def sample_pool(
    policy: Policy | SavedPolicy,
    prompts: pl.DataFrame,
    draw: Draw,
    folder: Path,
    description: str,
) -> pl.DataFrame:
    """Table candidates: `draw.n_candidates` responses for every row of `prompts`.

    The arguments are those of `sample_shards`.
    """
    files = sample_shards(policy, prompts, draw, folder, description)
    return pl.concat(map(CANDIDATES.read, files))


def sample_shards(
    policy: Policy | SavedPolicy,
    prompts: pl.DataFrame,
    draw: Draw,
    folder: Path,
    description: str,
) -> list[Path]:
    """Files of table candidates: `draw.n_candidates` responses for every row of `prompts`.

    Args:
        policy: The policy; a saved one is loaded by the processes that `executor` of runtime.toml
            says.
        prompts: Rows of table prompts.
        draw: Candidates a prompt, temperature and seed.
        folder: Scratch folder that belongs to this work alone; its finished shards are used.
        description: Shown beside the progress bar.
    """
    rows = prompts.sort("prompt_id").select("prompt_id", "prompt").rows()
    return shard_files(
        rows,
        with_policy(policy, partial(_shard, draw=draw)),
        table=CANDIDATES,
        folder=folder,
        size=prompts_a_shard(draw.n_candidates, policy.encoder.template.max_response_tokens),
        description=description,
    )


def with_policy(
    policy: Policy | SavedPolicy, work: Callable[[Policy, Group], pl.DataFrame]
) -> Work[Group] | Job[Group]:
    """The work of shards that a policy does: in this process, or where a saved one is loaded."""
    if isinstance(policy, SavedPolicy):
        return Job(partial(_loaded, policy.folder), work)
    return partial(work, policy)


def _loaded(folder: Path) -> Policy:
    return load_policy(folder, set_up_torch())


def prompts_a_shard(n_candidates: int, max_response_tokens: int) -> int:
    """Return how many prompts are sampled before the result is saved.

    >>> prompts_a_shard(64, 32), prompts_a_shard(64, 512), prompts_a_shard(512, 1024)
    (64, 4, 1)
    """
    return max(1, min(PROMPTS_A_SHARD, TOKENS_A_SHARD // (n_candidates * max_response_tokens)))


def _shard(policy: Policy, rows: Sequence[tuple[str, str]], draw: Draw) -> pl.DataFrame:
    """Candidates of a few prompts, as many at once as fit into half of the free memory.

    Linux ends a process that takes more memory than there is, so the size is computed beforehand.
    If memory runs out even so: fewer candidates at once, then fewer prompts.
    """
    free = free_bytes(policy.device)
    prompts, candidates = pass_size(policy, draw.n_candidates, math.inf if free is None else free)
    groups = [rows[start : start + prompts] for start in range(0, len(rows), prompts)]
    drawn = [
        range(first, min(first + candidates, draw.n_candidates))
        for first in range(0, draw.n_candidates, candidates)
    ]
    return pl.concat(
        frame for group in groups for part in drawn for frame in _halved(policy, group, part, draw)
    )


def _halved(
    policy: Policy, rows: Sequence[tuple[str, str]], indices: range, draw: Draw
) -> list[pl.DataFrame]:
    return in_halves(
        rows,
        lambda group: in_halves(indices, lambda part: [_rows(policy, group, part, draw)]),
    )


def pass_size(policy: Policy, n_candidates: int, free: float) -> tuple[int, int]:
    """Return how many prompts and how many candidates of each to draw at once.

    Args:
        policy: The policy.
        n_candidates: Number N of candidates of a prompt.
        free: Free memory, in bytes; half of it is used.

    Returns:
        Numbers of prompts and of candidates, at least 1 each; fewer than N candidates only where
        a single prompt's pool does not fit.
    """
    limits, network = policy.encoder.template, policy.network
    size = limits.max_prompt_tokens, limits.max_response_tokens + 1

    def needed(candidates: int) -> int:
        return network.cache_bytes(size[0], candidates, size[1])

    candidates = n_candidates
    while candidates > 1 and needed(candidates) > free / 2:
        candidates = (candidates + 1) // 2
    if candidates < n_candidates:
        return 1, candidates
    return int(min(PROMPTS_A_SHARD, max(1, free / 2 // needed(candidates)))), candidates


def _rows(
    policy: Policy, rows: Sequence[tuple[str, str]], indices: Sequence[int], draw: Draw
) -> pl.DataFrame:
    prompt_ids = [name for name, _ in rows]
    samples = sample(
        policy,
        [prompt for _, prompt in rows],
        prompt_ids,
        indices=indices,
        temperature=draw.temperature,
        seed=draw.seed,
    )
    texts = [text for pool in decode(policy, samples) for text in pool]
    return pl.DataFrame(
        {
            "prompt_id": [name for name in prompt_ids for _ in indices],
            "candidate_index": list(indices) * len(rows),
            "response": texts,
            "logprob": samples.logprob.flatten().tolist(),
            "n_tokens": samples.n_tokens.flatten().tolist(),
            "finish_reason": ["stop" if s else "length" for s in samples.stopped.flatten()],
        },
        schema=CANDIDATES.columns,
    )
