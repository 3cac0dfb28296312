"""What the benchmark changes of params.yaml, and why: small models from scratch, on human text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from westofn.params import FilesParams

TASKS: Mapping[str, tuple[str, ...]] = {
    "helpful": ("helpful-base", "helpful-rejection-sampled"),
    "harmless": ("harmless-base",),
}
"""Task -> its subsets. Never mixed: what is helpful and what is harmless oppose each other."""

FILES: Mapping[str, float] = {
    # Of some 5,000 helpful pairs, a thousand to test and 2,800 to train; the autorater, which
    # judges best-of-n alone, makes do with what is left.
    "validation_fraction": 0.15,
    "test_fraction": 0.2,
    "autorater_fraction": 0.1,
    "max_test_prompts": 100,  # of best-of-n, whose judging is a large part of a run
}

DEVELOPMENT_SEED = 100
"""With it settings were chosen, so it is no result."""

SETTINGS: Mapping[str, float | str] = {
    # Two layers of width 128, from scratch, are what one core trains in minutes; a larger model
    # needs a pretrained start, which would be a download.
    "sft.scratch.width": 128,
    "sft.scratch.layers": 2,
    "sft.scratch.heads": 4,
    "sft.scratch.feed_forward": 256,
    "sft.scratch.tokenizer": "bytes",
    "sft.scratch.vocabulary": 4000,
    # The last turns of a dialogue; with 64 tokens of them validation losses were higher. A fifth of
    # the helpful responses are longer than 128 tokens, and three pairs in ten hold one: they leave
    # training, and are tested all the same.
    "sft.max_prompt_tokens": 128,
    "sft.max_response_tokens": 128,
    "sft.steps": 600,
    "sft.batch_size": 16,
    "sft.learning_rate": 2e-3,
    # Of rates from 2e-4 to 2e-3 this one has the smallest validation loss of HF50 and of HF100,
    # on helpful with the development seed (measured before the average warmed up); its best
    # checkpoints are at 100 of 120 steps. One run each, since three would triple most of the time.
    "base_rm.steps": 120,
    "base_rm.batch_size": 16,
    "base_rm.learning_rate": 5e-4,
    "base_rm.average_decay": 0.98,
    "base_rm.evaluations": 6,
    "base_rm.runs": 1,
    "student_rm.steps": 120,
    "student_rm.batch_size": 16,
    "student_rm.learning_rate": 5e-4,
    "student_rm.average_decay": 0.98,
    "student_rm.evaluations": 6,
    "student_rm.runs": 1,
    # Sampling 8 candidates takes a tenth of a run; the paper's 64 would make it half as long again.
    "sample.n_candidates": 8,
}

TARGETS = ("eval_reference@base", "eval_reference@hf50", "eval_reference@hf100", "eval@k1")
"""The stages that measure round 1; RL, which nothing here reads, does not run."""


def files_of(task: str, defaults: FilesParams) -> FilesParams:
    """How a task's preferences are read and split."""
    return FilesParams(**{**defaults.model_dump(), **FILES, "subset": ",".join(TASKS[task])})


def settings_of(task: str, seed: int, data: Path) -> dict[str, float | str]:
    """Dotted key of params.yaml -> value, as `dvc exp run -S` takes it.

    Args:
        task: One of TASKS.
        seed: Decides splits, models and draws.
        data: File or folder of preferences; absolute, since experiments run in a copy.
    """
    return {
        "seed": seed,
        "prepare.source": "hh",
        "prepare.path": quoted(str(data)),
        "prepare.files.subset": quoted(",".join(TASKS[task])),
        **file_settings(),
        **SETTINGS,
    }


def file_settings() -> dict[str, float]:
    """FILES by their dotted keys of params.yaml."""
    return {f"prepare.files.{key}": value for key, value in FILES.items()}


def quoted(text: str) -> str:
    r"""A text as one value of `-S`, whose grammar takes commas, spaces and braces for its own.

    >>> print(quoted("it's a,b"))
    'it\'s a,b'
    """
    return "'" + text.replace("'", "\\'") + "'"
