"""What is tried, and what a grid may not hold."""

from __future__ import annotations

import math

import pytest

from westofn.errors import ParameterError
from westofn.tuning.grid import KEEP_ALL, Setting, grid, parse_quantiles


def test_a_grid_is_every_combination() -> None:
    found = grid((0.0, 0.5, 0.9), (0.0, 0.1))
    assert found == [
        Setting(0.0, 0.0),
        Setting(0.0, 0.1),
        Setting(0.5, 0.0),
        Setting(0.5, 0.1),
        Setting(0.9, 0.0),
        Setting(0.9, 0.1),
    ]


@pytest.mark.parametrize("quantiles", [(0.9, 0.5), (0.0, 0.5), (0.25,)])
@pytest.mark.parametrize("likelihoods", [(0.1,), (0.0,)])
def test_keeping_all_pairs_is_always_tried_once_and_first(
    quantiles: tuple[float, ...], likelihoods: tuple[float, ...]
) -> None:
    found = grid(quantiles, likelihoods)
    assert found[0] == KEEP_ALL
    assert found.count(KEEP_ALL) == 1
    assert found == sorted(found)


def test_a_setting_names_parameters_of_params_yaml() -> None:
    assert Setting(0.5, 0.1).parameters == {
        "filter.quantile": 0.5,
        "filter.likelihood_quantile": 0.1,
    }


def test_zero_has_no_sign() -> None:
    (zero,) = parse_quantiles("-0", "--quantiles")
    assert math.copysign(1, zero) == 1


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("0,x", "--quantiles: 'x' in '0,x' is not a number"),
        ("0,0.5,", "--quantiles: '' in '0,0.5,' is not a number"),
        ("", "--quantiles: '' in '' is not a number"),
        ("0;0.5", "--quantiles: '0;0.5' in '0;0.5' is not a number"),
        ("1", "--quantiles: 1 is out of range, needs 0 ≤ quantile < 1"),
        ("0,-0.1", "--quantiles: -0.1 is out of range"),
        ("nan", "--quantiles: nan is out of range"),
        ("inf", "--quantiles: inf is out of range"),
        ("0.1,0.5,0.10", "--quantiles: 0.1 occurs twice in '0.1,0.5,0.10'"),
        ("0,-0", "--quantiles: 0 occurs twice"),
    ],
)
def test_a_bad_grid_is_told_apart(text: str, needed: str) -> None:
    with pytest.raises(ParameterError) as error:
        parse_quantiles(text, "--quantiles")
    assert str(error.value).startswith(needed)
