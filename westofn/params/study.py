"""The section `study`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from westofn.params.base import Count, NonNegative, Section
from westofn.params.judge import JudgeParams


class StudyParams(Section):
    """What study/dvc.yaml needs beside the pipeline's own parameters."""

    key: ClassVar[str] = "study"

    judge: JudgeParams
    positive_affix: Annotated[str, Field(min_length=1)]
    negative_affix: Annotated[str, Field(min_length=1)]
    affix_before_words: Annotated[int, Field(ge=0)]
    deep_candidates: Annotated[int, Field(ge=4)]
    deep_prompts: Count
    rl_steps: Count
    rl_kl_weight: NonNegative
    rl_evaluations: Annotated[int, Field(ge=4)]
    wide: Annotated[int, Field(ge=8, multiple_of=8)]
