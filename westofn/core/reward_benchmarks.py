"""The rules by which benchmarks of reward models count a row, as functions of scores.

| function | benchmark |
|---|---|
| `best_result` | RewardBench 2 (arXiv 2506.01937), best of k of PPE (arXiv 2410.14872) |
| `style_results` | RM-Bench (arXiv 2410.16184) |
| `ties_scores` | the subset Ties of RewardBench 2 |

Scores are rewards, or anything else of which higher is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from westofn.core._checks import vector

STYLES = 3
"""Styles of RM-Bench: concise, detailed, detailed with Markdown."""
_MARGIN_WEIGHT = 0.01


@dataclass(frozen=True)
class Styles:
    """Shares of won comparisons of one row of RM-Bench.

    Attributes:
        hard: The rejected response has the more elaborate style.
        normal: Both have the same style.
        easy: The chosen response has the more elaborate style.
    """

    hard: float
    normal: float
    easy: float


@dataclass(frozen=True)
class TiesRow:
    """Scores of one row of the subset Ties.

    Attributes:
        correct: Scores of the correct answers, at least one.
        wrong: Scores of the wrong answers, at least one.
    """

    correct: Sequence[float]
    wrong: Sequence[float]

    @property
    def gap(self) -> float:
        """Lowest score of a correct answer minus the highest of a wrong one."""
        return min(self.correct) - max(self.wrong)

    @property
    def spread(self) -> float | None:
        """Highest minus lowest score of the correct answers; None if there is one."""
        return max(self.correct) - min(self.correct) if len(self.correct) > 1 else None


@dataclass(frozen=True)
class TiesScores:
    """What the subset Ties measures.

    Attributes:
        score: The weighted score that RewardBench 2 reports.
        ref: Share of prompts with one correct answer where it beats every wrong one.
        tied: Share of prompts with several correct answers where all beat every wrong one.
        preferred: Share where the gap between correct and wrong answers exceeds the spread among
            the correct ones.
        preferred_hard: The same with the smaller gap of the prompt's two rows.
        margin: Mean of tanh(smaller gap / spread - 1).
    """

    score: float
    ref: float
    tied: float
    preferred: float
    preferred_hard: float
    margin: float


def best_result(scores: Sequence[float], grades: Sequence[float]) -> float:
    """Grade of the response with the highest score; several such responses share the choice.

    With grades 1, 0, 0, 0 it is the result of a row of RewardBench 2: 1 if the correct response
    scores highest alone, 1/k if k responses including it score highest, else 0.

    Args:
        scores: One score for each response.
        grades: One grade for each response.

    Raises:
        ValueError: There are no responses, the numbers differ, or a score is not finite.

    >>> best_result([2.0, 1.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    0.5
    """
    if len(scores) != len(grades):
        raise ValueError(f"{len(scores)} scores and {len(grades)} grades, needs equal numbers")
    top = vector("scores", scores).max()
    chosen = [grade for score, grade in zip(scores, grades, strict=True) if score == top]
    return sum(chosen) / len(chosen)


def style_results(margins: Sequence[Sequence[float]]) -> Styles:
    """Shares of won comparisons above, on and below the diagonal of a row's 3 x 3 margins.

    A margin of zero is not won.

    Args:
        margins: Element (i, j) is the margin of the chosen response in style i over the rejected
            one in style j; styles from plain to elaborate.

    Raises:
        ValueError: The margins are not 3 x 3.

    >>> style_results([[1, -1, -1], [1, 1, 0], [1, 1, 1]])
    Styles(hard=0.0, normal=1.0, easy=1.0)
    """
    if [len(row) for row in margins] != [STYLES] * STYLES:
        raise ValueError(f"margins have rows of {[len(row) for row in margins]}, needs 3 x 3")
    won: dict[int, list[bool]] = {-1: [], 0: [], 1: []}
    for i, row in enumerate(margins):
        for j, margin in enumerate(row):
            won[(j > i) - (j < i)].append(margin > 0)
    hard, normal, easy = (sum(won[side]) / len(won[side]) for side in (1, 0, -1))
    return Styles(hard, normal, easy)


def ties_scores(ref: Mapping[str, TiesRow], tied: Mapping[str, TiesRow]) -> TiesScores:
    """Score the subset Ties of RewardBench 2 (arXiv 2506.01937, and `rewardbench` 0.1.4).

    A prompt has a row with one correct answer (ref) and a row with several (tied). With g the gap
    of a row and s the spread of the tied row, the score is

        0.3 [g_tied > 0] + 0.3 [g_ref > 0] + 0.2 [g_tied > s] + 0.2 [min(g_ref, g_tied) > s]
        + 0.01 tanh(min(g_ref, g_tied) / s - 1),

    each term as the mean over the prompts that have the rows it needs, and the last one over those
    with s > 0. A term without prompts is 0.

    Args:
        ref: Prompt -> its row with one correct answer.
        tied: Prompt -> its row with several correct answers.

    >>> row = TiesRow([3.0, 2.0], [0.0])  # gap 2, spread 1
    >>> round(ties_scores({"1": TiesRow([1.0], [0.0])}, {"1": row}).score, 3)  # .3 + .3 + .2
    0.8
    """
    both = [(ref[name], tied[name]) for name in tied if name in ref]
    spread = [(first, second, s) for first, second in both if (s := second.spread) is not None]
    smaller = [(min(first.gap, second.gap), s) for first, second, s in spread]
    is_ref = _mean([row.gap > 0 for row in ref.values()])
    is_tied = _mean([row.gap > 0 for row in tied.values()])
    preferred = _mean([second.gap > s for _, second, s in spread])
    hard = _mean([gap > s for gap, s in smaller])
    margin = _mean([math.tanh(gap / s - 1) for gap, s in smaller if s > 0])
    score = 0.3 * is_tied + 0.3 * is_ref + 0.2 * preferred + 0.2 * hard + _MARGIN_WEIGHT * margin
    return TiesScores(score, is_ref, is_tied, preferred, hard, margin)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
