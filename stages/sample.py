"""Stage 4 of 9, `sample`: N candidates for every unlabeled prompt, with their log-likelihoods.

reads   data/prepared/prompts.parquet (split unlabeled), data/loop/k0/policy
writes  data/loop/k1/candidates.parquet
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from stages.common import In, Out, run
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError
from westofn.params import load_params


def main(prepared: In, policy: In, out: Out) -> None:
    """Sample the previous iteration's policy on D_U."""
    sample_split(f"sample-{out.parent.name}", "unlabeled", prepared, policy, out)


def sample_split(name: str, split: str, prepared: Path, policy: Path, out: Path) -> None:
    """Sample a policy on the prompts of a split; `name` keys the seed and the scratch folder."""
    from westofn.core.seeds import derive_seed
    from westofn.execution.scratch import scratch
    from westofn.generation.pool import Draw, sample_pool
    from westofn.models.policy import load_policy
    from westofn.runtime import set_up_torch

    params, device = load_params(), set_up_torch()
    source = prepared / "prompts.parquet"
    prompts = PROMPTS.read(source).filter(pl.col("split") == split)
    if not prompts.height:
        raise DataError(f"{source}: no prompt has split {split}, needs at least 1; rerun prepare")
    draw = Draw(
        params.sample.n_candidates, params.sample.temperature, derive_seed(params.seed, name)
    )
    with scratch(name, [draw.__dict__, split], [source, policy]) as folder:
        frame = sample_pool(load_policy(policy, device), prompts, draw, folder, name)
        CANDIDATES.write(frame, out)


if __name__ == "__main__":
    run(main)
