"""A row of a benchmark, and the scores that a model or a baseline gives to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One row of a benchmark.

    Attributes:
        place: File and line.
        name: The id of the row; "" if it has none.
        subset: Its subset.
        prompt: The prompt.
        responses: At least two responses; of a pair, the better one first.
        grades: The correctness of each response, 0 or 1.
    """

    place: str
    name: str
    subset: str
    prompt: str
    responses: tuple[str, ...]
    grades: tuple[float, ...]

    @property
    def lengths(self) -> Scores:
        """The lengths of the responses in characters, as the scores of a baseline."""
        return Scores([float(len(response)) for response in self.responses])


@dataclass(frozen=True)
class Scores:
    """Scores of the responses of an item.

    Attributes:
        values: One score for each response: the reward, or the mean margin over the others of a
            comparator without rewards. Empty if only some pairs were compared.
        margins: Margin of response i over j, with i < j; empty if the values are rewards.
        beyond_limit: Whether a response is longer than those the model was trained on.
    """

    values: Sequence[float]
    margins: Mapping[tuple[int, int], float] | None = None
    beyond_limit: bool = False

    def margin(self, i: int, j: int) -> float:
        """Return the margin of response i over response j."""
        if self.margins is None:
            return self.values[i] - self.values[j]
        return self.margins[i, j] if i < j else -self.margins[j, i]

    @property
    def negated(self) -> Scores:
        """The scores of a scorer with the opposite opinion."""
        return Scores([-value for value in self.values])
