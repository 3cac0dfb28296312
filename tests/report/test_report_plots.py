from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import Run

from westofn.artifacts.curve import write_curve
from westofn.report.figures import build_figures, figure_png, figure_specs
from westofn.report.plots import plot_records

ARMS = ["HF50", "HF100", "base", "k1", "prior"]


def test_every_curve_becomes_flat_records_with_its_arm(run: Run) -> None:
    records = plot_records(run.inputs())
    assert {name: len(rows) for name, rows in records.items()} == {
        "label_accuracy": 6,  # N = 2 … 64
        "best_of_n": 4 * 7,  # the base is pairwise and ranks nothing
        "reliability": 5 * 5,
        "length": 5 * 5,
        "rl": 41,
        "training": 1,
    }
    assert all(isinstance(row["arm"], str) for rows in records.values() for row in rows)


def test_without_gold_labels_have_no_records_and_best_of_n_no_gold(
    make_run: Callable[..., Run],
) -> None:
    records = plot_records(make_run(gold=False).inputs())
    assert records["label_accuracy"] == []
    assert records["best_of_n"]
    assert not any("gold" in row for row in records["best_of_n"])


def test_a_bin_without_pairs_is_left_out(run: Run) -> None:
    full = {"p_mean": 0.9, "accuracy": 0.5, "pairs": 4}
    empty = {"p_mean": 0.6, "accuracy": None, "pairs": 0}
    run.json("eval/hf50/curves.json", {"reliability": [empty, full]})
    rows = [row for row in plot_records(run.inputs())["reliability"] if row["arm"] == "HF50"]
    assert [row["p_mean"] for row in rows] == [0.9]
    # Wilson at p = 1/2: half width z / (2 sqrt(n + z²)) = 1.959964 / (2 · 2.800260) = 0.349961
    assert rows[0]["low"] == pytest.approx(0.5 - 0.349961, abs=1e-5)


def test_a_length_bin_stands_in_its_middle_and_an_open_one_at_its_edge(run: Run) -> None:
    bins = [
        {"length_difference_low": low, "length_difference_high": high, "accuracy": 0.5, "pairs": 9}
        for low, high in ((None, -10.0), (-10.0, 4.0))
    ]
    run.json("eval/hf50/curves.json", {"length": bins})
    rows = [row for row in plot_records(run.inputs())["length"] if row["arm"] == "HF50"]
    assert [row["length_difference"] for row in rows] == [-10.0, -3.0]


def test_a_figure_without_data_says_why(make_run: Callable[..., Run]) -> None:
    figures = build_figures(plot_records(make_run(gold=False).inputs()), ARMS)
    absent = {figure.key: figure.why_absent for figure in figures if not figure.panels}
    assert list(absent) == ["label_accuracy"]
    assert "no gold annotator" in absent["label_accuracy"]


def test_win_rates_stand_at_the_n_that_they_were_measured_at(run: Run) -> None:
    figures = {figure.key: figure for figure in build_figures(plot_records(run.inputs()), ARMS)}
    gold, wins = figure_specs(figures["best_of_n"])
    assert gold["layer"][1]["encoding"]["x"]["axis"]["values"] == [1, 2, 4, 8, 16, 32, 64]
    # A pool of 64 can set one candidate aside and choose among 63.
    assert wins["layer"][1]["encoding"]["x"]["axis"]["values"] == [1, 2, 4, 8, 16, 32, 63]


def test_every_arm_has_one_colour_in_all_figures(run: Run) -> None:
    figures = build_figures(plot_records(run.inputs()), ARMS)
    domains = {
        json.dumps(layer["encoding"]["color"]["scale"]["domain"])
        for figure in figures
        if figure.key != "training"  # its colours are training and validation
        for spec in figure_specs(figure)
        for layer in spec["layer"]
        if "color" in layer["encoding"]
    }
    assert domains == {json.dumps(ARMS)}


def test_specs_hold_no_background_and_fill_their_container(run: Run) -> None:
    specs = [
        spec
        for figure in build_figures(plot_records(run.inputs()), ARMS)
        for spec in figure_specs(figure)
    ]
    assert len(specs) == 1 + 2 + 5 + 1 + 4 + 1
    assert all(spec["width"] == "container" and "config" not in spec for spec in specs)
    assert all(spec["description"] for spec in specs)


def test_a_figure_is_drawn_as_png_without_a_network(run: Run) -> None:
    figures = build_figures(plot_records(run.inputs()), ARMS)
    png = figure_png(figures[0])
    assert png.startswith(b"\x89PNG\r\n")
    assert int.from_bytes(png[16:20], "big") > 600  # width in pixels, at twice the scale


def test_every_model_s_training_is_a_panel_and_runs_are_lines_of_their_own(run: Run) -> None:
    steps = [("train", 1), ("train", 2), ("validation", 2)]
    network = [{"run": r, "split": s, "step": i, "loss": 0.5} for r in (1, 2) for s, i in steps]
    policy = [{"split": s, "step": i, "reward": 0.1 * i, "loss": 0.0} for s, i in steps]
    for place, points in (("reference/hf50", network), ("loop/k1/policy", policy)):
        write_curve(points, run.data / place)
    records = plot_records(run.inputs())
    rows = records["training"]
    assert [row["arm"] for row in rows] == ["SFT policy"] + ["HF50"] * 6 + ["k1 policy"] * 3
    figure = next(f for f in build_figures(records, ARMS) if f.key == "training")
    assert [panel.title for panel in figure.panels] == ["SFT policy", "HF50", "k1 policy"]
    _, first, second = (spec["layer"][0]["encoding"] for spec in figure_specs(figure))
    assert first["y"]["field"] == "loss"
    assert first["detail"] == [{"field": "run", "type": "nominal"}]
    assert second["y"]["field"] == "reward"
    assert figure_png(figure).startswith(b"\x89PNG")


def test_the_panel_of_a_linear_head_counts_penalties(run: Run) -> None:
    points = [{"power": p, "split": "validation", "step": 1, "loss": 0.6} for p in (0.0, 1.0)]
    write_curve(points, run.data / "reference/prior")
    figure = next(f for f in build_figures(plot_records(run.inputs()), ARMS) if f.key == "training")
    _, spec = figure_specs(figure)
    assert spec["layer"][0]["encoding"]["x"]["title"] == "penalties, from the largest"
