"""The headline and everything that could explain it away, on top of HF50.

Each arm but the references mixes HF50 1:1 with one synthetic pair a prompt of D_U. `again` repeats
an arm with another training seed: what two runs of one arm differ by is the noise of a run. `prior`
and `linear` arms are linear heads on frozen features, with and without the covariance prior.
"""

from __future__ import annotations

from westofn.core.linear_reward import POWERS
from westofn.core.seeds import derive_seed
from westofn.core.selection import top_bottom_pairs
from westofn.study.lab import Lab
from westofn.study.parts.data import flipped
from westofn.study.synthetic import contrasted, from_selection, judged, side_by_side
from westofn.study.verdicts import Verdicts
from westofn.training.arms import preferences_from


def run(lab: Lab) -> None:
    """References, the paper's baselines, West-of-N, and two controls."""
    inputs, hf50 = lab.inputs, lab.labeled
    hf100 = preferences_from(inputs.human.train)
    again = derive_seed(inputs.seed, "study", "again") % 2**31
    linear = inputs.params.student_rm.learner == "linear_head"
    lab.student("hf50", hf50)
    lab.student("hf100", hf100)
    pools = inputs.unlabeled
    west = inputs.west
    lab.student("west", hf50, west)
    if not linear:  # a linear head has no training noise
        lab.student("hf50_again", hf50, seed=again)
        lab.student("hf100_again", hf100, seed=again)
        lab.student("west_again", hf50, west, seed=again)
    others = {"self_training": "random_pair", "best_random": "best_random"}
    for name, selector in others.items():
        lab.student(name, hf50, inputs.selected(selector))
    many = min(16, pools.n_candidates // 2)
    several = from_selection(pools, top_bottom_pairs(inputs.base_margins, many))
    lab.student(f"top_bottom{many}", hf50, several)
    verdicts = Verdicts.read(inputs.verdicts)
    ai = judged(pools, verdicts.p_first(pools))
    lab.student("rlaif", hf50, ai)
    lab.student("rlaif_soft", hf50, ai.soft())
    both = (inputs.contrast("positive", "unlabeled"), inputs.contrast("negative", "unlabeled"))
    lab.student("rlcd", hf50, contrasted(pools, *both))
    contrast = side_by_side(pools, *both)
    lab.student("rlcd_rescored", hf50, judged(contrast, verdicts.p_first(contrast)))
    lab.student("shuffled", flipped(hf50, 0.5, inputs.seed))
    lab.student("prior", hf50, learner="linear_head", powers=POWERS)
    lab.student("prior_p1", hf50, learner="linear_head", powers=(1.0,))
    lab.tables["judge"] = verdicts.facts(
        inputs.judge, {"policy pairs": pools, "contrast": contrast}
    )
