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
from westofn.params.file import load_section, load_seed
from westofn.params.reward_start import RewardStartParams
from westofn.params.student_rm import StudentRmParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime
from westofn.sources.human import HumanData


def main(
    prepared: In,
    policy: In,
    data: Annotated[Literal["hf50", "hf100"], typer.Option(help="half or all human pairs")],
    out: Out,
) -> None:
    """Train a reference on half or all of the human pairs."""
    require_saved("policy", policy)
    seed, params = load_seed(), load_section(StudentRmParams)
    start, human = load_section(RewardStartParams), HumanData.read(prepared)
    load_runtime()

    from westofn.training.arms import train_arm
    from westofn.training.linear_head import LinearHead
    from westofn.training.recipe import Recipe

    train_arm(
        data,
        human.labeled_half() if data == "hf50" else human,
        Recipe(policy, start, params, seed),
        out,
        live=LIVE,
        linear=LinearHead.of_reference(params.learner),
    )


if __name__ == "__main__":
    run(main, lambda: load_section(StudentRmParams).learner == "network")
