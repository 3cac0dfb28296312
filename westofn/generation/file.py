"""Pools that were generated elsewhere: texts from a file, log-likelihoods from the policy here.

For the rows see `westofn/sources/pool_files.py`. Another engine's log-likelihoods are not read: the
likelihood filter needs log π(y|x) of the policy at hand, by the one scorer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.execution.halving import in_halves
from westofn.execution.shards import run_shards
from westofn.generation.pool import PROMPTS_A_SHARD
from westofn.models.policy import Policy, log_likelihood
from westofn.sources.pool_files import NOT_USED, Pool, pools_of
from westofn.sources.reading import Row, files_of, rows_of
from westofn.sources.splits import prompt_id


@dataclass(frozen=True)
class FilePools:
    """N responses for every prompt, and what was not used.

    Attributes:
        pools: responses by prompt_id, in the order of the file.
        counts: what was not used, by the reasons of NOT_USED.
    """

    pools: Mapping[str, Sequence[str]]
    counts: dict[str, int]


def read_pools(
    path: Path, prompts: pl.DataFrame, n_candidates: int, policy: Policy, key: str = "sample.path"
) -> FilePools:
    """Read the pools of some prompts; of each the first N responses that fit are taken.

    Args:
        path: a file, or a folder of files.
        prompts: rows of table prompts.
        n_candidates: N.
        policy: tells which responses fit: one is never cut, so a longer one is left out.
        key: the parameter that a message says to mend.

    Raises:
        DataError: a file or row cannot be read, a prompt has no pool or two, or too few responses.
    """
    wanted = set(prompts["prompt_id"])
    # By their texts too, since the embedded world's names are no hashes of them.
    name_of = {
        prompt_id(asked): name for name, asked in prompts.select("prompt_id", "prompt").iter_rows()
    }
    pools: dict[str, list[str]] = {}
    counts = Counter(dict.fromkeys(NOT_USED, 0))
    for pool in pools_of(_rows(path, key), name_of, {}):
        if pool.prompt_id in wanted:
            pools[pool.prompt_id] = _fitting(pool, n_candidates, policy, counts)
        else:
            counts["rows_other_prompts"] += 1
    for name, prompt in prompts.sort("prompt_id").select("prompt_id", "prompt").iter_rows():
        if name not in pools:
            raise DataError(
                f"{path}: {len(wanted - set(pools))} of {len(wanted)} prompts have no pool, first "
                f"{name} ({show(prompt)}); needs one each: generate for all of D_U "
                f"(data/prepared/prompts.parquet, split unlabeled), or set sample.engine to local"
            )
    return FilePools(pools, dict(counts))


def score_pools(
    policy: Policy, prompts: pl.DataFrame, pools: FilePools, folder: Path, description: str
) -> pl.DataFrame:
    """Table candidates: the pools with their log-likelihoods.

    Args:
        policy: scores.
        prompts: rows of table prompts.
        pools: of exactly these prompts.
        folder: scratch folder of exactly this work; shards found there are kept.
        description: shown beside the progress bar.
    """
    rows = prompts.sort("prompt_id").select("prompt_id", "prompt").rows()
    return run_shards(
        rows,
        lambda some: _scored(policy, some, pools.pools),
        table=CANDIDATES,
        folder=folder,
        size=PROMPTS_A_SHARD,
        description=description,
    )


def _rows(path: Path, key: str) -> Iterator[Row]:
    for file in files_of(path, key):
        yield from rows_of(file)


def _fitting(pool: Pool, n_candidates: int, policy: Policy, counts: Counter[str]) -> list[str]:
    name, given = pool.prompt_id, pool.responses
    fitting = [one for one, fits in zip(given, policy.encoder.fits(given), strict=True) if fits]
    too_long = len(given) - len(fitting)
    if len(fitting) < n_candidates:
        raise DataError(
            f"{pool.where}: prompt {name} has {len(given)} responses, {too_long} of them longer "
            f"than {policy.encoder.template.max_response_tokens} tokens; needs {n_candidates} that "
            f"fit: give more, or lower sample.n_candidates"
        )
    counts["responses_too_long"] += too_long
    counts["responses_surplus"] += len(fitting) - n_candidates
    return fitting[:n_candidates]


def _scored(
    policy: Policy, rows: Sequence[tuple[str, str]], pools: Mapping[str, Sequence[str]]
) -> pl.DataFrame:
    entries = [
        (name, prompt, index, response)
        for name, prompt in rows
        for index, response in enumerate(pools[name])
    ]

    def scores(some: Sequence[tuple[str, str, int, str]]) -> list[tuple[float, int]]:
        found = log_likelihood(policy, [row[1] for row in some], [row[3] for row in some])
        return list(zip(found.logprob.tolist(), found.n_tokens.tolist(), strict=True))

    found = in_halves(entries, scores)
    return pl.DataFrame(
        {
            "prompt_id": [row[0] for row in entries],
            "candidate_index": [row[2] for row in entries],
            "response": [row[3] for row in entries],
            # A certain token's log-probability may round to just above zero.
            "logprob": [min(logprob, 0.0) for logprob, _ in found],
            "n_tokens": [n_tokens for _, n_tokens in found],
            "finish_reason": ["stop"] * len(entries),
        },
        schema=CANDIDATES.columns,
    )
