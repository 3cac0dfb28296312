"""Which pools the study samples, and from what prompts."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.evaluation.planted import preference_frame
from westofn.core.seeds import derive_seed
from westofn.generation.sample_pools import Draw, sample_pool
from westofn.models.policy import Policy
from westofn.params.sample import SampleParams
from westofn.params.study import StudyParams
from westofn.params.whole import Params, load_params
from westofn.sources.human import HumanData
from westofn.study.pool_plan import Wanted, deep_size, plan, with_affix

PARAMS: Params = load_params(Path(__file__).parents[2] / "params.yaml")
SAMPLE: SampleParams = PARAMS.sample.model_copy(update={"n_candidates": 4})
STUDY: StudyParams = PARAMS.study.model_copy(
    update={"deep_candidates": 6, "deep_prompts": 2, "affix_before_words": 2}
)


def human() -> HumanData:
    """HF100 of p0 (twice), p1 and u0; u0 is D_U, hence not in D_L; test prompts t0, t1, t2."""
    pairs = [("p1", "a", "b"), ("p0", "a", "b"), ("p0", "c", "d"), ("u0", "a", "b")]
    preferences = preference_frame(pairs, split="train")
    names = ["u0", "t0", "t1", "t2"]
    prompts = pl.DataFrame(
        {
            "prompt_id": names,
            "prompt": [f"a post about {name}" for name in names],
            "split": ["unlabeled", "test", "test", "test"],
        }
    )
    return HumanData([], preferences, prompts, preferences)


def wanted() -> dict[str, Wanted]:
    return {one.name: one for one in plan(human(), STUDY, SAMPLE)}


def test_pools_are_of_the_prompts_that_their_names_say() -> None:
    found = {name: one.prompts["prompt_id"].to_list() for name, one in wanted().items()}
    assert found == {
        "labeled": ["p0", "p1"],
        "deep_unlabeled": ["u0"],
        "deep_test": ["t0", "t1"],
        "positive_labeled": ["p0", "p1"],
        "positive_unlabeled": ["u0"],
        "negative_labeled": ["p0", "p1"],
        "negative_unlabeled": ["u0"],
    }


def test_contrast_prompts_differ_in_the_affix_alone() -> None:
    found = wanted()
    plain = found["labeled"].prompts["prompt"].to_list()
    assert plain == ["a post about p0", "a post about p1"]
    for side, affix in (("positive", "careful"), ("negative", "careless")):
        texts = found[f"{side}_labeled"].prompts["prompt"].to_list()
        assert texts == [f"a post {affix} about p0", f"a post {affix} about p1"]
        assert found[f"{side}_unlabeled"].n_candidates == 1
    assert found["labeled"].n_candidates == 2


def test_contrast_samples_have_streams_of_their_own() -> None:
    streams = [one.stream for one in wanted().values()]
    assert len(set(streams)) == 5  # labeled, two deep ones, positive, negative


def test_deep_pools_are_never_smaller_than_the_main_ones() -> None:
    assert (deep_size(512, 64), deep_size(16, 64)) == (512, 64)
    shallow = STUDY.model_copy(update={"deep_candidates": 4})
    big = SAMPLE.model_copy(update={"n_candidates": 9})
    sizes = {one.name: one.n_candidates for one in plan(human(), shallow, big)}
    assert (sizes["deep_unlabeled"], sizes["deep_test"]) == (9, 9)


def test_deep_pools_begin_with_the_main_pipelines_candidates(
    small_policy: Policy, tmp_path: Path
) -> None:
    for name, stream in (("deep_unlabeled", "sample-k1"), ("deep_test", "eval_pool")):
        one = wanted()[name]
        assert one.stream == stream  # as stages.sample and stages.eval_pool key theirs
        key = derive_seed(5, one.stream)
        deep, main = (
            sample_pool(
                small_policy,
                one.prompts,
                Draw(count, SAMPLE.temperature, key),
                tmp_path / f"{name}-{count}",
                name,
            )
            for count in (one.n_candidates, SAMPLE.n_candidates)
        )
        first = deep.filter(pl.col("candidate_index") < SAMPLE.n_candidates)
        assert first.drop("logprob").equals(main.drop("logprob"))
        assert deep.height == one.prompts.height * 6


def test_an_affix_stands_before_the_last_words_or_at_the_end() -> None:
    assert with_affix("one two three", "now", 1) == "one two now three"
    assert with_affix("one two three", "now", 0) == "one two three now"
    assert with_affix("one", "now", 2) == "now one"
