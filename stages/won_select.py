"""Stage 5 of 9, `won_select`: candidates -> one pseudo-labelled pair a prompt.

reads   data/prepared/prompts.parquet, data/loop/k1/candidates.parquet, data/loop/k0/rm
writes  data/loop/k1/pairs/{pairs,nested_pairs,pool_margins}.parquet, summary.json

From the second round on, the first round's base model judges beside the previous student, and the
stage ends with a reason where the pools are beyond what the two can judge.
"""

from __future__ import annotations

import polars as pl

from stages.common import In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.json_file import write_json
from westofn.artifacts.nested_pairs import NESTED_PAIRS
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pool_margins import POOL_MARGINS
from westofn.artifacts.pools import PoolFile
from westofn.artifacts.prompts import PROMPTS
from westofn.execution.account import tell
from westofn.execution.stage_accounts import selection_account
from westofn.params.file import load_section, load_seed
from westofn.params.sample import SampleParams
from westofn.params.won_select import WonSelectParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime, set_up_torch


def main(prepared: In, candidates: In, rm: In, base_rm: In, first_candidates: In, out: Out) -> None:
    """Let the previous iteration's reward model pick the best and the worst."""
    require_saved("reward_model", rm, base_rm)
    seed, params, runtime = load_seed(), load_section(WonSelectParams), load_runtime()
    source = prepared / "prompts.parquet"
    prompts = PROMPTS.read(source)
    size = load_section(SampleParams).n_candidates
    pools = PoolFile(candidates, prompts, size)

    from westofn.execution.scratch import scratch
    from westofn.models.ensemble import load_anchor, load_reward_models
    from westofn.pairing.frames import margins_frame, nested_frame, pairs_frame, summarise
    from westofn.pairing.rounds import check_round, measure_round, record
    from westofn.pairing.select import select, select_in_shards
    from westofn.pairing.teacher import SavedTeacher

    device = set_up_torch(runtime)
    health, weight = None, 0.0
    if rm != base_rm:
        first = PoolFile(first_candidates, prompts, size)
        health = measure_round(
            load_reward_models(rm, device),
            load_reward_models(base_rm, device),
            (pools.read(), first.read()),
            seed,
        )
        check_round(health, params.stop, out.parent.name)
        weight = params.anchor
    if params.method == "tournament":
        selection = select(
            load_reward_models(rm, device),
            pools,
            method=params.method,
            selector=params.selector,
            seed=seed,
            pessimism=params.pessimism,
            anchor=load_anchor(base_rm, weight, device),
        )
    else:
        teacher = SavedTeacher.of(rm, base_rm, weight)
        inputs = [source, candidates, rm, *([base_rm] if weight else [])]
        with scratch(f"won_select-{out.parent.name}", [size, weight], inputs) as folder:
            selection = select_in_shards(
                teacher,
                pools,
                folder,
                selector=params.selector,
                seed=seed,
                pessimism=params.pessimism,
                total=prompts.filter(pl.col("split") == "unlabeled").height,
            )
    summary = summarise(selection) | {
        "method": params.method,
        "selector": params.selector,
        "pessimism": params.pessimism,
    }
    if health:
        summary |= {"anchor": params.anchor, "pool_health": record(health)}
    with whole_folder(out) as place:
        PAIRS.write(pairs_frame(selection), place / "pairs.parquet")
        NESTED_PAIRS.write(nested_frame(selection), place / "nested_pairs.parquet")
        POOL_MARGINS.write(margins_frame(selection), place / "pool_margins.parquet")
        write_json(summary, place / "summary.json")
    tell(selection_account(summary))


if __name__ == "__main__":
    run(main)
