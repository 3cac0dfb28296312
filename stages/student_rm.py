"""Stage 7 of 9, `student_rm`: HF50 and synthetic pairs, mixed in every batch -> the student.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k1/{synthetic,candidates.parquet},
        data/loop/k0/policy
writes  data/loop/k1/rm

Every iteration's student starts from the SFT weights, as HF50 and HF100 do. The candidates are read
for the covariance prior of a linear head.
"""

from __future__ import annotations

from stages.common import LIVE, In, Out, run
from westofn.artifacts.preferences import PREFERENCES
from westofn.params.file import load_section, load_seed
from westofn.params.reward_start import RewardStartParams
from westofn.params.student_rm import StudentRmParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime
from westofn.sources.human import HumanData


def main(prepared: In, synthetic: In, candidates: In, policy: In, out: Out) -> None:
    """Train the pointwise student."""
    require_saved("policy", policy)
    seed, params = load_seed(), load_section(StudentRmParams)
    start, human = load_section(RewardStartParams), HumanData.read(prepared).labeled_half()
    pairs = PREFERENCES.read(synthetic / "preferences.parquet")
    load_runtime()

    from westofn.training.arms import train_arm
    from westofn.training.linear_head import LinearHead
    from westofn.training.recipe import Recipe

    train_arm(
        "student_rm",
        human,
        Recipe(policy, start, params, seed),
        out,
        live=LIVE,
        synthetic=pairs,
        synthetic_fraction=params.synthetic_fraction,
        linear=LinearHead.of_student(
            params.learner, params.covariance_power, candidates, human.prompts
        ),
    )


if __name__ == "__main__":
    run(main, lambda: load_section(StudentRmParams).learner == "network")
