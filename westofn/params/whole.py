"""All of params.yaml, and the rules across its sections.

`check`, the command line, the study and benchmarks load it; every other stage loads its own
sections (`westofn/params/file.py`), so that a change of another one's code concerns it not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator

from westofn.params.base import Section
from westofn.params.base_rm import BaseRmParams
from westofn.params.defaults import values_of
from westofn.params.file import PARAMS_FILE, Seed, read_params, refusal
from westofn.params.filter import FilterParams
from westofn.params.loop import Loop
from westofn.params.lora import LoraParams
from westofn.params.optimiser import SharedOptimiserParams
from westofn.params.prepare import PrepareParams
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams
from westofn.params.rlhf import RlhfParams
from westofn.params.sample import SampleParams
from westofn.params.sft import SftParams
from westofn.params.student_rm import StudentRmParams
from westofn.params.study import StudyParams
from westofn.params.won_select import SCORE_SELECTORS, WonSelectParams


class Params(Section):
    """All of params.yaml."""

    seed: Seed
    prepare: PrepareParams
    optimiser: SharedOptimiserParams
    lora: LoraParams
    sft: SftParams
    reward_start: RewardStartParams
    reward: RewardModelParams
    base_rm: BaseRmParams
    sample: SampleParams
    won_select: WonSelectParams
    filter: FilterParams
    student_rm: StudentRmParams
    rlhf: RlhfParams
    study: StudyParams
    loop: Loop

    @model_validator(mode="after")
    def _comparator_allows_the_method(self) -> Self:
        selector = self.won_select.selector
        if self.base_rm.comparator == "joint" and selector in SCORE_SELECTORS:
            raise ValueError(
                f"won_select.selector {selector} needs a score per candidate; base_rm.comparator "
                "joint has none: use embedding or pointwise"
            )
        return self

    @model_validator(mode="after")
    def _reward_model_lends_ppo_its_weights(self) -> Self:
        if self.reward_start.model == "scratch" and self.rlhf.algorithm == "ppo":
            raise ValueError(
                "reward_start.model scratch is encoder-only, rlhf.algorithm ppo needs a reward "
                "model that reads from left to right: set it to rloo, or reward_start.model to "
                "policy"
            )
        return self

    @model_validator(mode="after")
    def _wide_model_has_whole_heads(self) -> Self:
        scratch, wide = self.sft.scratch, self.study.wide
        step = scratch.heads * (2 if scratch.family == "causal" else 1)
        if self.sft.model == "scratch" and wide % step:
            raise ValueError(
                f"study.wide is {wide}, needs a multiple of {step} for sft.scratch.heads "
                f"{scratch.heads} of family {scratch.family}"
            )
        return self

    @model_validator(mode="after")
    def _random_weights_learn(self) -> Self:
        ranks = {
            "base_rm.lora.rank": self.base_rm.lora.rank,
            "student_rm.lora.rank": self.student_rm.lora.rank,
        }
        for key, rank in ranks.items():
            if self.reward_start.model == "scratch" and rank:
                raise ValueError(
                    f"{key} is {rank} and reward_start.model is scratch, whose random weights have "
                    f"to learn; set {key} to 0, or reward_start.model to policy or a pretrained one"
                )
        return self

    @model_validator(mode="after")
    def _linear_heads_read_trained_weights(self) -> Self:
        if self.reward_start.model != "scratch":
            return self
        for section in (self.reward, self.base_rm, self.student_rm):
            for name, mend in (("learner", "network"), ("head_start", "zero")):
                if getattr(section, name) == "linear_head":
                    raise ValueError(
                        f"{section.key}.{name} is linear_head and reward_start.model is scratch, "
                        f"whose random weights have to learn; set {section.key}.{name} to {mend}, "
                        "or reward_start.model to policy or a pretrained one"
                    )
        return self

    @model_validator(mode="after")
    def _pessimism_has_members_to_compare(self) -> Self:
        if self.won_select.pessimism and self.base_rm.members == 1:
            raise ValueError(
                f"won_select.pessimism is {self.won_select.pessimism:g}, which needs an ensemble: "
                "base_rm.members is 1; raise it to at least 2, or set pessimism to 0"
            )
        return self


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Params.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate all of params.yaml.

    Raises:
        ParameterError: The file is missing or is not YAML, or a key or value is wrong; the message
            names every fault.
    """
    file = read_params(path)
    kinds = {name: field.annotation for name, field in Params.model_fields.items()}
    sections = {name: values_of(kind, file) for name, kind in SECTIONS.items() if name in file}
    try:
        return Params.model_validate({**file, **sections})
    except ValidationError as error:
        raise refusal(error, kinds, file, path) from None
