"""Stage 3 of 9, `base_rm`: HF50 -> the base preference model, from the policy's weights.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k0/policy
writes  data/loop/k0/rm
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.params import load_params


def main(prepared: In, policy: In, out: Out) -> None:
    """Train the teacher that labels the first iteration's pairs."""
    from westofn.training.arms import HumanData, train_arm
    from westofn.training.preference import Head, Recipe

    params = load_params()
    head = Head(params.base_rm.comparator, params.base_rm.planes)
    recipe = Recipe(policy, params.reward_start, params.base_rm, params.seed, head)
    train_arm(
        "base_rm",
        HumanData.read(prepared).labeled_half(),
        recipe,
        out,
        members=params.base_rm.members,
    )


if __name__ == "__main__":
    run(main)
