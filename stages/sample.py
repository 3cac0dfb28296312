"""Stage 4 of 9, `sample`: N candidates for every unlabeled prompt, with their log-likelihoods.

reads   data/prepared/prompts.parquet (split unlabeled), data/loop/k0/policy, sample.path
writes  data/loop/k1/candidates.parquet, data/loop/k1/counts.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import typer

from stages.common import In, Out, run
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.json_file import write_json
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError
from westofn.params.file import load_section, load_seed
from westofn.params.sample import SampleParams
from westofn.sources.pool_files import NOT_USED


def main(prepared: In, policy: In, out: Out, counts: Out) -> None:
    """Sample the previous iteration's policy on D_U, or read pools that were made elsewhere.

    Counts are of what such pools hold and the candidates do not; of samples nothing is left out.
    """
    name = f"sample-{out.parent.name}"
    not_used: Mapping[str, int] = dict.fromkeys(NOT_USED, 0)
    if load_section(SampleParams).engine == "file":
        not_used = read_split(name, "unlabeled", prepared, policy, out)
    else:
        sample_split(name, "unlabeled", prepared, policy, out)
    write_json(not_used, counts)


def sample_split(name: str, split: str, prepared: Path, policy: Path, out: Path) -> None:
    """Sample a policy on the prompts of a split; `name` keys the seed and the scratch folder."""
    from westofn.core.seeds import derive_seed
    from westofn.execution.scratch import scratch
    from westofn.generation.sample_pools import Draw, sample_pool
    from westofn.models.policy import load_policy
    from westofn.runtime import set_up_torch

    params, device = load_section(SampleParams), set_up_torch()
    source = prepared / "prompts.parquet"
    prompts = prompts_of(source, split)
    draw = Draw(params.n_candidates, params.temperature, derive_seed(load_seed(), name))
    with scratch(name, [draw.__dict__, split], [source, policy]) as folder:
        frame = sample_pool(load_policy(policy, device), prompts, draw, folder, name)
        CANDIDATES.write(frame, out)


def read_split(name: str, split: str, prepared: Path, policy: Path, out: Path) -> Mapping[str, int]:
    """Read pools for the prompts of a split and score them; `name` keys the scratch folder.

    Returns:
        How much of the pools was not used, by reason.
    """
    from westofn.execution.scratch import scratch
    from westofn.generation.file import read_pools, score_candidates
    from westofn.models.policy import load_policy
    from westofn.runtime import set_up_torch

    params, device = load_section(SampleParams), set_up_torch()
    source, path = prepared / "prompts.parquet", Path(params.path)
    prompts = prompts_of(source, split)
    model = load_policy(policy, device)
    pools, counts = read_pools(path, prompts, params.n_candidates, model)
    if unused := {reason: count for reason, count in counts.items() if count}:
        typer.echo(f"sample: not used of {path}: {unused}")
    with scratch(name, [params.n_candidates, split], [source, policy, path]) as folder:
        CANDIDATES.write(score_candidates(model, pools, folder, name), out)
    return counts


def prompts_of(source: Path, split: str) -> pl.DataFrame:
    """The prompts of a split, of which there must be some."""
    prompts = PROMPTS.read(source).filter(pl.col("split") == split)
    if not prompts.height:
        raise DataError(f"{source}: no prompt has split {split}, needs at least 1; rerun prepare")
    return prompts


if __name__ == "__main__":
    run(main)
