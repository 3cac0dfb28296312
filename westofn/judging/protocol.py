"""One protocol for every judge, and verdicts in which the order of the responses cancels out.

A judge is asked in both orders and its probabilities are averaged (Lee et al. 2023, RLAIF,
arXiv 2309.00267, section 2.1): P(a, b) + P(b, a) = 1 whatever its position bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_STEPS = 2.0**24  # Float32 holds every multiple of 2⁻²⁴ in [0, 1], and so do sums and halves here


class PreferenceJudge(Protocol):
    """Compares two responses to a prompt in the order in which they are shown, to label pairs.

    `westofn.evaluation` has the other kind: a RewardJudge gives rewards to single responses.
    """

    @property
    def name(self) -> str:
        """What tables call the judge, such as `simulated` or `llm:NAME`."""

    def p_first(
        self,
        prompt_ids: Sequence[str],
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
    ) -> FloatArray:
        """The probability that the response shown first is better, (n,); NaN: no answer.

        A row's number does not depend on the rows beside it.
        """


@dataclass(frozen=True)
class Verdicts:
    """A judge's probabilities for n pairs, asked in both orders.

    Attributes:
        p_forward: (n,) P(first is better) with `first` shown first; 0.5: no answer.
        p_backward: (n,) P(first is better) with `second` shown first; 0.5: no answer.
        unanswered: (n,) orders without an answer, 0 to 2.
    """

    p_forward: FloatArray
    p_backward: FloatArray
    unanswered: NDArray[np.int32]


def position_flip_rate(p_forward: FloatArray, p_backward: FloatArray) -> float:
    """Share of pairs whose winner depends on the order; a tie is half. NaN without pairs.

    Args:
        p_forward: (n,) P(first is better) with the first shown first.
        p_backward: (n,) P(first is better) with the second shown first.

    >>> position_flip_rate(np.array([0.9, 0.6, 0.5]), np.array([0.8, 0.4, 0.7]))  # no, yes, half
    0.5
    """
    if not len(p_forward):
        return float("nan")
    agreement = np.sign(p_forward - 0.5) * np.sign(p_backward - 0.5)
    return float(np.mean((1 - agreement) / 2))


def judge_pairs(
    judge: PreferenceJudge,
    prompt_ids: Sequence[str],
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
) -> Verdicts:
    """Ask in both orders.

    Args:
        judge: It answers each order on its own.
        prompt_ids: Names of n prompts.
        prompts: Texts of the prompts.
        first: One response a prompt.
        second: Another response a prompt.

    Raises:
        WestofnError: Whatever the judge cannot do, see there.
        ValueError: The columns differ in length, or the judge gives no probabilities.
    """
    forward = _asked(judge, prompt_ids, prompts, first, second)
    backward = 1.0 - _asked(judge, prompt_ids, prompts, second, first)
    unanswered = np.isnan(forward).astype(np.int32) + np.isnan(backward).astype(np.int32)
    return Verdicts(_ties(forward), _ties(backward), unanswered)


def _asked(
    judge: PreferenceJudge,
    prompt_ids: Sequence[str],
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
) -> FloatArray:
    """`p_first` rounded to multiples of 2⁻²⁴, which a Float32 table gives back bit by bit."""
    lengths = {len(prompt_ids), len(prompts), len(first), len(second)}
    if len(lengths) > 1:
        raise ValueError(f"columns of {sorted(lengths)} rows, needs equal lengths")
    answers = np.asarray(judge.p_first(prompt_ids, prompts, first, second), dtype=np.float64)
    if answers.shape != (len(first),) or np.any((answers < 0) | (answers > 1)):
        raise ValueError(
            f"judge {judge.name} gave numbers of shape {answers.shape} for {len(first)} pairs, or "
            "outside of [0, 1]"
        )
    grid: FloatArray = np.round(answers * _STEPS) / _STEPS
    return grid


def _ties(p: FloatArray) -> FloatArray:
    return np.where(np.isnan(p), 0.5, p)
