"""Stage 4 of 9, `sample`: N candidates for every unlabeled prompt, with their log-likelihoods.

reads   data/prepared/prompts.parquet (split unlabeled), data/loop/k0/policy, sample.path
writes  data/loop/k1/candidates.parquet, data/loop/k1/counts.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from stages.common import In, Out, run
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.json_file import write_json
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError
from westofn.execution.account import tell
from westofn.execution.guards import sample_readings, tell_readings
from westofn.execution.stage_accounts import sample_account
from westofn.params.file import load_section, load_seed
from westofn.params.sample import SampleParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime, set_up_torch
from westofn.sources.pool_files import NOT_USED
from westofn.sources.reading import files_of

if TYPE_CHECKING:
    from westofn.models.policy import Policy


def main(prepared: In, policy: In, out: Out, counts: Out) -> None:
    """Sample the previous iteration's policy on D_U, or read pools that were made elsewhere.

    Counts are of the candidates, and of what such pools hold and the candidates do not.
    """
    name = f"sample-{out.parent.name}"
    read = load_section(SampleParams).engine == "file"
    make = read_split if read else sample_split
    numbers = make(name, "unlabeled", prepared, policy, out, counts)
    tell(sample_account("sample", numbers))
    tell_readings(sample_readings(name.replace("-", " "), numbers))


def sample_split(
    name: str,
    split: str,
    prepared: Path,
    policy: Path,
    out: Path,
    counts: Path | None = None,
) -> Mapping[str, float | int]:
    """Sample a policy on the prompts of a split; `name` keys the seed and the scratch folder.

    Returns:
        Counts of the candidates, see `counts_of`; written to `counts` too, after the candidates.
    """
    require_saved("policy", policy)
    params, seed, runtime = load_section(SampleParams), load_seed(), load_runtime()
    source = prepared / "prompts.parquet"
    prompts = prompts_of(source, split)

    from westofn.core.seeds import derive_seed
    from westofn.execution.scratch import scratch
    from westofn.generation.sample_pools import Draw, sample_pool
    from westofn.models.policy import load_policy

    device = set_up_torch(runtime)
    draw = Draw(params.n_candidates, params.temperature, derive_seed(seed, name))
    with scratch(name, [draw.__dict__, split], [source, policy]) as folder:
        model = load_policy(policy, device)
        frame = sample_pool(model, prompts, draw, folder, name)
        numbers = dict.fromkeys(NOT_USED, 0) | counts_of(frame, prompts, model)
        CANDIDATES.write(frame, out)
        if counts:
            write_json(numbers, counts)
    return numbers


def read_split(
    name: str, split: str, prepared: Path, policy: Path, out: Path, counts: Path
) -> Mapping[str, float | int]:
    """Read pools for the prompts of a split and score them; `name` keys the scratch folder.

    Returns:
        Counts of the candidates, see `counts_of`, and of what was not used, by reason; written to
        `counts` too, after the candidates.
    """
    require_saved("policy", policy)
    params, runtime = load_section(SampleParams), load_runtime()
    source, path = prepared / "prompts.parquet", Path(params.path)
    prompts = prompts_of(source, split)
    files_of(path, "sample.path")

    from westofn.execution.scratch import scratch
    from westofn.generation.file import read_pools, score_candidates
    from westofn.models.policy import load_policy

    device = set_up_torch(runtime)
    model = load_policy(policy, device)
    pools, unused = read_pools(path, prompts, params.n_candidates, model)
    with scratch(name, [params.n_candidates, split], [source, policy, path]) as folder:
        frame = score_candidates(model, pools, folder, name)
        numbers = unused | counts_of(frame, prompts, model)
        CANDIDATES.write(frame, out)
        write_json(numbers, counts)
    return numbers


def counts_of(
    candidates: pl.DataFrame, prompts: pl.DataFrame, policy: Policy
) -> dict[str, float | int]:
    """Numbers of prompts, of those that the policy reads trimmed, of candidates and cut ones.

    Also how much the candidates repeat, see `repetition`.
    """
    from westofn.generation.repetition import repetition

    pools = candidates.group_by("prompt_id", maintain_order=True).agg("response")
    return {
        "prompts": prompts.height,
        "prompts_trimmed": sum(policy.encoder.trims(prompts["prompt"].to_list())),
        "candidates": candidates.height,
        "candidates_cut": candidates.filter(pl.col("finish_reason") == "length").height,
        **repetition(pools["response"].to_list(), policy.encoder),
    }


def prompts_of(source: Path, split: str) -> pl.DataFrame:
    """The prompts of a split, of which there must be some."""
    prompts = PROMPTS.read(source).filter(pl.col("split") == split)
    if not prompts.height:
        raise DataError(f"{source}: no prompt has split {split}, needs at least 1; rerun prepare")
    return prompts


if __name__ == "__main__":
    run(main)
