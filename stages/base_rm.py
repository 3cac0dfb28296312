"""Stage 3 of 9, `base_rm`: HF50 -> the base preference model, from the policy's weights.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k0/policy
writes  data/loop/k0/rm
"""

from __future__ import annotations

from stages.common import LIVE, In, Out, run
from westofn.params import load_params


def main(prepared: In, policy: In, out: Out) -> None:
    """Train the teacher that labels the first iteration's pairs."""
    from westofn.training.arms import HumanData, train_arm
    from westofn.training.preference import Head

    params = load_params()
    train_arm(
        "base_rm",
        HumanData.read(prepared).labeled_half(),
        synthetic=None,
        policy=policy,
        start=params.reward_start,
        head=Head(params.base_rm.comparator, params.base_rm.planes),
        params=params.base_rm,
        seed=params.seed,
        out=out,
        live=LIVE,
        members=params.base_rm.members,
    )


if __name__ == "__main__":
    run(main)
