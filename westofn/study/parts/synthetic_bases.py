"""West-of-N on top of RLAIF and of RLCD: pipelines without any human label but for validation.

D_L is here made of policy samples of the labeled prompts, labelled by the AI judge or by the
contrast that made them. `double` has such pairs of D_U's prompts too: the HF100 of its kind.
"""

from __future__ import annotations

from westofn.evaluation.judges import GoldJudge
from westofn.study.inputs import west_of_n
from westofn.study.lab import Lab
from westofn.study.synthetic import Pairs, contrasted, judged
from westofn.study.verdicts import Verdicts
from westofn.training.pairs import Preferences


def run(lab: Lab) -> None:
    """For both sources: alone, doubled, and with West-of-N by a teacher of the source."""
    inputs = lab.inputs
    verdicts = Verdicts.read(inputs.verdicts)
    labeled, unlabeled = inputs.labeled_pools, inputs.unlabeled
    _on_top(
        lab,
        "rlaif",
        judged(labeled, verdicts.p_first(labeled)),
        judged(unlabeled, verdicts.p_first(unlabeled)),
    )
    halves = [
        contrasted(pools, inputs.contrast("positive", split), inputs.contrast("negative", split))
        for pools, split in ((labeled, "labeled"), (unlabeled, "unlabeled"))
    ]
    _on_top(lab, "rlcd", *halves)


def _on_top(lab: Lab, source: str, half: Pairs, other: Pairs) -> None:
    inputs = lab.inputs
    known = isinstance(inputs.judge, GoldJudge)
    right = {"base_label_accuracy": half.label_accuracy(inputs.judge)} if known else {}
    lab.student(f"{source}_only", half.preferences, note=right)
    lab.student(f"{source}_double", _together(half.preferences, other.preferences))

    def west() -> Pairs:
        teacher = lab.teacher(f"{source}-teacher", half.preferences)
        return west_of_n(teacher, inputs.unlabeled)

    lab.student(f"{source}_west", half.preferences, west, note=right)


def _together(a: Preferences, b: Preferences) -> Preferences:
    return Preferences(
        a.prompts + b.prompts,
        a.chosen + b.chosen,
        a.rejected + b.rejected,
        a.p_chosen + b.p_chosen,
    )
