"""The exact pair of a pool by a comparator that reads each response once, and by a joint one.

A joint comparator reads both responses in one row, in both orders. Beside ours: every ordered pair;
one pass of bubble sort for the best and one for the worst, a comparison after the other, as
pairwise rankers do; and the tournament, which asks for all comparisons of a round together. The
models have the size of the embedded world's and random weights, so the pairs differ by model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.rounds import Timed, compare
from benchmarks.speed.tables import WORDS
from westofn.core.comparators import Compare
from westofn.core.selection import exact_best_worst
from westofn.core.tournament import tournament_best_worst
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import TextPools, pool_margins
from westofn.networks.encoder_decoder import build_scratch
from westofn.params.comparator import ComparatorName
from westofn.params.file import load_section
from westofn.params.sft import SftParams
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import train_tokenizer

PROMPTS = 2
Pair = tuple[Tensor, Tensor]


def measure(candidates: int, rounds: int) -> list[Timed]:
    """Time the best and the worst of the pools of two prompts.

    Args:
        candidates: N.
        rounds: Number of rounds.
    """
    draw = np.random.default_rng(0)
    prompts = [" ".join(draw.choice(WORDS, 12)) for _ in range(PROMPTS)]
    pools = [
        [" ".join(draw.choice(WORDS, size)) for size in draw.integers(6, 17, candidates)]
        for _ in range(PROMPTS)
    ]
    encoder = Encoder(train_tokenizer([" ".join(WORDS)] * 2, "words", 64), 32, 32)
    embedding, joint = (_scorer(encoder, name) for name in ("embedding", "joint"))
    read = TextPools(joint, prompts, pools)

    def exact(scorer: Scorer) -> Pair:
        pair = exact_best_worst(pool_margins(scorer, prompts, pools))
        return pair.best, pair.worst

    def tournament() -> Pair:
        result = tournament_best_worst(joint.comparator.compare(read), PROMPTS, candidates)
        return result.best, result.worst

    return compare(
        f"exact pair of {candidates}",
        lambda: exact(embedding),
        {
            "joint, every pair": lambda: exact(joint),
            "joint, bubble sort": lambda: _bubble(joint.comparator.compare(read), candidates),
            "joint, tournament": tournament,
        },
        rounds,
        lambda _, pair: _are_pairs(pair),
    )


def _scorer(encoder: Encoder, comparator: ComparatorName) -> Scorer:
    torch.manual_seed(0)
    size = load_section(SftParams).scratch
    backbone = build_scratch(
        size,
        vocabulary=len(encoder.tokenizer),
        pad_id=encoder.pad_id,
        eos_id=encoder.eos_id,
    )
    model = RewardModel(backbone, comparator, 2 if comparator == "embedding" else 0, "mean")
    torch.nn.init.normal_(model.head.weight)
    return Scorer(model.eval(), encoder)


def _bubble(compare: Compare, candidates: int) -> Pair:
    """The winner of a pass over all candidates, and the loser of a pass over all others."""
    prompt = torch.arange(PROMPTS)
    best = torch.zeros(PROMPTS, dtype=torch.int64)
    for place in range(1, candidates):
        other = torch.full_like(best, place)
        best = torch.where(compare(prompt, other, best) > 0, other, best)
    worst = (best == 0).long()
    for place in range(1, candidates):
        other = torch.full_like(best, place)
        loses = (compare(prompt, other, worst) < 0) & (other != best)
        worst = torch.where(loses, other, worst)
    return best, worst


def _are_pairs(pair: object) -> bool:
    assert isinstance(pair, tuple)
    return bool((pair[0] != pair[1]).all())
