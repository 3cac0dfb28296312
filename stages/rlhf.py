"""Stage 9 of 9, `rlhf`: the policy against the student's reward -> the next iteration's policy.

reads   data/prepared/prompts.parquet, data/world, data/autorater, data/loop/k0/policy,
        data/loop/k1/rm
writes  data/loop/k1/policy; data/loop/k1/rl/{curve,history,metrics}.json

It learns on the unlabeled prompts; the curves are of the test prompts, and nothing is chosen by
them. Every round starts from the SFT policy and is held near it, so rounds differ in their reward
alone and drift does not add up.
"""

from __future__ import annotations

import polars as pl

from stages.common import LIVE, In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.json_file import write_json, write_records
from westofn.artifacts.prompts import PROMPTS
from westofn.execution.account import tell
from westofn.execution.guards import rl_readings, tell_readings
from westofn.execution.processes import is_first
from westofn.execution.scratch import scratch
from westofn.execution.stage_accounts import rl_account
from westofn.params.file import load_section, load_seed
from westofn.params.rlhf import RlhfParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime, set_up_torch


def main(prepared: In, world: In, autorater: In, sft: In, rm: In, out: Out, metrics: Out) -> None:
    """Train the policy by reinforcement learning."""
    require_saved("policy", sft)
    require_saved("reward_model", rm)
    seed, params, runtime = load_seed(), load_section(RlhfParams), load_runtime()
    source = prepared / "prompts.parquet"
    prompts = PROMPTS.read(source)

    from westofn.evaluation.judges import load_judge
    from westofn.evaluation.policy import PolicyProbe
    from westofn.models.policy import load_policy, save_policy
    from westofn.models.saved_reward import load_reward_model
    from westofn.training.rl import Prompts, require_learnable, train_rl

    device = set_up_torch(runtime)
    learn = prompts.filter(pl.col("split") == "unlabeled")
    start, scorer = load_policy(sft, device), load_reward_model(rm, device)
    require_learnable(start, scorer, params)
    probe = PolicyProbe(
        prompts.filter(pl.col("split") == "test"),
        scorer,
        load_judge(world / "world.parquet", autorater, device),
        params.temperature,
        seed,
    )
    reference = probe.measure(start, "sft")
    settings = {"seed": seed, "rlhf": params.model_dump()}
    name = f"rlhf-{out.parent.name}"
    inputs = [source, world, autorater, sft, rm]
    with scratch(name, settings, inputs, together=True) as folder:
        result = train_rl(
            start,
            scorer,
            Prompts(learn["prompt_id"].to_list(), learn["prompt"].to_list()),
            params,
            seed=seed,
            evaluate=probe.curve_point(reference),
            scratch=folder,
            runtime=runtime,
            live=LIVE,
        )
        found = probe.final(probe.measure(result.policy, "policy"), reference)
        found |= {"rl_kl": result.curve[-1]["kl"], **result.facts}
        if is_first():
            canaries = [(prompt, "") for prompt in learn["prompt"].head(4)]
            with whole_folder(metrics) as place:  # the policy first
                write_records(result.curve, place / "curve.json")
                write_records(result.history, place / "history.json")
                write_json(found, place / "metrics.json")
                save_policy(result.policy, out, canaries, result.facts, result.training)
        tell(rl_account(result.facts))
        tell_readings(rl_readings(name.replace("-", " "), found))


if __name__ == "__main__":
    run(main, lambda: True)
