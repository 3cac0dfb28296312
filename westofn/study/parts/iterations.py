"""One round of the loop: reward models on pools of the policies that the rounds left behind.

Held-out human pairs are off-policy for every model. Here each round's policy, after RL, answers the
test prompts, and the references and the round's student compare its responses.
"""

from __future__ import annotations

from westofn.artifacts.pools import Pools
from westofn.core.seeds import derive_seed
from westofn.evaluation.candidate_rewards import judge_pools, model_rewards
from westofn.evaluation.judges import GoldJudge
from westofn.evaluation.on_policy import evaluate_on_policy, on_policy_pairs
from westofn.generation.sample_pools import Draw, sample_pool
from westofn.models.ensemble import load_reward_models
from westofn.models.policy import load_policy
from westofn.study.lab import Lab

CANDIDATES_A_PROMPT = 16


def run(lab: Lab, iteration: str) -> None:
    """Measure on the policy that `iteration` trained."""
    inputs = lab.inputs
    if not isinstance(inputs.judge, GoldJudge):
        return
    prompts = inputs.prompts_of("test")
    folder = inputs.data / "loop" / iteration
    draw = Draw(
        CANDIDATES_A_PROMPT,
        inputs.params.sample.temperature,
        derive_seed(inputs.seed, "study", "iterations", iteration),
    )
    candidates = sample_pool(
        load_policy(folder / "policy", inputs.device),
        prompts,
        draw,
        lab.subfolder("pool"),
        f"policy {iteration}",
    )
    pools = Pools.from_frames(candidates, inputs.human.prompts)
    judged = judge_pools(inputs.judge, pools)
    drawn = on_policy_pairs(pools, judged, seed=inputs.seed)
    models = {
        "hf50": inputs.data / "reference" / "hf50",
        "hf100": inputs.data / "reference" / "hf100",
        iteration: folder / "rm",
    }
    for name, path in models.items():
        rewards = model_rewards(name, load_reward_models(path, inputs.device), pools)
        measured = evaluate_on_policy(name, drawn.from_pools(rewards), drawn, seed=inputs.seed)
        lab.record(
            "policy_pools",
            policy=iteration,
            model=name,
            accuracy=measured.metrics["on_policy_accuracy"],
            ties=drawn.ties,
            pool_gold=float(judged.mean()),
        )
