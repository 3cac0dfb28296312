"""The simulated judge errs as stated, and its verdict is a function of the pair alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.judging.protocol import FloatArray, judge_pairs, position_flip_rate
from westofn.judging.simulated import SimulatedJudge

GOLD = {"good": 2.0, "fair enough": 1.0, "bad": -1.0}


def rewards(prompt_ids: Sequence[str], responses: Sequence[str]) -> FloatArray:
    return np.array([GOLD.get(text, 0.0) for text in responses])


def judge(**changes: Any) -> SimulatedJudge:
    settings: dict[str, Any] = {
        "temperature": 2.0,
        "noise": 0.0,
        "position_bias": 0.0,
        "length_bias": 0.0,
        "seed": 0,
    }
    return SimulatedJudge(rewards, **(settings | changes))


def p(judge: SimulatedJudge, first: str, second: str, prompt_id: str = "p1") -> float:
    return float(judge.p_first([prompt_id], ["x"], [first], [second])[0])


def margin(judge: SimulatedJudge, first: str, second: str, prompt_id: str = "p1") -> float:
    value = p(judge, first, second, prompt_id)
    return judge.temperature * math.log(value / (1 - value))


def test_without_faults_it_is_the_gold_annotator() -> None:
    assert p(judge(), "good", "bad") == pytest.approx(1 / (1 + math.exp(-3.0 / 2.0)))


def test_faults_add_up_in_units_of_reward() -> None:
    # 1 − 2 + 0.5 (shown first) + 0.25 · (2 − 1 words) = −0.25
    faulty = judge(position_bias=0.5, length_bias=0.25)
    assert margin(faulty, "fair enough", "good") == pytest.approx(-0.25)
    # In the other order: 2 − 1 + 0.5 − 0.25 = 1.25
    assert margin(faulty, "good", "fair enough") == pytest.approx(1.25)


def test_the_noise_turns_its_sign_with_the_order() -> None:
    noisy = judge(noise=1.5)
    assert margin(noisy, "good", "bad") != pytest.approx(3.0)
    assert p(noisy, "good", "bad") + p(noisy, "bad", "good") == pytest.approx(1.0, abs=1e-12)
    assert p(noisy, "bad", "bad") == 0.5


def test_the_noise_has_the_stated_spread_and_no_mean() -> None:
    noisy = judge(noise=1.5)
    ids = [f"p{row}" for row in range(4000)]
    said = noisy.p_first(ids, ["x"] * 4000, ["good"] * 4000, ["bad"] * 4000)
    errors = 2.0 * np.log(said / (1 - said)) - 3.0
    assert abs(errors.mean()) < 4 * 1.5 / math.sqrt(4000)
    assert errors.std() == pytest.approx(1.5, rel=4 / math.sqrt(8000))


def test_the_noise_depends_on_seed_prompt_and_texts() -> None:
    noisy = judge(noise=1.5)
    values = {
        margin(noisy, "u", "v"),
        margin(judge(noise=1.5, seed=1), "u", "v"),
        margin(noisy, "u", "v", prompt_id="p2"),
        margin(noisy, "u", "w"),
    }
    assert len(values) == 4
    assert margin(noisy, "u", "v") == margin(judge(noise=1.5), "u", "v")


@given(st.lists(st.tuples(st.sampled_from("pq"), st.text(max_size=4), st.text(max_size=4))))
def test_a_verdict_does_not_depend_on_its_neighbours(rows: list[tuple[str, str, str]]) -> None:
    faulty = judge(noise=1.0, position_bias=0.3, length_bias=0.1)
    ids, first, second = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 3
    whole = faulty.p_first(ids, ids, first, second)
    assert whole.tolist() == [p(faulty, b, c, prompt_id=a) for a, b, c in rows]


def test_the_position_bias_cancels_and_shows_as_flips() -> None:
    biased = judge(position_bias=5.0)
    verdicts = judge_pairs(biased, ["p"] * 2, ["x"] * 2, ["good", "bad"], ["bad", "good"])
    assert position_flip_rate(verdicts.p_forward, verdicts.p_backward) == 1.0
    assert [p > 0.5 for p in (verdicts.p_forward + verdicts.p_backward) / 2] == [True, False]


def test_a_large_margin_does_not_overflow() -> None:
    assert p(judge(position_bias=1e9), "bad", "good") == 1.0


def test_its_name_is_simulated() -> None:
    assert judge().name == "simulated"


@pytest.mark.parametrize("changes", [{"temperature": 0.0}, {"noise": -1.0}])
def test_impossible_constants_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs > 0 and ≥ 0"):
        judge(**changes)
