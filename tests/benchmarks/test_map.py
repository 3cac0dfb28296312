"""The map of worlds: arms of a cell, what records say together, page and figures."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.map.features import PairFeatures, PoolFeatures, draw_labels
from benchmarks.map.figures import write_figures
from benchmarks.map.linear import differences_to, label_accuracy, linear_arms, measure_pool
from benchmarks.map.page import map_page, outcomes
from benchmarks.map.run import write_map
from benchmarks.map.settings import (
    ALIGNMENTS,
    LABELS,
    NETWORK_PLACES,
    OFF_POLICYNESSES,
    SIZES_AT,
    Place,
)
from benchmarks.map.summary import cells, gain_of, over_cells, ratio
from westofn.core.seeds import derive_seed

WIDTH = 6
GAIN = {
    "accuracy": 1.0,
    "on_policy_accuracy": 2.0,
    "best_of_n_gold": 0.1,
    "best_of_n_win_rate": 3.0,
}
ARMS = ("hf100", "west", "west16", "n2", "best_random", "prior1", "prior")
SIZES = ("n4", "n8", "n16", "n32")
PLACES = [Place(*knobs) for knobs in product(ALIGNMENTS, OFF_POLICYNESSES, LABELS)]


def gains(scale: float, arms: tuple[str, ...]) -> dict[str, Any]:
    return {arm: {key: scale * value for key, value in GAIN.items()} for arm in arms}


def record(kind: str, place: Any, seed: int) -> dict[str, Any]:
    """Gains rise with alignment and off-policyness and fall with the labels."""
    scale = (place.alignment * (0.2 + place.off_policyness) + 0.01 * seed) * 100 / place.labels
    interval = {"mean": 2 * scale, "low": scale, "high": 3 * scale}
    foreseen = {
        arm: {"accuracy": interval, "on_policy_accuracy": interval}
        for arm in ("west N=64 k=1", "prior", "twice the labels")
    }
    kappa = {"policy": 2.0 + place.alignment, "human": 2.0, "ratio": 1.0 + place.alignment / 2}
    shared = {
        "kind": kind,
        "alignment": place.alignment,
        "off_policyness": place.off_policyness,
        "labels": place.labels,
        "seed": seed,
        "hf50": dict.fromkeys(GAIN, 60.0),
        "gains": gains(scale, (*ARMS, *SIZES)),
    }
    if kind == "networks":
        return shared
    return shared | {
        "first_draw": gains(scale, ARMS),
        "forecast": {"kappa": kappa, "gains": foreseen},
    }


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    linear = [record("linear", place, seed) for place, seed in product(PLACES, (9, 10, 11))]
    return linear + [record("networks", p, seed) for p, seed in product(NETWORK_PLACES, (9, 10))]


def test_a_cells_mean_is_over_its_seeds(records: list[dict[str, Any]]) -> None:
    linear = cells(records, "linear")
    assert [cell.place for cell in linear] == sorted(PLACES)
    cell = next(cell for cell in linear if cell.place == SIZES_AT)
    # 0.9 · 1.2 + 0.01 · 10, times 2 points.
    assert cell.gain("west", "on_policy_accuracy").mean == pytest.approx(2 * (1.08 + 0.10))
    assert cell.kappa("ratio") == pytest.approx(1.45)


def test_rank_correlation_over_cells_has_an_interval_over_seeds(
    records: list[dict[str, Any]],
) -> None:
    linear = cells(records, "linear")
    found = over_cells(linear, gain_of("prior1", "accuracy"), gain_of("west", "on_policy_accuracy"))
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    by_ratio = over_cells(linear, ratio, gain_of("west", "on_policy_accuracy"))
    assert 0 < by_ratio.value < 1


def test_predictions_are_checked_against_the_records(records: list[dict[str, Any]]) -> None:
    found = outcomes(cells(records, "linear"), cells(records, "networks"))
    assert len(found) == 10
    held = [outcome.held for outcome in found]
    assert held[4]  # the gain falls with the labels
    assert held[5]
    assert held[9]
    assert not held[7]  # here sixteen pairs are no better than one


def test_page_and_figures_are_written(records: list[dict[str, Any]], tmp_path: Path) -> None:
    page = map_page(records)
    assert page.count("\n| 0.9, 1, 100 |") == 4  # the places, and three arms of networks
    assert "**failed**" in page
    assert "| held |" in page
    write_figures(records, tmp_path)
    for name in ("map", "map-n", "map-prior", "map-forecast"):
        assert f"figures/{name}.svg" in page
        assert (tmp_path / f"{name}.svg").read_text("utf-8").startswith("<svg")


def test_records_are_written_a_line_each_and_read_back(
    records: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "map.json"
    write_map(records, path)
    text = path.read_text("utf-8")
    assert text.count("\n") == len(records) + 4  # and those of the object and its list
    read = json.loads(text)["records"]
    assert [row["seed"] for row in read] == [row["seed"] for row in records]
    first = records[0]["gains"]["west"]["accuracy"]
    assert read[0]["gains"]["west"]["accuracy"] == pytest.approx(first, abs=1e-5)


def test_arms_of_a_planted_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([2.0, 1.0, 0, 0, 0, 0], dtype=torch.float64)
    spread = torch.tensor([2.0, 1.0, 0.1, 0.1, 0.1, 0.1], dtype=torch.float64)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, WIDTH, generator=generator, dtype=torch.float64)

    def labelled(count: int) -> torch.Tensor:
        x = normal(count)
        return torch.where((x @ truth)[:, None] > 0, x, -x)

    def pool(prompts: int) -> PoolFeatures:
        features = normal(prompts, 64) * spread
        return PoolFeatures(features, (features @ truth).numpy())

    pairs = PairFeatures(labelled(40), labelled(60), labelled(500), torch.ones(WIDTH))
    arms = linear_arms(pairs.train, pairs, pool(20), pool(30), sizes=True, seed=0)
    assert arms.keys() == {"hf50", *ARMS, *SIZES}
    assert arms["west"]["label_accuracy"] > 95
    for name, metrics in arms.items():
        assert metrics["accuracy"] > 75, name
        assert metrics["on_policy_accuracy"] > 85, name
    assert differences_to("hf50", arms)["west"]["accuracy"] == pytest.approx(
        arms["west"]["accuracy"] - arms["hf50"]["accuracy"]
    )


def test_measures_of_a_pool_by_hand() -> None:
    gold = np.array([[0.0, 1.0, 2.0, 3.0]])
    measured = measure_pool(np.array([[0.0, 1.0, 2.0, 3.0]]), gold)
    assert (measured["on_policy_accuracy"], measured["best_of_n_gold"]) == (100.0, 3.0)
    assert measure_pool(-gold, gold)["best_of_n_gold"] == 0.0
    assert label_accuracy(torch.tensor([[0.0, 5.0, 1.0, 2.0]]), gold) == 100.0
    assert label_accuracy(torch.tensor([[5.0, 0.0, 1.0, 2.0]]), gold) == 0.0


def test_draws_of_labels_are_nested_and_follow_their_seed() -> None:
    pairs = torch.arange(20.0)[:, None]
    seed = derive_seed(9, "labels", 0)
    assert draw_labels(pairs, 4, seed).tolist() == draw_labels(pairs, 8, seed)[:4].tolist()
    assert draw_labels(pairs, 8, seed).tolist() != draw_labels(pairs, 8, seed + 1).tolist()
