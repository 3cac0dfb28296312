"""A wider policy and its reward models: does a larger student gain as much?

The paper's stated future work asks for a noisy student. Here the teacher stays the main pipeline's;
the wider policy only lends its weights to the students.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from westofn.artifacts.sft import SFT
from westofn.errors import ParameterError
from westofn.execution.damage import has_model
from westofn.models.policy import save_policy
from westofn.study.lab import Lab
from westofn.training.sft import Examples, train_sft


def run(lab: Lab) -> None:
    """HF50 and West-of-N from the wider policy's weights."""
    west = lab.inputs.west
    policy = _wide_policy(lab)
    lab.student("wide", lab.labeled, policy=policy)
    lab.student("wide_west", lab.labeled, west, policy=policy)


def _wide_policy(lab: Lab) -> Path:
    sft, width = lab.inputs.params.sft, lab.inputs.params.study.wide
    start = lab.inputs.params.reward_start.model
    if start != "policy":
        raise ParameterError(
            f"study.wide {width} lends a wider policy's weights to the students, "
            f"reward_start.model is {start!r}; leave stage study_size out, or set "
            "reward_start.model to policy"
        )
    if sft.model != "scratch":
        raise ParameterError(
            f"study.wide {width} builds a policy from scratch, sft.model is {sft.model!r}; leave "
            "stage study_size out, or set sft.model to scratch"
        )
    folder = lab.folder / "wide"
    if has_model("size", folder, "policy"):
        return folder
    frame = SFT.read(lab.inputs.data / "prepared" / "sft.parquet")
    train, validation = (
        Examples(rows["prompt"].to_list(), rows["response"].to_list())
        for rows in (frame.filter(pl.col("split") == name) for name in ("train", "validation"))
    )
    trained = train_sft(
        train,
        validation,
        sft.model_copy(update={"scratch": sft.scratch.model_copy(update={"width": width})}),
        seed=lab.inputs.seed,
        scratch=lab.subfolder("sft"),
        runtime=lab.runtime,
    )
    canaries = list(zip(validation.prompts[:4], validation.responses[:4], strict=True))
    save_policy(trained.policy, folder, canaries, trained.facts)
    return folder
