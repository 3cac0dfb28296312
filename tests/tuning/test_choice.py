"""The order of trials, and what is said of the winner."""

from __future__ import annotations

from itertools import permutations

import pytest

from westofn.tuning.choice import Trial, noise, ranked, reading
from westofn.tuning.grid import Setting


def trial(
    quantile: float, likelihood: float, accuracy: float, loss: float = 0.6, kept: int = 100
) -> Trial:
    return Trial(Setting(quantile, likelihood), kept, accuracy, loss)


@pytest.mark.parametrize(
    "best_first",
    [
        [trial(0.9, 0, 0.72, 0.69), trial(0.5, 0, 0.71, 0.50), trial(0, 0, 0.70, 0.40)],
        [trial(0.9, 0, 0.7, 0.58), trial(0.5, 0, 0.7, 0.59), trial(0, 0, 0.7, 0.6)],
        [trial(0.5, 0.1, 0.7, kept=30), trial(0.2, 0.3, 0.7, kept=20), trial(0, 0.9, 0.7, kept=9)],
        [trial(0, 0, 0.7), trial(0, 0.1, 0.7), trial(0.25, 0, 0.7)],
    ],
    ids=["accuracy", "then loss", "then most pairs", "then smallest quantiles"],
)
def test_trials_are_ranked_in_whatever_order_they_came(best_first: list[Trial]) -> None:
    for order in permutations(best_first):
        assert ranked(order) == best_first


def test_noise_of_a_certain_and_an_even_accuracy() -> None:
    # Only the second varies: 1.96 × sqrt(0.5 × 0.5 / 100) = 0.098.
    assert noise(1.0, 0.5, 100) == pytest.approx(0.098, abs=1e-4)
    assert noise(0.7, 0.7, 400) == pytest.approx(noise(0.7, 0.7, 100) / 2)


def test_keeping_all_pairs_may_win() -> None:
    said = reading(ranked([trial(0, 0, 0.7), trial(0.5, 0, 0.69)]), 600)
    assert said == "Keeping all pairs is best on validation: there is no evidence for a filter."


def test_a_gain_below_the_noise_is_called_that() -> None:
    # ± 1.96 × sqrt((0.72 × 0.28 + 0.7 × 0.3) / 600) = 5.1 points.
    said = reading(ranked([trial(0, 0, 0.70), trial(0.5, 0.1, 0.72)]), 600)
    assert said.startswith("quantile 0.5, likelihood quantile 0.1: +2.0 points against keeping all")
    assert "within noise (±5.1): not significantly different" in said
    assert "\n" not in said


def test_a_gain_above_the_noise_is_that_of_the_best_of_several() -> None:
    trials = [trial(0, 0, 0.6), trial(0.5, 0, 0.7), trial(0.9, 0, 0.65)]
    said = reading(ranked(trials), 1000)
    assert "+10.0 points" in said
    assert "outside the noise of one comparison (±4.2)" in said
    assert "the best of 3 settings is biased upwards" in said


def test_the_edge_of_the_noise_belongs_to_it() -> None:
    gain = 0.1
    pairs = round(1.959964**2 * (0.5 * 0.5 + 0.6 * 0.4) / gain**2)
    assert noise(0.6, 0.5, pairs) == pytest.approx(gain, abs=1e-3)
    for count, verdict in ((pairs - 3, "within"), (pairs + 3, "outside")):
        assert f", {verdict} " in reading(ranked([trial(0, 0, 0.5), trial(0.5, 0, 0.6)]), count)


def test_a_better_loss_alone_is_within_noise() -> None:
    said = reading(ranked([trial(0, 0, 0.7, 0.60), trial(0.5, 0, 0.7, 0.59)]), 10**6)
    assert "0.0 points against keeping all pairs, within noise" in said
