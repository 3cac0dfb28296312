"""Verdicts by prompt and texts, in both orders, and what they say of the judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.planted import CountingGold
from westofn.artifacts.pools import Pools
from westofn.artifacts.verdicts import VERDICTS
from westofn.errors import DataError
from westofn.evaluation.judges import AutoraterJudge, GoldJudge
from westofn.study.verdicts import Verdicts, gold_rewards, judged_pairs

GOLD = GoldJudge(CountingGold())
# Forward, backward: agrees; a flip; a tie in one order; agrees on the second.
SAID = {"p0": (0.75, 0.625), "p1": (0.75, 0.25), "p2": (0.5, 0.75), "p3": (0.125, 0.25)}
TEXTS = {"p0": ("good", "bad"), "p1": ("good", "so"), "p2": ("good", "so so"), "p3": ("so", "bad")}


def pools(*names: str) -> Pools:
    return Pools(list(names), [f"post {n}" for n in names], [[*TEXTS[n], "third"] for n in names])


@pytest.fixture
def verdicts(tmp_path: Path) -> Verdicts:
    columns = {
        "prompt_id": list(SAID),
        "first": [TEXTS[name][0] for name in SAID],
        "second": [TEXTS[name][1] for name in SAID],
        "p_forward": [forward for forward, _ in SAID.values()],
        "p_backward": [backward for _, backward in SAID.values()],
        "unanswered": [0] * 4,
        "judge": ["simulated"] * 4,
    }
    VERDICTS.write(VERDICTS.frame(columns), tmp_path / "verdicts.parquet")
    return Verdicts.read(tmp_path / "verdicts.parquet")


def test_the_probability_is_the_mean_of_both_orders(verdicts: Verdicts) -> None:
    assert verdicts.p_first(pools("p2", "p0")).tolist() == [0.625, 0.6875]


def test_equal_texts_need_no_verdict_and_are_a_tie(verdicts: Verdicts) -> None:
    same = Pools(["new"], ["post"], [["so", "so"]])
    assert verdicts.p_first(same).tolist() == [0.5]


def test_a_pair_that_was_never_judged_is_named(verdicts: Verdicts) -> None:
    turned = Pools(["p0"], ["post p0"], [["bad", "good"]])
    with pytest.raises(DataError, match=r"no verdict on a pair of prompt p0.*rerun study_judge"):
        verdicts.p_first(turned)


def test_flips_count_ties_half(verdicts: Verdicts) -> None:
    (found,) = verdicts.facts(GOLD, {"set": pools(*SAID)})
    assert found["position_flip_rate"] == (0 + 1 + 0.5 + 0) / 4
    assert (found["set"], found["judge"], found["pairs"]) == ("set", "simulated", 4)


def test_the_first_shown_wins_as_often_as_it_is_said_to(verdicts: Verdicts) -> None:
    (found,) = verdicts.facts(GOLD, {"set": pools(*SAID)})
    # Forward: yes, yes, a tie, no; backward, where the second is shown first: no, yes, no, yes.
    assert found["first_shown_wins"] == (2.5 + 2) / 8


def test_agreement_with_gold_counts_ties_half(verdicts: Verdicts) -> None:
    (found,) = verdicts.facts(GOLD, {"set": pools(*SAID)})
    # Right on p0; a tie on p1; right on p2; of p3 gold prefers the first, the judge the second.
    assert found["gold_agreement"] == (1 + 0.5 + 1 + 0) / 4


def test_pairs_of_equal_texts_are_in_no_rate(verdicts: Verdicts) -> None:
    plain = pools(*SAID)
    more = Pools(
        [*plain.prompt_ids, "p4"], [*plain.prompts, "post p4"], [*plain.responses, ["so", "so"]]
    )
    assert verdicts.facts(GOLD, {"set": more}) == verdicts.facts(GOLD, {"set": plain})
    assert verdicts.facts(GOLD, {"same": Pools(["p4"], ["post"], [["so", "so"]])}) == []


def test_without_gold_there_is_no_agreement(verdicts: Verdicts, scorers) -> None:
    judge = AutoraterJudge(scorers("pointwise"))
    (found,) = verdicts.facts(judge, {"set": pools("p0")})
    assert "gold_agreement" not in found
    assert gold_rewards(judge) is None


def test_gold_is_given_to_a_judge_by_prompt_and_text() -> None:
    rewards = gold_rewards(GOLD)
    assert rewards is not None
    np.testing.assert_array_equal(rewards(["p0", "p0"], ["good good", "bad"]), [2.0, -1.0])


def test_every_different_pair_is_asked_about_once() -> None:
    twice = pools("p1", "p0")
    same = Pools(["p5"], ["post"], [["so", "so"]])
    found = judged_pairs({"one": twice, "two": twice, "three": same})
    assert found.rows() == [
        ("p0", "post p0", "good", "bad"),
        ("p1", "post p1", "good", "so"),
    ]
