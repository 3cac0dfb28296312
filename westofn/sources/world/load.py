"""Generate one embedded world: SFT examples, labelled human pairs, prompts, and facts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.artifacts.world import WORLD
from westofn.params.prepare import WorldParams
from westofn.sources.data import SourceData
from westofn.sources.world.gold import Gold
from westofn.sources.world.knobs import KNOBS, Knobs, community_knobs
from westofn.sources.world.posts import Contrast, Posts, as_prompt, contrast_prompt, write_posts
from westofn.sources.world.writers import WRITERS, draw_quality, write_responses

_SFT_VALIDATION = 50  # one of this many SFT examples is for validation
# Each split has its own random generator, so that its size does not change the other splits.
_STREAMS = ("test", "validation", "train", "sft", "extra")


@dataclass(frozen=True, slots=True)
class _Split:
    """The posts of one split, their ids and facts, and the split's random generator."""

    name: str
    posts: Posts
    rng: np.random.Generator

    @property
    def prompt_ids(self) -> list[str]:
        return [f"{self.name}-{row:06d}" for row in range(len(self.posts))]

    @property
    def prompts(self) -> list[str]:
        return [as_prompt(post) for post in self.posts.texts]

    @property
    def stated(self) -> dict[str, dict[str, str]]:
        return {name: self.posts.stated(row) for row, name in enumerate(self.prompt_ids)}


def load_world(params: WorldParams, seed: int, knobs: Knobs = KNOBS) -> SourceData:
    """Generate one world; equal arguments give equal frames.

    Args:
        params: Numbers of rows, the annotators' temperature, alignment and off-policyness.
        seed: Seed of all random draws.
        knobs: Constants of the world; give the same ones to `Gold.from_frame`.

    Returns:
        The canonical frames. All prompts are distinct. The world frame has no facts of SFT prompts,
        because no stage needs their gold reward.
    """
    test_posts = max(params.test_pairs, params.test_prompts)
    sizes = (
        test_posts,
        params.validation_pairs,
        params.train_pairs,
        params.sft_examples,
        params.extra_prompts,
    )
    test, validation, train, sft, extra = _splits(sizes, seed)
    temperature = params.annotator_temperature
    forum, panel = (
        community_knobs(community, params.alignment, params.off_policyness, knobs)
        for community in ("forum", "panel")
    )
    preferences = [
        _human_pairs(test, params.test_pairs, temperature, panel),
        _human_pairs(validation, params.validation_pairs, temperature, panel),
        _human_pairs(train, params.train_pairs, temperature, panel),
    ]
    prompts = [
        _prompts(train, range(params.train_pairs - params.train_pairs // 2, params.train_pairs)),
        _prompts(extra, range(params.extra_prompts)),
        _prompts(test, range(params.test_prompts)),
    ]
    return SourceData.validated(
        sft=_demonstrations(sft, forum),
        preferences=pl.concat(preferences),
        prompts=pl.concat(prompts),
        world=pl.concat([_facts(split, temperature) for split in (test, validation, train, extra)]),
        counts={
            "sft_examples": params.sft_examples,
            "train_pairs": params.train_pairs,
            "validation_pairs": params.validation_pairs,
            "test_pairs": params.test_pairs,
            "unlabeled_prompts": params.train_pairs // 2 + params.extra_prompts,
            "test_prompts": params.test_prompts,
        },
        where="world",
    )


def _splits(sizes: Iterable[int], seed: int) -> list[_Split]:
    written: set[str] = set()
    splits = []
    for number, (name, size) in enumerate(zip(_STREAMS, sizes, strict=True)):
        rng = np.random.default_rng([seed, number])
        splits.append(_Split(name, write_posts(size, rng, exclude=written), rng))
        written.update(splits[-1].posts.texts)
    return splits


def _demonstrations(split: _Split, knobs: Knobs) -> pl.DataFrame:
    """SFT rows by the forum's writers; some prompts have an affix with the kind of writer."""
    n, rng = len(split.posts), split.rng
    draw = rng.random(n)
    careful = draw < knobs.contrast_share / 2
    careless = ~careful & (draw < knobs.contrast_share)
    good = [writer for writer in WRITERS if writer.quality > 0]
    bad = [writer for writer in WRITERS if writer.quality < 0]
    quality = draw_quality(n, "forum", rng)
    quality = np.where(careful, draw_quality(n, "forum", rng, among=good), quality)
    quality = np.where(careless, draw_quality(n, "forum", rng, among=bad), quality)
    validation = max(1, n // _SFT_VALIDATION)
    prompts = _with_affix(split.prompts, careful, "careful")
    prompts = _with_affix(prompts, careless, "careless")
    return SFT.frame(
        {
            "sft_id": split.prompt_ids,
            "prompt_id": split.prompt_ids,
            "prompt": prompts,
            "response": write_responses(split.posts, quality, "forum", rng, knobs),
            "split": ["train"] * (n - validation) + ["validation"] * validation,
        }
    )


def _with_affix(prompts: list[str], where: NDArray[np.bool_], contrast: Contrast) -> list[str]:
    return [
        contrast_prompt(prompt, contrast) if marked else prompt
        for prompt, marked in zip(prompts, where.tolist(), strict=True)
    ]


def _human_pairs(split: _Split, n: int, temperature: float, knobs: Knobs) -> pl.DataFrame:
    """One labelled pair by the panel's writers (off-policy) for each of the first n posts."""
    rng = split.rng
    posts = split.posts.take(np.arange(n))
    first_quality = draw_quality(n, "panel", rng)
    other_quality = draw_quality(n, "panel", rng)
    second_quality = np.where(rng.random(n) < knobs.same_writer, first_quality, other_quality)
    first = write_responses(posts, first_quality, "panel", rng, knobs)
    second = write_responses(posts, second_quality, "panel", rng, knobs)
    while equal := [row for row in range(n) if first[row] == second[row]]:
        rows = np.array(equal)
        rewritten = write_responses(posts.take(rows), second_quality[rows], "panel", rng, knobs)
        for row, response in zip(equal, rewritten, strict=True):
            second[row] = response
    prompt_ids = split.prompt_ids[:n]
    p_first = Gold(split.stated, temperature, knobs).p_prefer(prompt_ids, first, second)
    first_wins = (rng.random(n) < p_first).tolist()
    pairs = list(zip(first_wins, first, second, strict=True))
    return PREFERENCES.frame(
        {
            "pair_id": prompt_ids,
            "prompt_id": prompt_ids,
            "prompt": split.prompts[:n],
            "chosen": [a if wins else b for wins, a, b in pairs],
            "rejected": [b if wins else a for wins, a, b in pairs],
            "split": [split.name] * n,
            "source": ["world"] * n,
            "label_source": ["human"] * n,
            "p_chosen": [None] * n,
        }
    )


def _prompts(split: _Split, rows: range) -> pl.DataFrame:
    return PROMPTS.frame(
        {
            "prompt_id": split.prompt_ids[rows.start : rows.stop],
            "prompt": split.prompts[rows.start : rows.stop],
            "split": ["test" if split.name == "test" else "unlabeled"] * len(rows),
        }
    )


def _facts(split: _Split, temperature: float) -> pl.DataFrame:
    """Rows for `Gold.from_frame`: each post's facts, and the temperature in every row."""
    rows = [json.dumps({**stated, "temperature": temperature}) for stated in split.stated.values()]
    return WORLD.frame({"prompt_id": split.prompt_ids, "facts": rows})
