"""Which pools the study samples."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from westofn.params.sample import SampleParams
from westofn.params.study import StudyParams
from westofn.sources.human import HumanData

PROMPT = ("prompt_id", "prompt")
PLAIN = 2  # candidates a prompt of D_L, for an AI judge to compare


@dataclass(frozen=True)
class Wanted:
    """One pool to sample.

    Attributes:
        name: Name of its table.
        prompts: Columns prompt_id, prompt: what the policy reads.
        n_candidates: Candidates for each prompt.
        stream: Key of the randomness beside prompt and index.
    """

    name: str
    prompts: pl.DataFrame
    n_candidates: int
    stream: str


def plan(human: HumanData, study: StudyParams, sample: SampleParams) -> list[Wanted]:
    """All pools of the study, see stages/study_pools.py."""
    labeled = labeled_prompts(human)
    unlabeled = human.prompts.filter(pl.col("split") == "unlabeled").select(PROMPT)
    test = human.prompts.filter(pl.col("split") == "test").select(PROMPT)
    deep = deep_size(study.deep_candidates, sample.n_candidates)
    pools = [
        Wanted("labeled", labeled, PLAIN, "study labeled"),
        Wanted("deep_unlabeled", unlabeled.head(study.deep_prompts), deep, "sample-k1"),
        Wanted("deep_test", test.head(study.deep_prompts), deep, "eval_pool"),
    ]
    for side, affix in (("positive", study.positive_affix), ("negative", study.negative_affix)):
        for half, prompts in (("labeled", labeled), ("unlabeled", unlabeled)):
            texts = [
                with_affix(text, affix, study.affix_before_words) for text in prompts["prompt"]
            ]
            marked = prompts.with_columns(prompt=pl.Series(texts, dtype=pl.String))
            pools.append(Wanted(f"{side}_{half}", marked, 1, f"study {side}"))
    return pools


def labeled_prompts(human: HumanData) -> pl.DataFrame:
    """The prompts of D_L as columns prompt_id, prompt; each once, sorted.

    Answers are in D_L, and their prompts mostly in D_U; those are left out, since they have pools.
    """
    unlabeled = human.prompts.filter(pl.col("split") == "unlabeled")
    asked = human.labeled_half().train.join(unlabeled, on="prompt_id", how="anti")
    return asked.select(PROMPT).unique("prompt_id").sort("prompt_id")


def deep_size(deep_candidates: int, n_candidates: int) -> int:
    """Candidates a prompt of the deep pools; never fewer than the main pipeline's."""
    return max(deep_candidates, n_candidates)


def with_affix(prompt: str, affix: str, before_words: int) -> str:
    """A contrast prompt: the affix stands before the prompt's last words.

    >>> with_affix("should i sue ? tldr :", "careless", 2)
    'should i sue ? careless tldr :'
    >>> with_affix("Human: hi Assistant:", "(rudely)", 0)
    'Human: hi Assistant: (rudely)'
    """
    if not before_words:
        return f"{prompt} {affix}"
    words = prompt.rsplit(" ", before_words)
    return " ".join([*words[:-before_words], affix, *words[-before_words:]])
