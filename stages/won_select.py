"""Stage 5 of 9, `won_select`: candidates -> one pseudo-labelled pair a prompt.

reads   data/prepared/prompts.parquet, data/loop/k1/candidates.parquet, data/loop/k0/rm
writes  data/loop/k1/pairs/{pairs,nested_pairs}.parquet, summary.json
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.json_file import write_json
from westofn.artifacts.nested_pairs import NESTED_PAIRS
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.prompts import PROMPTS
from westofn.params import load_params


def main(prepared: In, candidates: In, rm: In, out: Out) -> None:
    """Let the previous iteration's reward model pick the best and the worst."""
    from westofn.models.ensemble import load_reward_models
    from westofn.pairing.frames import nested_frame, pairs_frame, pools_from_frames, summarise
    from westofn.pairing.select import select
    from westofn.runtime import set_up_torch

    params, device = load_params(), set_up_torch()
    pools = pools_from_frames(
        CANDIDATES.read(candidates),
        PROMPTS.read(prepared / "prompts.parquet"),
        params.sample.n_candidates,
    )
    base = load_reward_models(rm, device)
    chosen = params.won_select
    selection = select(
        base,
        pools,
        method=chosen.method,
        selector=chosen.selector,
        seed=params.seed,
        pessimism=chosen.pessimism,
    )
    PAIRS.write(pairs_frame(pools, selection), out / "pairs.parquet")
    NESTED_PAIRS.write(nested_frame(pools, selection), out / "nested_pairs.parquet")
    write_json(summarise(pools, selection, base, chosen), out / "summary.json")


if __name__ == "__main__":
    run(main)
