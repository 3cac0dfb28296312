"""Beside the loop, `prior_rm`: HF50 and the covariance of the policy's samples -> a linear head.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k1/candidates.parquet,
        data/loop/k0/policy
writes  data/reference/prior

What West-of-N is compared with: the same candidates, of which no pair is labelled.
"""

from __future__ import annotations

from stages.common import LIVE, In, Out, run
from westofn.params import load_params


def main(prepared: In, candidates: In, policy: In, out: Out) -> None:
    """Fit HF50 under the covariance prior, its power by validation."""
    from westofn.training.arms import HumanData, train_arm
    from westofn.training.linear_head import LinearHead
    from westofn.training.preference import Head

    params = load_params()
    human = HumanData.read(prepared).labeled_half()
    train_arm(
        "prior_rm",
        human,
        synthetic=None,
        policy=policy,
        start=params.reward_start,
        head=Head("pointwise"),
        params=params.student_rm,
        seed=params.seed,
        out=out,
        live=LIVE,
        linear=LinearHead.with_prior(candidates, human.prompts),
    )


if __name__ == "__main__":
    run(main)
