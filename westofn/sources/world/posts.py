"""Forum posts: a person's trouble, a demand, small talk, a question; all facts are random."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from westofn.sources.world.lexicon import FACTS, FILLERS

Contrast = Literal["careful", "careless"]

_DEEDS = (
    "last week my {who} {deed} my {thing} .",
    "my {who} {deed} my {thing} last week .",
    "last night my {who} {deed} my {thing} .",
)
_DEMANDS = (
    "now the {party} wants {want} by {when} .",
    "the {party} now wants {want} by {when} .",
    "by {when} the {party} wants {want} .",
)
_QUESTIONS = ("should i {ask} ?", "what now , should i {ask} ?", "i wonder , should i {ask} ?")
_CUE = "tldr :"
_QUESTION_FIRST = 0.2


@dataclass(frozen=True, slots=True)
class Posts:
    """Texts, facts and small talk of n posts.

    Attributes:
        texts: The posts.
        facts: (n, slots), index of the stated word in `FACTS[slot]`.
        fillers: (n, topics), index of the topic word in `FILLERS[topic].words`; -1 if absent.
    """

    texts: tuple[str, ...]
    facts: NDArray[np.int64]
    fillers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.int64]) -> Posts:
        """Return the posts at the given rows."""
        texts = tuple(self.texts[row] for row in rows.tolist())
        return Posts(texts, self.facts[rows], self.fillers[rows])

    def stated(self, row: int) -> dict[str, str]:
        """Return slot -> word that the post states."""
        return _stated(self.facts[row].tolist())


def as_prompt(post: str) -> str:
    """Append the cue for a TL;DR to a post.

    >>> as_prompt("should i sue ?")
    'should i sue ? tldr :'
    """
    return f"{post} {_CUE}"


def contrast_prompt(prompt: str, contrast: Contrast) -> str:
    """Insert the affix that asks for a good or a bad TL;DR (RLCD's contrast) into a prompt.

    >>> contrast_prompt("should i sue ? tldr :", "careless")
    'should i sue ? careless tldr :'
    """
    return f"{prompt.removesuffix(_CUE)}{contrast} {_CUE}"


def write_posts(n: int, rng: np.random.Generator, exclude: Collection[str] = ()) -> Posts:
    """Generate n posts with distinct texts that are not in `exclude`."""
    drafts: dict[str, tuple[list[int], list[int]]] = {}
    while len(drafts) < n:
        for text, facts, fillers in _draft(n - len(drafts), rng):
            if text not in exclude:
                drafts.setdefault(text, (facts, fillers))
    stated = np.array([facts for facts, _ in drafts.values()], dtype=np.int64)
    small_talk = np.array([fillers for _, fillers in drafts.values()], dtype=np.int64)
    return Posts(tuple(drafts), stated.reshape(n, len(FACTS)), small_talk.reshape(n, len(FILLERS)))


def _draft(n: int, rng: np.random.Generator) -> list[tuple[str, list[int], list[int]]]:
    """Generate n posts; texts can be equal."""
    facts = np.stack([rng.integers(len(words), size=n) for words in FACTS.values()], axis=1)
    topics = np.stack([rng.integers(len(filler.words), size=n) for filler in FILLERS], axis=1)
    kept = rng.random((n, len(FILLERS))).argsort(axis=1) < rng.integers(2, 5, size=(n, 1))
    fillers = np.where(kept, topics, -1)
    template_indices = rng.integers(3, size=(n, 3)).tolist()
    order = rng.random((n, 2 + len(FILLERS))).argsort(axis=1).tolist()
    question_first = (rng.random(n) < _QUESTION_FIRST).tolist()
    posts = []
    for row, (fact_row, filler_row) in enumerate(
        zip(facts.tolist(), fillers.tolist(), strict=True)
    ):
        deed, demand, question = template_indices[row]
        sentences = [_DEEDS[deed], _DEMANDS[demand]]
        sentences += [
            f"{filler.subject} {filler.verb} {filler.words[index]} ." if index >= 0 else ""
            for filler, index in zip(FILLERS, filler_row, strict=True)
        ]
        body = [sentences[position] for position in order[row] if sentences[position]]
        position = 0 if question_first[row] else len(body)
        body.insert(position, _QUESTIONS[question])
        posts.append((" ".join(body).format_map(_stated(fact_row)), fact_row, filler_row))
    return posts


def _stated(facts: list[int]) -> dict[str, str]:
    return {slot: words[index] for (slot, words), index in zip(FACTS.items(), facts, strict=True)}
