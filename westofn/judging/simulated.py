"""A judge of the embedded world that errs in known ways: noise, position bias, length bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from westofn.core.seeds import derive_seed
from westofn.judging.protocol import FloatArray

Rewards = Callable[[Sequence[str], Sequence[str]], FloatArray]

_BITS = 52  # so that a half between two steps is still a float64


@dataclass(frozen=True)
class SimulatedJudge:
    """Gold rewards seen through known faults.

    P(first is better) = sigmoid((g(first) − g(second) + position_bias
        + length_bias · (words(first) − words(second)) + e) / temperature),
    where e is Gaussian, a function of (seed, prompt, the two texts) alone, and turns its sign when
    the responses are exchanged: the judge misjudges a pair, not an order.

    Attributes:
        rewards: Gold rewards (n,) of (prompt_ids, responses); the caller gives them, since
            training code does not know the annotator.
        temperature: Divides the margin, in units of reward; > 0.
        noise: Standard deviation of e, in units of reward; ≥ 0.
        position_bias: For the response shown first, in units of reward.
        length_bias: For every word more, in units of reward a word.
        seed: Seeds the noise.
    """

    rewards: Rewards
    temperature: float
    noise: float
    position_bias: float
    length_bias: float
    seed: int

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.noise < 0:
            raise ValueError(
                f"temperature {self.temperature} and noise {self.noise}, needs > 0 and ≥ 0"
            )

    @property
    def name(self) -> str:
        """`simulated`."""
        return "simulated"

    def p_first(
        self,
        prompt_ids: Sequence[str],
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
    ) -> FloatArray:
        """P(first is better), (n,); the facts are found by prompt id, the text is not read."""
        del prompts
        margins = self.rewards(prompt_ids, first) - self.rewards(prompt_ids, second)
        longer = np.array([_words(a) - _words(b) for a, b in zip(first, second, strict=True)])
        errors = [self._error(*row) for row in zip(prompt_ids, first, second, strict=True)]
        margins = margins + self.position_bias + self.length_bias * longer + np.array(errors)
        p: FloatArray = 0.5 + 0.5 * np.tanh(margins / (2.0 * self.temperature))
        return p

    def _error(self, prompt_id: str, first: str, second: str) -> float:
        """The noise e of one pair in this order, in units of reward."""
        if first == second or not self.noise:
            return 0.0
        low, high = sorted((first, second))
        bits = derive_seed(self.seed, "judge", prompt_id, low, high) >> (63 - _BITS)
        drawn = NormalDist(sigma=self.noise).inv_cdf((bits + 0.5) / 2**_BITS)
        return drawn if first == low else -drawn


def _words(text: str) -> int:
    return len(text.split())
