"""Rewards of candidates to the kept pairs with their texts, beside pandas and `datasets.map`.

Beside the pairs, `won_select` needs those among the first 2, 4, 8, … candidates and the spread of
each pool, which the peers do not give: the loop is timed without them and with them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import torch

from benchmarks.speed.rounds import Timed, compare
from benchmarks.speed.tables import FILTER, read_rewards
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import PoolRows, pool_rows
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.core.selection import SELECTORS, nested_best_worst_by_rewards
from westofn.pairing.filters import filter_frames
from westofn.pairing.frames import pair_indices
from westofn.pairing.select import choose_by_rewards

SIDES = {"chosen": "idxmax", "rejected": "idxmin"}
KEPT = ["prompt_id", "prompt", "chosen", "rejected", "p_chosen"]


def measure(folder: Path, rounds: int) -> list[Timed]:
    """Time the loop on tables in memory, and from files to a file.

    Args:
        folder: Tables of `make_tables`.
        rounds: Number of rounds.
    """
    datasets.disable_progress_bars()
    datasets.disable_caching()
    rewards = read_rewards(folder)
    candidates, prompts = folder / "candidates.parquet", folder / "prompts.parquet"
    ours = CANDIDATES.read(candidates), PROMPTS.read(prompts)
    frames = [pd.read_parquet(path) for path in (candidates, prompts)]
    sets = [datasets.Dataset.from_pandas(frame) for frame in frames]
    size = f"{rewards.shape[0]:,} × {rewards.shape[1]}"
    in_memory = compare(
        f"select, filter, join {size}, tables in memory",
        lambda: _ours(rewards, ours[1], [PoolRows.of(*ours)]),
        {
            "pandas": partial(_pandas, rewards, *frames),
            "`datasets.map`": partial(_datasets, rewards, *sets),
        },
        rounds,
        _same,
    )
    nested = compare(
        "the same with nested pairs and spread",
        lambda: _ours(rewards, ours[1], [PoolRows.of(*ours)], nested=True),
        {"pandas": partial(_pandas, rewards, *frames)},
        rounds,
        _same,
    )
    out = folder / "kept.parquet"
    from_files = compare(
        f"select, filter, join {size}, from files to a file",
        lambda: _write_ours(rewards, candidates, prompts, out),
        {"pandas": lambda: _write_pandas(rewards, candidates, prompts, out)},
        rounds,
        _same,
    )
    return [*in_memory, *nested, *from_files]


def _ours(rewards: Any, prompts: pl.DataFrame, rows: Any, nested: bool = False) -> pl.DataFrame:
    ids, values, count = prompts["prompt_id"].to_list(), torch.from_numpy(rewards), rewards.shape[1]
    if nested:
        usable = torch.ones(rewards.shape, dtype=torch.bool)
        chosen = choose_by_rewards(values, ids, SELECTORS["west"], 0, usable).pairs
    else:
        chosen = nested_best_worst_by_rewards(values, (count,))[count]
    no_fault = pl.lit(None, dtype=pl.String).alias("fault")
    filtered = filter_frames(pair_indices(ids, chosen).with_columns(no_fault), rows, FILTER)
    return filtered.preferences("k1")


def _write_ours(rewards: Any, candidates: Path, prompts: Path, out: Path) -> pl.DataFrame:
    texts = PROMPTS.read(prompts)
    kept = _ours(rewards, texts, pool_rows(candidates, texts, 1024))
    PREFERENCES.write(kept, out)
    return kept


def _pandas(rewards: Any, candidates: Any, prompts: Any) -> Any:
    table = candidates.assign(reward=rewards.ravel())
    pools = table.groupby("prompt_id")["reward"]
    best, worst = (table.loc[getattr(pools, name)()] for name in SIDES.values())
    return _filtered(best.merge(worst, on="prompt_id", suffixes=("_chosen", "_rejected")), prompts)


def _datasets(rewards: Any, candidates: Any, prompts: Any) -> Any:
    table = candidates.add_column("reward", rewards.ravel())

    def pick(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        places = {
            "chosen": int(np.argmax(rows["reward"])),
            "rejected": int(np.argmin(rows["reward"])),
        }
        picked = {
            f"{name}_{side}": [rows[name][place]]
            for side, place in places.items()
            for name in ("response", "logprob", "n_tokens", "reward")
        }
        return {"prompt_id": rows["prompt_id"][:1], **picked}

    pools = table.map(
        pick, batched=True, batch_size=rewards.shape[1], remove_columns=table.column_names
    )
    return _filtered(pools.to_pandas(), prompts.to_pandas())


def _filtered(pairs: Any, prompts: Any) -> Any:
    """The confident and likely pairs with their prompts."""
    margin = pairs["reward_chosen"].astype(float) - pairs["reward_rejected"]
    pairs["p_chosen"] = 1 / (1 + np.exp(-margin))
    likely = [pairs[f"logprob_{side}"].astype(float) / pairs[f"n_tokens_{side}"] for side in SIDES]
    texts = [pairs[f"response_{side}"] for side in SIDES]
    low = np.quantile(np.concatenate(likely), FILTER.likelihood_quantile)
    kept = pairs["p_chosen"] >= pairs["p_chosen"].quantile(FILTER.quantile)
    kept &= (likely[0] >= low) & (likely[1] >= low) & (texts[0] != texts[1])
    kept &= (texts[0].str.strip() != "") & (texts[1].str.strip() != "")
    joined = pairs[kept].merge(prompts, on="prompt_id")
    return joined.rename(columns={f"response_{side}": side for side in SIDES})[KEPT]


def _write_pandas(rewards: Any, candidates: Path, prompts: Path, out: Path) -> Any:
    kept = _pandas(rewards, pd.read_parquet(candidates), pd.read_parquet(prompts))
    kept.to_parquet(out)
    return kept


def _same(ours: Any, theirs: Any) -> bool:
    mine, other = (frame.sort("prompt_id") for frame in (ours, pl.from_pandas(theirs)))
    texts = KEPT[:-1]
    return bool(
        mine.select(texts).equals(other.select(texts))
        and np.allclose(mine["p_chosen"], other["p_chosen"], rtol=1e-5, atol=0)
    )
