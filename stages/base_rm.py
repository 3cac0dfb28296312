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


def main(prepared: In, policy: In, out: Out) -> None:
    """Train the teacher that labels the first iteration's pairs."""
    require_saved("policy", policy)
    from westofn.training.arms import HumanData, train_arm
    from westofn.training.preference import Head, Recipe

    seed, params = load_seed(), load_section(BaseRmParams)
    head = Head(params.comparator, params.planes)
    recipe = Recipe(policy, load_section(RewardStartParams), params, seed, head)
    train_arm(
        "base_rm",
        HumanData.read(prepared).labeled_half(),
        recipe,
        out,
        live=LIVE,
        members=params.members,
    )


if __name__ == "__main__":
    run(main)
