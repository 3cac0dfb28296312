"""The section `won_select`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import NonNegative, Section, Share

SCORE_SELECTORS = ("best_below", "best_median", "quartiles")
"""Selectors that rank the candidates of a pool by a score of each."""


class StopParams(Section):
    """What a round after the first must keep to go on; 0 switches a check off.

    Attributes:
        agreement: The smallest share of random pairs that the previous student and the first
            round's base model order alike.
        spread: The smallest spread of the previous student's margins, as a multiple of that in the
            pools of round 1.
        distinct: The smallest share of different responses in a pool.
        length: The largest change of the mean length since round 1, a factor in either direction.
    """

    agreement: Share
    spread: NonNegative
    distinct: Share
    length: NonNegative

    @model_validator(mode="after")
    def _length_is_a_factor(self) -> Self:
        if 0 < self.length < 1:
            raise ValueError(
                f"length is {self.length:g}, a factor of change in either direction: needs at "
                "least 1, or 0 to switch the check off"
            )
        return self


class WonSelectParams(Section):
    """Which two candidates of a pool become a pair, by whose margins, and when the loop stops.

    Attributes:
        selector: A name in `westofn.core.selection.SELECTORS`, or file:name in `plugins/`.
        anchor: Weight of the first round's base model in the margins of later rounds; the previous
            student has the rest.
    """

    key: ClassVar[str] = "won_select"

    method: Literal["exact", "tournament"]
    selector: Annotated[str, Field(min_length=1)]
    pessimism: NonNegative
    anchor: Share
    stop: StopParams

    @model_validator(mode="after")
    def _tournament_finds_best_and_worst(self) -> Self:
        if self.method == "tournament" and self.selector != "west":
            raise ValueError(
                f"method tournament finds the best and the worst only; selector {self.selector} "
                "needs method exact"
            )
        if self.method == "tournament" and self.pessimism:
            raise ValueError(
                f"pessimism is {self.pessimism:g}, which a tournament cannot use: pessimistic "
                "margins are not skew-symmetric; use method exact or pessimism 0"
            )
        return self
