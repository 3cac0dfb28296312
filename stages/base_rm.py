"""Stage 3 of 9, `base_rm`: HF50 -> the base preference model, from the policy's weights.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k0/policy
writes  data/loop/k0/rm
"""

from __future__ import annotations

from stages.common import LIVE, In, Out, run
from westofn.params.base_rm import BaseRmParams
from westofn.params.file import load_section, load_seed
from westofn.params.reward_start import RewardStartParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime
from westofn.sources.human import HumanData


def main(prepared: In, policy: In, out: Out) -> None:
    """Train the teacher that labels the first iteration's pairs."""
    require_saved("policy", policy)
    seed, params, start = load_seed(), load_section(BaseRmParams), load_section(RewardStartParams)
    human = HumanData.read(prepared).labeled_half()
    load_runtime()

    from westofn.training.arms import train_arm
    from westofn.training.linear_head import LinearHead
    from westofn.training.recipe import Head, Recipe

    recipe = Recipe(policy, start, params, seed, Head(params.comparator, params.planes))
    train_arm(
        "base_rm",
        human,
        recipe,
        out,
        live=LIVE,
        members=params.members,
        linear=LinearHead.of_reference(params.learner),
    )


if __name__ == "__main__":
    run(main, lambda: load_section(BaseRmParams).learner == "network")
