"""Beside the loop, `reference_rm`: human pairs alone -> the pointwise models HF50 and HF100.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k0/policy
writes  data/reference/{hf50,hf100}

The same function, section and number of steps as student_rm: only the data differs. A linear
head has no covariance prior here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from stages.common import LIVE, In, Out, run
from westofn.params import load_params


def main(
    prepared: In,
    policy: In,
    data: Annotated[Literal["hf50", "hf100"], typer.Option(help="half or all human pairs")],
    out: Out,
) -> None:
    """Train a reference on half or all of the human pairs."""
    from westofn.training.arms import HumanData, train_arm
    from westofn.training.linear_head import LinearHead
    from westofn.training.preference import Head

    params = load_params()
    human = HumanData.read(prepared)
    train_arm(
        data,
        human.labeled_half() if data == "hf50" else human,
        synthetic=None,
        policy=policy,
        start=params.reward_start,
        head=Head("pointwise"),
        params=params.student_rm,
        seed=params.seed,
        out=out,
        live=LIVE,
        linear=LinearHead.of_reference(params.student_rm),
    )


if __name__ == "__main__":
    run(main)
