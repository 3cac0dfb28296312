"""The models of the timed loops: a T5 and a Llama of the embedded world's size, and of mid size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from westofn.models.policy import Policy
from westofn.models.reward import RewardModel, Scorer
from westofn.networks.families import build_scratch
from westofn.params.network import ModelSize
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import train_tokenizer

VOCABULARY = 2000
FAMILIES = {"encoder_decoder": "T5", "causal": "Llama"}


@dataclass(frozen=True)
class Size:
    """Sizes of a loop.

    Attributes:
        name: As shown.
        model: Width, layers and so on; a T5 has as many layers of both kinds.
        prompts: Number of prompts.
        prompt: Words of the longest prompt; the shortest has two thirds.
        response: The same of the responses, whose shortest has a third.
        candidates: N.
    """

    name: str
    model: ModelSize
    prompts: int
    prompt: int
    response: int
    candidates: int = 64


def _size(width: int, layers: int, heads: int, feed_forward: int) -> ModelSize:
    return ModelSize(
        width=width, layers=layers, heads=heads, feed_forward=feed_forward, dropout=0.0
    )


SIZES = (
    Size("embedded", _size(64, 2, 2, 128), prompts=16, prompt=40, response=20),
    Size("mid", _size(512, 6, 8, 1408), prompts=1, prompt=500, response=16),
)


@dataclass(frozen=True)
class Case:
    """A model and texts that it reads.

    Attributes:
        name: Family and size, as shown.
        size: The sizes.
        policy: With random weights.
        prompts: P prompts.
        pools: N responses to each.
    """

    name: str
    size: Size
    policy: Policy
    prompts: list[str]
    pools: list[list[str]]

    @property
    def model(self) -> Any:
        """The transformers model; Any, since transformers' types refuse much that works."""
        return self.policy.model

    @property
    def ids(self) -> list[str]:
        """Ids of the prompts."""
        return [f"p{index}" for index in range(len(self.prompts))]

    def scorer(self) -> Scorer:
        """A pointwise reward model that reads the last token, on the policy's weights."""
        model = RewardModel(self.policy.model, "pointwise", 0, "last")
        torch.nn.init.normal_(model.head.weight, std=0.1)
        return Scorer(model.eval(), self.policy.encoder)


def cases() -> Iterator[Case]:
    """Yield every family in every size."""
    for size in SIZES:
        for family, name in FAMILIES.items():
            yield case_of(f"{name}, {size.name}", family, size)


def case_of(name: str, family: str, size: Size) -> Case:
    """Build a model of a family with random weights, and random texts for it.

    Args:
        name: As shown.
        family: A key of FAMILIES.
        size: Sizes of model and texts.
    """
    draw = np.random.default_rng(0)
    words = np.array([f"w{index}" for index in range(VOCABULARY - 10)])

    def texts(count: int, shortest: int, longest: int) -> list[str]:
        lengths = draw.integers(shortest, longest + 1, count)
        return [" ".join(draw.choice(words, length)) for length in lengths]

    tokenizer = train_tokenizer([" ".join(words)] * 2, "words", VOCABULARY)
    encoder = Encoder(tokenizer, size.prompt + 8, size.response, family)  # type: ignore[arg-type]
    torch.manual_seed(0)
    policy = Policy(build_scratch(family, size.model, encoder).eval(), encoder)
    prompts = texts(size.prompts, 2 * size.prompt // 3, size.prompt)
    pools = [texts(size.candidates, size.response // 3, size.response) for _ in prompts]
    return Case(name, size, policy, prompts, pools)
