"""The headline with the other learner: networks beside linear heads, or the reverse.

The pairs are those of `baselines`; all weights of the network learn, or a head on frozen features.
`again` repeats a network with another training seed: the noise of one training.
"""

from __future__ import annotations

from westofn.core.seeds import derive_seed
from westofn.core.selection import top_bottom_pairs
from westofn.params.reward import Learner
from westofn.study.lab import Lab
from westofn.study.synthetic import from_selection
from westofn.training.arms import preferences_from


def run(lab: Lab) -> None:
    """HF50, HF100, West-of-N and several pairs a prompt."""
    inputs, hf50 = lab.inputs, lab.labeled
    hf100 = preferences_from(inputs.human.train)
    many = min(16, inputs.unlabeled.n_candidates // 2)
    several = from_selection(inputs.unlabeled, top_bottom_pairs(inputs.base_margins, many))
    linear = inputs.params.student_rm.learner == "linear_head"
    learner: Learner = "network" if linear else "linear_head"
    other = learner.removesuffix("_head")
    lab.student(f"{other}_hf50", hf50, learner=learner)
    lab.student(f"{other}_hf100", hf100, learner=learner)
    lab.student(f"{other}_west", hf50, inputs.west, learner=learner)
    lab.student(f"{other}_top_bottom{many}", hf50, several, learner=learner)
    if linear:
        again = derive_seed(inputs.seed, "study", "again") % 2**31
        lab.student("network_hf50_again", hf50, seed=again, learner="network")
