"""What the paper found, beside what the study measures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from westofn.core.intervals import side_of
from westofn.report.numbers import signed
from westofn.report.study_catalogue import PAPER
from westofn.report.study_results import METRICS, ONE_SEED, Cell, Run, against_paper, cell

Arm = tuple[str, str]
"""Part and arm; part `main` is the main pipeline."""
Expected = Literal["above", "not above", "not below"]

HF50: Arm = ("baselines", "hf50")
WEST: Arm = ("baselines", "west")
ROUND_1: Arm = ("main", "k1")


@dataclass(frozen=True)
class Claim:
    """A finding of the paper (v2, on TL;DR where numbers stand), as a difference of two arms.

    Attributes:
        text: The finding.
        metric: Of eval.
        first: The arm that it speaks of.
        second: What that is compared with.
        expected: Where the paper has the difference.
        paper: The paper's difference, a share, where it states numbers; None where it does not.
    """

    text: str
    metric: str
    first: Arm
    second: Arm
    expected: Expected
    paper: float | None = None


@dataclass(frozen=True)
class Checked:
    """A claim, the paired difference over the seeds that have both arms, and how they agree."""

    claim: Claim
    difference: Cell
    seeds: int

    @property
    def verdict(self) -> str:
        """Whether the finding shows here: what the interval excludes, where there is one."""
        if self.difference.half is None:
            return ONE_SEED
        side, claim = self.difference.verdict, self.claim
        if claim.expected == "above":
            if claim.paper is not None:
                return against_paper(self.difference, claim.paper, *METRICS[claim.metric][1:])
            return {
                "above": "reproduces: excludes zero",
                "below": "reversed: excludes zero on the other side",
            }.get(side, "not told apart: includes zero")
        if side == claim.expected.removeprefix("not "):
            return f"contradicted: lies {side} zero"
        text = "includes zero" if side == "not told apart" else f"lies {side} zero"
        if claim.paper is None:
            return f"not contradicted: {text}"
        _, scale, digits = METRICS[claim.metric]
        inside = side_of(self.difference.low, self.difference.high, claim.paper) == "around"
        paper = f"the paper's {signed(scale * claim.paper, digits)}"
        return f"not contradicted: {text}, {'includes' if inside else 'excludes'} {paper}"


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "West-of-N lifts accuracy (70.9 → 72.5 %)",
        "accuracy",
        WEST,
        HF50,
        "above",
        PAPER["west", "hf50", "accuracy"],
    ),
    Claim(
        "West-of-N lifts best-of-64 (85.2 → 90.4 % wins)",
        "best_of_n_win_rate",
        WEST,
        HF50,
        "above",
        PAPER["west", "hf50", "best_of_n_win_rate"],
    ),
    Claim(
        "as much as twice the human data, or more",
        "best_of_n_win_rate",
        WEST,
        ("baselines", "hf100"),
        "not below",
    ),
    Claim(
        "self-training on random pairs does nothing or hurts (70.9 → 70.2 %)",
        "accuracy",
        ("baselines", "self_training"),
        ("baselines", "hf50"),
        "not above",
        PAPER["self_training", "hf50", "accuracy"],
    ),
    Claim(
        "the worst teaches more than a random rejected response (69.5 → 72.5 %)",
        "accuracy",
        ("baselines", "west"),
        ("baselines", "best_random"),
        "above",
        PAPER["west", "best_random", "accuracy"],
    ),
    Claim(
        "labels are right more often at N = 64 than at N = 2",
        "label_accuracy",
        ("selection", "n64"),
        ("selection", "n2"),
        "above",
    ),
    Claim(
        "students get better from N = 2 to N = 64",
        "best_of_n_win_rate",
        ("selection", "n64"),
        ("selection", "n2"),
        "above",
    ),
    Claim(
        "the confidence filter helps",
        "accuracy",
        ("selection", "filter_c50"),
        ("selection", "n64"),
        "above",
    ),
    Claim(
        "the likelihood filter helps",
        "accuracy",
        ("selection", "filter_l50"),
        ("selection", "n64"),
        "above",
    ),
    Claim(
        "West-of-N improves a model of RLAIF's pairs",
        "best_of_n_win_rate",
        ("synthetic_bases", "rlaif_west"),
        ("synthetic_bases", "rlaif_only"),
        "above",
    ),
    Claim(
        "West-of-N improves a model of RLCD's pairs",
        "best_of_n_win_rate",
        ("synthetic_bases", "rlcd_west"),
        ("synthetic_bases", "rlcd_only"),
        "above",
    ),
    Claim("further rounds lift best-of-64", "best_of_n_win_rate", ("main", "k3"), ROUND_1, "above"),
    Claim(
        "further rounds do not lift held-out accuracy",
        "accuracy",
        ("main", "k3"),
        ROUND_1,
        "not above",
    ),
)


def check_claims(runs: Sequence[Run]) -> list[Checked]:
    """The claims whose arms some seed measured."""
    found = []
    for claim in CLAIMS:
        pairs = [
            (_value(run, claim.first, claim), _value(run, claim.second, claim)) for run in runs
        ]
        numbers = [a - b for a, b in pairs if a is not None and b is not None]
        if numbers:
            found.append(Checked(claim, cell(numbers), len(numbers)))
    return found


def _value(run: Run, arm: Arm, claim: Claim) -> float | None:
    part, name = arm
    arms = run["main"] if part == "main" else run["arms"].get(part, {})
    value = arms.get(name, {}).get(claim.metric)
    return None if value is None else float(value)
