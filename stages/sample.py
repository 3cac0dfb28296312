"""Stage 4 of 9, `sample`: N candidates for every unlabeled prompt, with their log-likelihoods.

reads   data/prepared/prompts.parquet (split unlabeled), data/loop/k0/policy, sample.path; a server
writes  data/loop/k1/candidates.parquet, data/loop/k1/counts.json
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from stages.common import In, Out, run
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.json_file import write_json
from westofn.artifacts.pools import PROMPTS_AT_ONCE
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
    from westofn.models.policy import SavedPolicy


def main(prepared: In, policy: In, out: Out, counts: Out) -> None:
    """Sample the previous iteration's policy on D_U, or read pools that were made elsewhere.

    Counts are of the candidates, and of what such pools hold and the candidates do not.
    """
    name = f"sample-{out.parent.name}"
    engine = load_section(SampleParams).engine
    if engine == "file":
        numbers = read_split(name, "unlabeled", prepared, policy, out, counts)
    else:
        numbers = sample_split(name, "unlabeled", prepared, policy, out, counts, engine=engine)
    tell(sample_account("sample", numbers))
    tell_readings(sample_readings(name.replace("-", " "), numbers))


def sample_split(
    name: str,
    split: str,
    prepared: Path,
    policy: Path,
    out: Path,
    counts: Path | None = None,
    *,
    engine: str = "local",
) -> Mapping[str, float | int]:
    """Sample a policy on the prompts of a split; `name` keys the seed and the scratch folder.

    With engine `vllm` or `openai`, vLLM or a server draws the samples, and the policy here scores
    them.

    Returns:
        Counts of the candidates, see `counts_of`; written to `counts` too, after the candidates.
    """
    require_saved("policy", policy)
    params, seed, runtime = load_section(SampleParams), load_seed(), load_runtime()
    source = prepared / "prompts.parquet"
    prompts = prompts_of(source, split)

    from westofn.core.seeds import derive_seed
    from westofn.execution.scratch import scratch
    from westofn.generation.sample_pools import Draw, sample_shards
    from westofn.models.policy import SavedPolicy

    draw = Draw(params.n_candidates, params.temperature, derive_seed(seed, name))
    key: list[object] = [draw.__dict__, split]
    if engine == "openai":  # imported here, since the client takes a second
        from westofn.generation.server import ServerSampler, sampling_server

        server = sampling_server(runtime)
        served_name = params.model.replace("{round}", policy.parent.name)
        key += [served_name, params.api]
    elif engine == "vllm":
        from westofn.execution.vllm_engine import require_vllm
        from westofn.generation.vllm import VllmSampler

        require_vllm(runtime)
        key.append(engine)
    set_up_torch(runtime)
    with scratch(name, key, [source, policy]) as folder:
        model = SavedPolicy.of(policy)
        if engine == "openai":
            sampler = ServerSampler(server, served_name, params.api, model, draw)
            files = sampler.shards(prompts, folder, name)
        elif engine == "vllm":
            files = VllmSampler(model, draw, runtime).shards(prompts, folder, name)
        else:
            files = sample_shards(model, prompts, draw, folder, name)
        CANDIDATES.gather(files, out)
        numbers = dict.fromkeys(NOT_USED, 0) | counts_of(out, prompts, model)
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
    from westofn.generation.file import read_pools, score_shards
    from westofn.models.policy import SavedPolicy

    set_up_torch(runtime)
    model = SavedPolicy.of(policy)
    pools, unused = read_pools(path, prompts, params.n_candidates, model)
    with scratch(name, [params.n_candidates, split], [source, policy, path]) as folder:
        CANDIDATES.gather(score_shards(model, pools, folder, name), out)
        numbers = unused | counts_of(out, prompts, model)
        write_json(numbers, counts)
    return numbers


def counts_of(
    candidates: Path, prompts: pl.DataFrame, policy: SavedPolicy
) -> dict[str, float | int]:
    """Numbers of prompts, of those that the policy reads trimmed, of candidates and cut ones.

    Also how much the candidates repeat, see `repetition`.
    """
    from westofn.generation.repetition import repetition

    counted: Counter[str] = Counter()

    def pools() -> Iterator[list[str]]:
        for part in CANDIDATES.parts(candidates, PROMPTS_AT_ONCE):
            counted["all"] += part.height
            counted["cut"] += part.filter(pl.col("finish_reason") == "length").height
            by_prompt = part.group_by("prompt_id", maintain_order=True).agg("response")
            yield from by_prompt["response"].to_list()

    repeated = repetition(pools(), policy.encoder)
    asked = prompts.iter_slices(PROMPTS_AT_ONCE)
    return {
        "prompts": prompts.height,
        "prompts_trimmed": sum(
            sum(policy.encoder.trims(part["prompt"].to_list())) for part in asked
        ),
        "candidates": counted["all"],
        "candidates_cut": counted["cut"],
        **repeated,
    }


def prompts_of(source: Path, split: str) -> pl.DataFrame:
    """The prompts of a split, of which there must be some."""
    prompts = PROMPTS.read(source).filter(pl.col("split") == split)
    if not prompts.height:
        raise DataError(f"{source}: no prompt has split {split}, needs at least 1; rerun prepare")
    return prompts


if __name__ == "__main__":
    run(main)
