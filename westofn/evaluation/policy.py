"""How good a policy's own responses are: reward, gold reward, and wins over the SFT policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.core.metrics import bootstrap_interval
from westofn.core.seeds import derive_seed
from westofn.errors import DataError
from westofn.evaluation.judges import RewardJudge
from westofn.evaluation.records import Record, with_interval
from westofn.generation.hf import decode, sample
from westofn.generation.repetition import repetition
from westofn.models.policy import Policy
from westofn.models.reward import Scorer
from westofn.models.scoring import score_pools

SAMPLES_A_PROMPT = 4


@dataclass(frozen=True)
class Measured:
    """Responses of a policy on the test prompts, SAMPLES_A_PROMPT each.

    Attributes:
        reward: (P, S) standardised reward of the model under test.
        judged: (P, S) the judge's reward.
        length: Mean tokens a response, the end token included.
        cut: Share of the responses that the limit of tokens cut.
        repetition: How much the responses repeat, see `repetition`.
    """

    reward: NDArray[np.float64]
    judged: NDArray[np.float64]
    length: float
    cut: float
    repetition: Mapping[str, float | int]


@dataclass(frozen=True)
class PolicyProbe:
    """Samples policies on the same prompts with the same draws, and compares them.

    Attributes:
        prompts: Rows of table prompts (test prompts).
        scorer: The pointwise reward model that RL optimises.
        judge: The gold annotator, or the autorater.
        temperature: At which responses are sampled.
        seed: The run's seed.
    """

    prompts: pl.DataFrame
    scorer: Scorer
    judge: RewardJudge
    temperature: float
    seed: int

    def __post_init__(self) -> None:
        if not self.prompts.height:
            raise DataError("rlhf: no prompt has split test, needs at least 1; rerun prepare")

    def measure(self, policy: Policy, purpose: str) -> Measured:
        """Sample and judge a policy; `purpose` keys the draws."""
        ids, texts = self.prompts["prompt_id"].to_list(), self.prompts["prompt"].to_list()
        samples = sample(
            policy,
            texts,
            ids,
            indices=range(SAMPLES_A_PROMPT),
            temperature=self.temperature,
            seed=derive_seed(self.seed, "policy probe", purpose),
        )
        responses = decode(policy, samples)
        rewards = np.stack([r[:, 0] for r in score_pools(self.scorer, texts, responses)])
        flat = [response for pool in responses for response in pool]
        repeated = [[name] * SAMPLES_A_PROMPT for name in ids]
        judged = self.judge.rewards(
            [name for names in repeated for name in names],
            [text for text in texts for _ in range(SAMPLES_A_PROMPT)],
            flat,
        )
        return Measured(
            (rewards - self.scorer.reward_mean) / self.scorer.reward_std,
            judged.reshape(len(ids), SAMPLES_A_PROMPT),
            float(samples.n_tokens.float().mean()),
            float((~samples.stopped).float().mean()),
            repetition(responses, policy.encoder),
        )

    def curve_point(self, sft: Measured) -> Callable[[Policy], dict[str, float]]:
        """A function of a policy for the RL curve: reward, win rate, and gold where it is known."""

        def evaluate(policy: Policy) -> dict[str, float]:
            now = self.measure(policy, "policy")
            point = {
                "reward": float(now.reward.mean()),
                "win_rate": float(wins(now.judged, sft.judged).mean()),
            }
            if self.judge.name == "gold":
                point["gold"] = float(now.judged.mean())
            return point

        return evaluate

    def final(self, now: Measured, sft: Measured) -> Record:
        """The flat metrics of a trained policy against the SFT policy, with intervals."""
        record = with_interval(
            "rl_win_rate", bootstrap_interval(wins(now.judged, sft.judged), seed=self.seed)
        )
        record |= {
            "rl_reward": float(now.reward.mean()),
            "sft_reward": float(sft.reward.mean()),
            "rl_length": now.length,
            "sft_length": sft.length,
            "rl_cut": now.cut,
            **{f"rl_{key}": value for key, value in now.repetition.items()},
            "judge": self.judge.name,
        }
        if self.judge.name == "gold":
            record |= with_interval(
                "rl_gold", bootstrap_interval(now.judged.mean(axis=1), seed=self.seed)
            )
            record["sft_gold"] = float(sft.judged.mean())
        return record


def wins(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of all S·S pairs of a prompt's responses that `first` wins, ties half.

    Args:
        first: (P, S) the judge's rewards of one policy.
        second: (P, S) of the other.

    Returns:
        (P,).

    >>> wins(np.array([[2.0, 1.0]]), np.array([[1.0, 0.0]])).tolist()
    [0.875]
    """
    difference = first[:, :, None] - second[:, None, :]
    share: NDArray[np.float64] = ((np.sign(difference) + 1) / 2).mean(axis=(1, 2))
    return share
