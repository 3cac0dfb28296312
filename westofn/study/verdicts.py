"""The AI judge's verdicts as the parts read them: by prompt and texts, in either order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.artifacts.pools import Pools
from westofn.artifacts.verdicts import VERDICTS
from westofn.errors import DataError
from westofn.evaluation.judges import FloatArray, GoldJudge, RewardJudge, margins
from westofn.evaluation.records import Record
from westofn.judging.protocol import position_flip_rate
from westofn.study.inputs import StudyInputs
from westofn.study.synthetic import side_by_side


@dataclass(frozen=True)
class Verdicts:
    """Probabilities that the first of two responses is better, as said in both orders.

    Attributes:
        forward: By (prompt_id, first, second): asked with `first` shown first.
        backward: The same, asked with `second` shown first; still of `first`.
        judge: Name of the judge.
    """

    forward: Mapping[tuple[str, str, str], float]
    backward: Mapping[tuple[str, str, str], float]
    judge: str

    @classmethod
    def read(cls, path: Path) -> Verdicts:
        """The verdicts of table VERDICTS."""
        frame = VERDICTS.read(path)
        keys = list(frame.select("prompt_id", "first", "second").iter_rows())
        return cls(
            dict(zip(keys, frame["p_forward"].to_list(), strict=True)),
            dict(zip(keys, frame["p_backward"].to_list(), strict=True)),
            frame["judge"][0],
        )

    def p_first(self, pools: Pools) -> NDArray[np.float64]:
        """(P,) mean of both orders for the first two candidates of each pool.

        Raises:
            DataError: A pair was never judged.
        """
        forward, backward = self._of(pools)
        mean: NDArray[np.float64] = (forward + backward) / 2
        return mean

    def facts(self, judge: RewardJudge, sets: Mapping[str, Pools]) -> list[Record]:
        """What the judge said of each set: position flips, and agreement with gold if it is known.

        Shares of the pairs that were judged: two equal texts are none. Ties are half.
        """
        records = []
        for name, pools in sets.items():
            differ = [row for row, pool in enumerate(pools.responses) if pool[0] != pool[1]]
            if not differ:
                continue
            kept = pools.take(differ)
            forward, backward = self._of(kept)
            record: Record = {
                "set": name,
                "judge": self.judge,
                "pairs": len(differ),
                "position_flip_rate": position_flip_rate(forward, backward),
                "first_shown_wins": float(np.mean([_wins(forward), _wins(1 - backward)])),
            }
            if isinstance(judge, GoldJudge):
                first, second = ([pool[i] for pool in kept.responses] for i in (0, 1))
                gold = margins(judge, kept.prompt_ids, kept.prompts, first, second)
                says = np.sign((forward + backward) / 2 - 0.5)
                record["gold_agreement"] = float(((says * np.sign(gold) + 1) / 2).mean())
            records.append(record)
        return records

    def _of(self, pools: Pools) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        forward, backward = [], []
        for name, _, responses in pools.rows():
            first, second = responses[:2]
            if first == second:
                forward.append(0.5)
                backward.append(0.5)
                continue
            key = (name, first, second)
            if key not in self.forward:
                raise DataError(
                    f"verdicts: no verdict on a pair of prompt {name}; verdicts and pools come "
                    "from different runs: rerun study_judge"
                )
            forward.append(self.forward[key])
            backward.append(self.backward[key])
        return np.array(forward), np.array(backward)


def _wins(p: NDArray[np.float64]) -> float:
    """Share of probabilities above one half, ties half."""
    return float(((np.sign(p - 0.5) + 1) / 2).mean())


def judged_pairs(sets: Mapping[str, Pools]) -> pl.DataFrame:
    """Columns prompt_id, prompt, first, second: each different pair of the sets once."""
    rows = [
        (name, prompt, *responses[:2])
        for pools in sets.values()
        for name, prompt, responses in pools.rows()
        if responses[0] != responses[1]
    ]
    columns = ("prompt_id", "prompt", "first", "second")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String()), orient="row")
    return frame.unique(("prompt_id", "first", "second")).sort("prompt_id", "first", "second")


def pairs_to_judge(inputs: StudyInputs) -> dict[str, Pools]:
    """Two samples for each train prompt, and the contrast pairs of D_U."""
    contrast = (inputs.contrast(side, "unlabeled") for side in ("positive", "negative"))
    return {
        "labeled": inputs.labeled_pools,
        "unlabeled": inputs.unlabeled,
        "contrast": side_by_side(inputs.unlabeled, *contrast),
    }


def gold_rewards(judge: RewardJudge) -> Callable[[Sequence[str], Sequence[str]], FloatArray] | None:
    """Gold rewards of responses for the simulated judge; None where there is no gold annotator."""
    if not isinstance(judge, GoldJudge):
        return None
    return lambda prompt_ids, responses: judge.rewards(prompt_ids, prompt_ids, responses)
