"""What the paper found, beside what the study measures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from westofn.core.intervals import outcome, side_of
from westofn.report.numbers import signed
from westofn.study.catalogue import METRICS, PAPER, Metric
from westofn.study.means import ONE_SEED, Cell, cell
from westofn.study.pages.templates import sentence
from westofn.study.parts import Part
from westofn.study.records import Run

MAIN = "main"
"""The main pipeline, in the place of a part."""
Arm = tuple[str, str]
"""Part and arm."""
Expected = Literal["above", "not above", "not below"]

HF50: Arm = (Part.BASELINES, "hf50")
WEST: Arm = (Part.BASELINES, "west")
ALL_CANDIDATES: Arm = (Part.SELECTION, "n64")
TWO_CANDIDATES: Arm = (Part.SELECTION, "n2")
ROUND_1: Arm = (MAIN, "k1")
ROUND_3: Arm = (MAIN, "k3")


@dataclass(frozen=True)
class Claim:
    """A finding of the paper (v2, on TL;DR where numbers stand), as a difference of two arms.

    Attributes:
        text: The finding.
        metric: Key of METRICS.
        first: The arm that the finding is about.
        second: The arm that it is compared with.
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
        claim, side = self.claim, self.difference.verdict
        metric = METRICS[claim.metric]
        if claim.expected == "above":
            if claim.paper is not None:
                return against_paper(self.difference, claim.paper, metric)
            return sentence("against_zero", verdict=side)
        return sentence(
            "contradiction",
            verdict=side,
            contradicted=side == claim.expected.removeprefix("not "),
            paper="" if claim.paper is None else _in_unit(claim.paper, metric),
            includes_paper=claim.paper is not None
            and side_of(self.difference.low, self.difference.high, claim.paper) == "around",
        )


def against_paper(difference: Cell, reported: float, metric: Metric) -> str:
    """A verdict on a difference that the paper reports too: what its interval excludes.

    Args:
        difference: The difference with its interval.
        reported: The paper's difference, in the same unit, not zero.
        metric: How both are shown.

    >>> against_paper(Cell(-0.01, 0.017), 0.016, METRICS["accuracy"])
    "smaller than the paper's: excludes +1.6, includes zero"
    >>> against_paper(Cell(0.061, 0.03), 0.052, METRICS["best_of_n_win_rate"])
    "reproduces: excludes zero, includes the paper's +5.2"
    """
    known = difference.half is not None
    side = outcome(difference.low, difference.high, reported) if known else "unknown"
    return sentence("against_paper", outcome=side, paper=_in_unit(reported, metric))


def _in_unit(difference: float, metric: Metric) -> str:
    return signed(metric.scale * difference, metric.digits)


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
        (Part.BASELINES, "hf100"),
        "not below",
    ),
    Claim(
        "self-training on random pairs does nothing or hurts (70.9 → 70.2 %)",
        "accuracy",
        (Part.BASELINES, "self_training"),
        HF50,
        "not above",
        PAPER["self_training", "hf50", "accuracy"],
    ),
    Claim(
        "the worst teaches more than a random rejected response (69.5 → 72.5 %)",
        "accuracy",
        WEST,
        (Part.BASELINES, "best_random"),
        "above",
        PAPER["west", "best_random", "accuracy"],
    ),
    Claim(
        "labels are right more often at N = 64 than at N = 2",
        "label_accuracy",
        ALL_CANDIDATES,
        TWO_CANDIDATES,
        "above",
    ),
    Claim(
        "students get better from N = 2 to N = 64",
        "best_of_n_win_rate",
        ALL_CANDIDATES,
        TWO_CANDIDATES,
        "above",
    ),
    Claim(
        "the confidence filter helps",
        "accuracy",
        (Part.SELECTION, "filter_c50"),
        ALL_CANDIDATES,
        "above",
    ),
    Claim(
        "the likelihood filter helps",
        "accuracy",
        (Part.SELECTION, "filter_l50"),
        ALL_CANDIDATES,
        "above",
    ),
    Claim(
        "West-of-N improves a model of RLAIF's pairs",
        "best_of_n_win_rate",
        (Part.SYNTHETIC_BASES, "rlaif_west"),
        (Part.SYNTHETIC_BASES, "rlaif_only"),
        "above",
    ),
    Claim(
        "West-of-N improves a model of RLCD's pairs",
        "best_of_n_win_rate",
        (Part.SYNTHETIC_BASES, "rlcd_west"),
        (Part.SYNTHETIC_BASES, "rlcd_only"),
        "above",
    ),
    Claim("further rounds lift best-of-64", "best_of_n_win_rate", ROUND_3, ROUND_1, "above"),
    Claim(
        "further rounds do not lift held-out accuracy",
        "accuracy",
        ROUND_3,
        ROUND_1,
        "not above",
    ),
)


def check_claims(runs: Sequence[Run]) -> list[Checked]:
    """The claims whose two arms some seed measured."""
    checked = []
    for claim in CLAIMS:
        pairs = [
            (_value(run, claim.first, claim), _value(run, claim.second, claim)) for run in runs
        ]
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        if differences:
            checked.append(Checked(claim, cell(differences), len(differences)))
    return checked


def _value(run: Run, arm: Arm, claim: Claim) -> float | None:
    part, name = arm
    arms = run["main"] if part == MAIN else run["arms"].get(part, {})
    value = arms.get(name, {}).get(claim.metric)
    return None if value is None else float(value)
