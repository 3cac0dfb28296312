"""A world of good and bad words: gold counts them, and planted models read them off the ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from torch import Tensor

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.artifacts.preferences import PREFERENCES
from westofn.models.reward import RewardModel
from westofn.networks.encoder_decoder import PromptStates
from westofn.text.encoding import Padded

TEXTS = ["a post about cats", "a reply good good", "good", "bad bad", "so so bad a", "so long"]
Rows = Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class CountingGold:
    """Stands in for `Gold`: good words minus bad words."""

    temperature: float = 1.0

    def rewards(self, prompt_ids: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        assert len(prompt_ids) == len(responses)
        return np.array([float(worth(response)) for response in responses])


class PlantedModel(RewardModel):
    """A tiny T5 whose pointwise reward is `scale` times the good words minus the bad ones."""

    worth_of_id: Tensor

    def features(self, states: PromptStates, responses: Padded) -> Tensor:
        worth = self.worth_of_id[responses.ids] * responses.mask
        assert len(states.bias) == len(responses.ids)
        return worth.sum(-1, keepdim=True)


def worth(response: str) -> int:
    words = response.split()
    return words.count("good") - words.count("bad")


def text(value: int, filler: int = 0) -> str:
    """A response of that worth with so many words that are worth nothing."""
    return " ".join(["so"] * filler + ["good" if value > 0 else "bad"] * abs(value)) or "so"


def prompt_frame(names: Sequence[str], split: str = "test") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "prompt_id": names,
            "prompt": [f"a post about {name}" for name in names],
            "split": [split] * len(names),
        }
    )


def candidate_frame(pools: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(name, i, r) for name, pool in pools.items() for i, r in enumerate(pool)]
    return CANDIDATES.validate(
        CANDIDATES.frame(
            {
                "prompt_id": [name for name, _, _ in rows],
                "candidate_index": [i for _, i, _ in rows],
                "response": [r for _, _, r in rows],
                "logprob": [-0.5 * (i + 1) * (len(r.split()) + 1) for _, i, r in rows],
                "n_tokens": [len(r.split()) + 1 for _, _, r in rows],
                "finish_reason": ["stop"] * len(rows),
            }
        ),
        "test",
    )


def pool_of(*values: Sequence[int]) -> Pools:
    """Prompts p0, p1, ... whose candidates have these gold rewards."""
    pools = {f"p{row}": [text(value) for value in some] for row, some in enumerate(values)}
    return Pools.from_frames(candidate_frame(pools), prompt_frame(list(pools)))


def preference_frame(
    pairs: Rows, p_chosen: Sequence[float | None] | None = None, split: str = "test"
) -> pl.DataFrame:
    """Rows (prompt_id, chosen, rejected) of table PREFERENCES."""
    names, chosen, rejected = zip(*pairs, strict=True)
    size = len(names)
    return PREFERENCES.validate(
        PREFERENCES.frame(
            {
                "pair_id": [f"{split}{row:04d}" for row in range(size)],
                "prompt_id": names,
                "prompt": [f"a post about {name}" for name in names],
                "chosen": chosen,
                "rejected": rejected,
                "split": [split] * size,
                "source": ["counting"] * size,
                "label_source": ["human"] * size,
                "p_chosen": [None] * size if p_chosen is None else p_chosen,
            }
        ),
        "test",
    )
