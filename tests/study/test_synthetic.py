"""Pairs of selections, of a judge, and of contrast prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.evaluation.planted import CountingGold
from westofn.artifacts.pools import Pools
from westofn.core.selection import BestWorst, exact_best_worst
from westofn.evaluation.judges import GoldJudge
from westofn.study.synthetic import (
    Pairs,
    contrasted,
    from_selection,
    judged,
    selector_draws,
    side_by_side,
)

POOLS = Pools(
    ["p0", "p1", "p2"],
    ["post 0", "post 1", "post 2"],
    [["good", "bad", "so"], ["same", "same", "good good"], [" ", "bad", "so so"]],
)


def chosen(best: object, worst: object, p: object) -> BestWorst:
    return BestWorst(torch.tensor(best), torch.tensor(worst), torch.tensor(p))


def pools(*responses: list[str]) -> Pools:
    """One pool a prompt, p0, p1, …"""
    names = [f"p{row}" for row in range(len(responses))]
    return Pools(names, [f"post {row}" for row in range(len(responses))], list(responses))


def rows(pairs: Pairs) -> list[tuple[str, str, str, str]]:
    some = pairs.preferences
    return list(zip(pairs.prompt_ids, some.prompts, some.chosen, some.rejected, strict=True))


class TestFromSelection:
    def test_a_pair_a_prompt(self) -> None:
        pairs = from_selection(POOLS, chosen([0, 2, 1], [1, 0, 2], [0.9, 0.8, 0.75]))
        assert rows(pairs) == [
            ("p0", "post 0", "good", "bad"),
            ("p1", "post 1", "good good", "same"),
            ("p2", "post 2", "bad", "so so"),
        ]
        assert pairs.preferences.p_chosen == [1.0, 1.0, 1.0]
        np.testing.assert_allclose(pairs.p_model, [0.9, 0.8, 0.75], rtol=1e-6)

    def test_several_pairs_a_prompt_stand_beside_each_other(self) -> None:
        pairs = from_selection(
            POOLS, chosen([[0, 2]] * 3, [[1, 1]] * 3, [[0.9, 0.6], [0.8, 0.7], [0.5, 0.55]])
        )
        assert [(name, a, b) for name, _, a, b in rows(pairs)] == [
            ("p0", "good", "bad"),
            ("p0", "so", "bad"),
            ("p1", "good good", "same"),  # same against same is dropped
            ("p2", "so so", "bad"),  # so is the blank response
        ]
        np.testing.assert_allclose(pairs.p_model, [0.9, 0.6, 0.7, 0.55], rtol=1e-6)

    def test_one_pair_a_prompt_has_two_forms(self) -> None:
        flat = from_selection(POOLS, chosen([0, 2, 1], [1, 0, 2], [0.9, 0.8, 0.75]))
        deep = from_selection(
            POOLS, chosen([[0], [2], [1]], [[1], [0], [2]], [[0.9], [0.8], [0.75]])
        )
        assert rows(flat) == rows(deep)
        assert flat.p_model.tolist() == deep.p_model.tolist()

    def test_the_exact_pair_is_the_one_that_margins_name(self) -> None:
        rewards = torch.tensor([1.0, -1.0, 0.0])
        margins = (rewards[:, None] - rewards).expand(3, 3, 3)
        assert rows(from_selection(POOLS, exact_best_worst(margins)))[0][2:] == ("good", "bad")


class TestPairs:
    PAIRS = from_selection(POOLS, chosen([0, 2, 1], [1, 0, 2], [0.9, 0.8, 0.75]))

    def test_soft_labels_are_the_labellers_probabilities(self) -> None:
        soft = self.PAIRS.soft()
        np.testing.assert_allclose(soft.preferences.p_chosen, [0.9, 0.8, 0.75], rtol=1e-6)
        assert rows(soft) == rows(self.PAIRS)

    def test_the_pairs_of_some_prompts(self) -> None:
        some = self.PAIRS.soft().of({"p2", "p0", "elsewhere"})
        assert [row[0] for row in rows(some)] == ["p0", "p2"]
        np.testing.assert_allclose(some.p_model, [0.9, 0.75], rtol=1e-6)
        np.testing.assert_allclose(some.preferences.p_chosen, [0.9, 0.75], rtol=1e-6)
        assert len(some) == 2

    def test_label_accuracy_counts_a_tie_half(self) -> None:
        pairs = from_selection(
            pools(["good", "bad"], ["bad", "good"], ["so", "so so"], ["good good", "so"]),
            chosen([0] * 4, [1] * 4, [0.9] * 4),
        )
        # Right, wrong, a tie, right: 2.5 of 4.
        assert pairs.label_accuracy(GoldJudge(CountingGold())) == 0.625


class TestJudged:
    def test_the_judge_orders_the_first_two_and_a_tie_keeps_the_first(self) -> None:
        pairs = judged(POOLS, np.array([0.3, 0.5, 0.5]))
        assert rows(pairs) == [("p0", "post 0", "bad", "good")]  # equal and blank ones are dropped
        assert pairs.p_model.tolist() == [0.7]
        tied = judged(pools(["good", "bad"]), np.array([0.5]))
        assert rows(tied)[0][2:] == ("good", "bad")

    def test_labels_are_hard_and_soft_ones_are_at_least_one_half(self) -> None:
        pairs = judged(pools(["a", "b"], ["a", "b"]), np.array([0.2, 0.9]))
        assert pairs.preferences.p_chosen == [1.0, 1.0]
        np.testing.assert_allclose(pairs.soft().preferences.p_chosen, [0.8, 0.9])


class TestContrasted:
    def test_what_the_positive_prompt_gave_is_chosen_and_nothing_is_scored(self) -> None:
        plain = pools(["x", "y"], ["x", "y"], ["x", "y"])
        pairs = contrasted(plain, pools(["bad"], ["so"], ["z"]), pools(["good"], ["so"], ["\n"]))
        assert rows(pairs) == [("p0", "post 0", "bad", "good")]

    def test_pools_of_other_prompts_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not of the same prompts"):
            contrasted(pools(["x"], ["x"]), pools(["a"], ["a"]), pools(["b"]))

    def test_side_by_side_keeps_the_plain_prompts(self) -> None:
        both = side_by_side(pools(["x", "y"]), pools(["a", "c"]), pools(["b", "d"]))
        assert (both.prompt_ids, both.prompts, both.responses) == (["p0"], ["post 0"], [["a", "b"]])


def test_draws_follow_from_seed_and_prompt_alone() -> None:
    draws = selector_draws(3, ["p0", "p1", "p2"], 4)
    assert draws.shape == (3, 4)
    assert bool(((draws >= 0) & (draws < 1)).all())
    assert selector_draws(3, ["p2", "p0"], 4).tolist() == [draws[2].tolist(), draws[0].tolist()]
    assert selector_draws(3, ["p1"], 2).tolist() == [draws[1, :2].tolist()]
    assert not torch.equal(selector_draws(4, ["p0", "p1", "p2"], 4), draws)


def test_pairs_with_a_response_that_was_cut_are_dropped() -> None:
    unfinished = np.zeros((len(POOLS.prompts), POOLS.n_candidates), dtype=np.bool_)
    pairs = chosen([0, 0, 1], [1, 2, 2], [0.9, 0.9, 0.9])
    cut = replace(POOLS, unfinished=unfinished)
    assert from_selection(cut, pairs).prompt_ids == ["p0", "p1", "p2"]
    unfinished[0, 1] = unfinished[1, 1] = unfinished[2, 1] = True
    assert from_selection(cut, pairs).prompt_ids == ["p1"]  # of candidates 0 and 2
