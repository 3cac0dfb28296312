"""What parts do to pairs and numbers on their own."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from westofn.errors import ParameterError
from westofn.runtime import Runtime
from westofn.study.inputs import StudyInputs
from westofn.study.lab import Lab
from westofn.study.parts.data import flipped
from westofn.study.parts.size import _wide_policy
from westofn.study.parts.teachers import equal_bins
from westofn.training.pairs import Preferences

COUNT = 2000
PAIRS = Preferences(
    [f"post {i}" for i in range(COUNT)],
    [f"good {i}" for i in range(COUNT)],
    [f"bad {i}" for i in range(COUNT)],
    [1.0] * COUNT,
)


def turned(rate: float, seed: int = 0) -> set[int]:
    found = flipped(PAIRS, rate, seed)
    return {i for i, text in enumerate(found.chosen) if text.startswith("bad")}


class TestFlipped:
    def test_a_rate_of_none_changes_nothing(self) -> None:
        assert flipped(PAIRS, 0.0, 3) == PAIRS

    def test_both_sides_change_places_and_nothing_else_changes(self) -> None:
        found = flipped(PAIRS, 0.2, 0)
        for i, (a, b) in enumerate(zip(found.chosen, found.rejected, strict=True)):
            assert {a, b} == {f"good {i}", f"bad {i}"}
        assert found.prompts == PAIRS.prompts
        assert found.p_chosen == PAIRS.p_chosen

    @pytest.mark.parametrize("rate", [0.1, 0.2, 0.5])
    def test_the_share_is_the_rate(self, rate: float) -> None:
        # Within four standard deviations of a binomial share.
        assert abs(len(turned(rate)) / COUNT - rate) < 4 * (rate * (1 - rate) / COUNT) ** 0.5

    def test_more_noise_keeps_the_flips_of_less(self) -> None:
        assert turned(0.1) < turned(0.2) < turned(0.5)

    def test_flips_follow_from_the_seed(self) -> None:
        assert turned(0.2, 1) == turned(0.2, 1)
        assert turned(0.2, 1) != turned(0.2, 2)

    def test_a_rate_of_one_half_tells_nothing_about_the_order(self) -> None:
        one, other = turned(0.5, 1), turned(0.5, 2)
        # Two coins agree as often as not.
        assert abs(len(one ^ other) / COUNT - 0.5) < 4 * (0.25 / COUNT) ** 0.5


class TestEqualBins:
    def test_every_row_is_in_one_bin_and_bins_are_in_order(self) -> None:
        values = np.random.default_rng(0).random(103)
        bins = equal_bins(values, 10)
        assert sorted(np.concatenate(bins).tolist()) == list(range(103))
        assert {len(rows) for rows in bins} == {10, 11}
        edges = [(values[rows].min(), values[rows].max()) for rows in bins]
        assert all(low < high for (_, low), (high, _) in pairwise(edges))

    def test_equal_values_leave_no_bin_empty(self) -> None:
        assert [len(rows) for rows in equal_bins(np.zeros(20), 10)] == [2] * 10

    def test_fewer_rows_than_bins_are_a_bin_each(self) -> None:
        assert [rows.tolist() for rows in equal_bins(np.array([2.0, 1.0]), 10)] == [[1], [0]]


@pytest.mark.parametrize(
    ("section", "changes", "needed"),
    [
        ("reward_start", {"model": "bert"}, "reward_start.model is 'bert'; leave stage study_size"),
        ("sft", {"model": "t5"}, "sft.model is 't5'; leave stage study_size out"),
    ],
)
def test_students_of_a_wider_policy_need_one(
    section: str, changes: dict[str, str], needed: str, inputs: StudyInputs, tmp_path: Path
) -> None:
    params = inputs.params
    changed = getattr(params, section).model_copy(update=changes)
    other = replace(inputs, params=params.model_copy(update={section: changed}))
    with pytest.raises(ParameterError, match=needed):
        _wide_policy(Lab(other, tmp_path, Runtime(device="cpu")))
