"""Beside the loop, `autorater`: held-out human pairs -> the independent judge of best-of-n and RL.

reads   data/prepared/preferences.parquet (split autorater), data/loop/k0/policy
writes  data/autorater

The embedded world has a gold annotator and no such pairs: there the output says so, and nothing
is trained.
"""

from __future__ import annotations

import polars as pl

from stages.common import LIVE, In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.json_file import write_json
from westofn.artifacts.preferences import PREFERENCES
from westofn.params.file import load_section, load_seed
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams
from westofn.params.student_rm import StudentRmParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime
from westofn.sources.human import HumanData


def main(prepared: In, policy: In, out: Out) -> None:
    """Train the judge where there is no gold annotator."""
    frame = PREFERENCES.read(prepared / "preferences.parquet")
    if not frame.filter(pl.col("split") == "autorater").height:
        with whole_folder(out) as place:
            write_json({"judge": "gold annotator of the embedded world"}, place / "none.json")
        return

    require_saved("policy", policy)
    seed, params = load_seed(), load_section(StudentRmParams)
    learner = load_section(RewardModelParams).learner
    start, human = load_section(RewardStartParams), HumanData.read(prepared)
    load_runtime()

    from westofn.training.arms import train_arm
    from westofn.training.linear_head import LinearHead
    from westofn.training.recipe import Recipe

    linear = LinearHead.of_reference(learner)
    # Other initial weights than the models it judges.
    recipe = Recipe(policy, start, params, seed + 1)
    train_arm(
        "autorater",
        human.held_out("autorater"),
        recipe,
        out,
        live=LIVE,
        linear=linear,
    )


if __name__ == "__main__":
    run(main, lambda: load_section(RewardModelParams).learner == "network")
