"""Tables of candidates and prompts, and rewards of the candidates, drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.prompts import PROMPTS
from westofn.generation.sample_pools import PROMPTS_A_SHARD
from westofn.params.filter import FilterParams

WORDS = ("a", "post", "about", "the", "cat", "that", "sat", "under", "blue", "tree", "sang", "long")
FILTER = FilterParams(quantile=0.5, likelihood_quantile=0.1, likelihood_normalisation="per_token")


def make_tables(folder: Path, prompts: int, candidates: int) -> None:
    """Write candidates.parquet, prompts.parquet and rewards.npy (P, N) to a new folder.

    A response has 6 to 16 words, 50 characters on average.
    """
    folder.mkdir()
    draw, rows = np.random.default_rng(0), prompts * candidates
    halves = pl.Series([" ".join(draw.choice(WORDS, size)) for size in draw.integers(3, 9, 20_000)])
    first, second = (halves.gather(draw.integers(0, len(halves), rows)) for _ in range(2))
    ids = pl.Series([f"p{row:08d}" for row in range(prompts)])
    table = pl.DataFrame(
        {
            "prompt_id": ids.gather(np.repeat(np.arange(prompts), candidates)),
            "candidate_index": np.tile(np.arange(candidates, dtype=np.int32), prompts),
            "response": first + " " + second,
            "logprob": -draw.gamma(5, 3, rows).astype(np.float32),
            "n_tokens": draw.integers(4, 20, rows).astype(np.int32),
            "finish_reason": pl.Series(["stop"]).new_from_index(0, rows),
        }
    )
    CANDIDATES.write(table, folder / "candidates.parquet")
    texts = pl.DataFrame({"prompt_id": ids, "prompt": "a post about " + ids})
    PROMPTS.write(texts.with_columns(split=pl.lit("unlabeled")), folder / "prompts.parquet")
    np.save(folder / "rewards.npy", draw.normal(size=(prompts, candidates)).astype(np.float32))


def make_shards(folder: Path, prompts: int = PROMPTS_A_SHARD) -> None:
    """Write the candidates of a folder of `make_tables` to its folder `shards`, as `sample` does.

    Args:
        folder: The folder.
        prompts: Prompts of a file.
    """
    (folder / "shards").mkdir()
    parts = CANDIDATES.parts(folder / "candidates.parquet", prompts)
    for number, part in enumerate(parts):
        CANDIDATES.write(part, folder / f"shards/{number * prompts:08d}.parquet")


def read_rewards(folder: Path) -> NDArray[np.float32]:
    """Return the rewards (P, N) of the candidates of a folder."""
    rewards: NDArray[np.float32] = np.load(folder / "rewards.npy")
    return rewards
