"""Beside the loop, `prior_rm`: HF50 and the covariance of the policy's samples -> a linear head.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k1/candidates.parquet,
        data/loop/k0/policy
writes  data/reference/prior

What West-of-N is compared with: the same candidates, of which no pair is labelled.
"""

from __future__ import annotations

from stages.common import LIVE, In, Out, run
from westofn.params.file import load_section, load_seed
from westofn.params.reward_start import RewardStartParams
from westofn.params.student_rm import StudentRmParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime
from westofn.sources.human import HumanData


def main(prepared: In, candidates: In, policy: In, out: Out) -> None:
    """Fit HF50 under the covariance prior, its power by validation."""
    require_saved("policy", policy)
    seed, params = load_seed(), load_section(StudentRmParams)
    start, human = load_section(RewardStartParams), HumanData.read(prepared).labeled_half()
    load_runtime()

    from westofn.training.arms import train_arm
    from westofn.training.linear_head import LinearHead
    from westofn.training.recipe import Recipe

    recipe = Recipe(policy, start, params, seed)
    train_arm(
        "prior_rm",
        human,
        recipe,
        out,
        live=LIVE,
        linear=LinearHead.with_prior(candidates, human.prompts),
    )


if __name__ == "__main__":
    run(main)
