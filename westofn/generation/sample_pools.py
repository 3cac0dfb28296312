"""A pool of N candidates for every prompt, in committed shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.core.halving import in_halves
from westofn.execution.shards import run_shards
from westofn.generation.hf import decode, sample
from westofn.models.policy import Policy

PROMPTS_A_SHARD = 64


@dataclass(frozen=True)
class Draw:
    """How to sample: N candidates, the temperature, and the seed of this stage."""

    n_candidates: int
    temperature: float
    seed: int


def sample_pool(
    policy: Policy, prompts: pl.DataFrame, draw: Draw, folder: Path, description: str
) -> pl.DataFrame:
    """Table candidates: `draw.n_candidates` responses for every row of `prompts`.

    Args:
        policy: The policy.
        prompts: Rows of table prompts.
        draw: Candidates a prompt, temperature and seed.
        folder: Scratch folder that belongs to this work alone; its finished shards are used.
        description: Shown beside the progress bar.
    """
    rows = prompts.sort("prompt_id").select("prompt_id", "prompt").rows()
    frame = run_shards(
        rows,
        lambda group: _shard(policy, group, draw),
        table=CANDIDATES,
        folder=folder,
        size=PROMPTS_A_SHARD,
        description=description,
    )
    if frame.height != len(rows) * draw.n_candidates:
        raise AssertionError(f"{frame.height} candidates for {len(rows)} prompts")
    return frame


def _shard(policy: Policy, rows: Sequence[tuple[str, str]], draw: Draw) -> pl.DataFrame:
    """Candidates of a few prompts; out of memory: fewer candidates at once, then fewer prompts."""
    frames = in_halves(
        rows,
        lambda group: in_halves(
            range(draw.n_candidates), lambda indices: [_rows(policy, group, indices, draw)]
        ),
    )
    return pl.concat(frames)


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
