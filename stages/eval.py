"""Stage 8 of 9, `eval`: a reward model on test data, and the correctness of its synthetic labels.

reads   data/prepared, data/world, data/eval_pool/candidates.parquet, data/autorater, a model;
        for an iteration also what made it: the model that labelled, the first round's base model,
        policy, candidates, pairs, decisions
writes  data/eval/NAME/{metrics,curves}.json, {pair_scores,pool_scores,prompt_measures}.parquet
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from stages.common import In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.json_file import write_json
from westofn.artifacts.nested_pairs import NESTED_PAIRS
from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.artifacts.pools import Pools
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompt_measures import PROMPT_MEASURES
from westofn.artifacts.prompts import PROMPTS
from westofn.execution.account import tell
from westofn.execution.guards import reward_model_readings, tell_readings
from westofn.execution.stage_accounts import evaluation_account
from westofn.params.file import load_seed
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime, set_up_torch
from westofn.sources.data import labeled_half

Optional = Annotated[Path | None, typer.Option(help="of an iteration")]


def main(
    name: Annotated[str, typer.Option(help="of the arm: base, hf50, hf100, prior, k1, …")],
    prepared: In,
    world: In,
    pool: In,
    policy: In,
    autorater: In,
    rm: In,
    out: Out,
    base: Optional = None,
    base_rm: Optional = None,
    candidates: Optional = None,
    pairs: Optional = None,
    synthetic: Optional = None,
) -> None:
    """Measure one reward model."""
    given = [option is not None for option in (base, base_rm, candidates, pairs, synthetic)]
    if any(given) and not all(given):
        raise typer.BadParameter(
            "--base, --base-rm, --candidates, --pairs, --synthetic go together"
        )
    require_saved("reward_model", rm)
    seed, runtime = load_seed(), load_runtime()
    preferences = PREFERENCES.read(prepared / "preferences.parquet")
    prompts = PROMPTS.read(prepared / "prompts.parquet")
    pools = Pools.from_frames(CANDIDATES.read(pool), prompts)

    from westofn.evaluation.arms import evaluate_arm
    from westofn.evaluation.judges import load_judge
    from westofn.evaluation.synthetic import SyntheticInputs, anchor_weight
    from westofn.models.ensemble import load_anchor, load_reward_models
    from westofn.models.policy import load_policy

    device = set_up_torch(runtime)
    made_by = None
    if base and base_rm and candidates and pairs and synthetic:
        made_by = SyntheticInputs(
            base=load_reward_models(base, device),
            anchor=load_anchor(base_rm, anchor_weight(pairs / "summary.json"), device),
            policy=load_policy(policy, device),
            pools=Pools.from_frames(CANDIDATES.read(candidates), prompts),
            pairs=PAIRS.read(pairs / "pairs.parquet"),
            nested=NESTED_PAIRS.read(pairs / "nested_pairs.parquet"),
            decisions=DECISIONS.read(synthetic / "decisions.parquet"),
            human=labeled_half(preferences, prompts),
        )
    found = evaluate_arm(
        name,
        load_reward_models(rm, device),
        preferences=preferences.filter(pl.col("split") == "test"),
        pools=pools,
        judge=load_judge(world / "world.parquet", autorater, device),
        seed=seed,
        synthetic=made_by,
    )
    with whole_folder(out) as place:
        write_json(found.metrics, place / "metrics.json")
        write_json(found.curves, place / "curves.json")
        PAIR_SCORES.write(found.pair_scores, place / "pair_scores.parquet")
        POOL_SCORES.write(found.pool_scores, place / "pool_scores.parquet")
        PROMPT_MEASURES.write(found.by_prompt, place / "prompt_measures.parquet")
    tell(evaluation_account(name, found.metrics))
    tell_readings(reward_model_readings(name, found.metrics))


if __name__ == "__main__":
    run(main)
