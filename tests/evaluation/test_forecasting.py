"""`python -m westofn forecast`: from files to κ, gains and advice no surer than its intervals."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.small_models import tiny_backbone, tiny_policy
from tests.training.planted import FILLERS, planted_pairs
from westofn import __main__ as command
from westofn.artifacts.pools import Pools
from westofn.core.forecast import Forecast, Gain
from westofn.core.forecast_terms import CALIBRATION, METRICS, PRIOR, TWICE, Option
from westofn.core.kappa import Kappa
from westofn.errors import DataError
from westofn.evaluation import forecast_files, forecasting
from westofn.evaluation.forecasting import ForecastTexts, Reader, make_forecast
from westofn.models.features import FeatureReader
from westofn.models.policy import save_policy
from westofn.text.encoding import Encoder

WEST = Option(64, 1).name
KAPPA = Kappa(8.0, 4.0, 2.0, (6.0, 10.0), (3.0, 5.0), (1.5, 2.5), 0.5)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    pairs = planted_pairs(90, seed=1)
    rows = [
        {"prompt": f"{prompt} {number}", "chosen": chosen, "rejected": rejected}
        for number, (prompt, chosen, rejected) in enumerate(
            zip(pairs.prompts, pairs.chosen, pairs.rejected, strict=True)
        )
    ]
    preferences, responses = tmp_path / "pairs.jsonl", tmp_path / "samples.jsonl"
    preferences.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pools = [
        {"prompt": f"the {a} {b}", "responses": [f"good {a}", f"bad {b}", f"{a} {b}"]}
        for a in FILLERS[:5]
        for b in FILLERS[5:10]
    ]
    responses.write_text("".join(json.dumps(row) + "\n" for row in pools), encoding="utf-8")
    return preferences, responses


@pytest.fixture
def policy(small_encoder: Encoder, tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    save_policy(tiny_policy(small_encoder, seed=4), folder, [("the cat", "so")], {})
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setenv("WESTOFN_DEVICE", "cpu")
    monkeypatch.setattr(sys, "argv", ["westofn", "forecast", *map(str, arguments)])
    try:
        command.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def forecast_of(west: Gain, twice: Gain, kappa: Kappa | None = KAPPA) -> Forecast:
    gains = {WEST: west, PRIOR: Gain(0.0, -1.0, 1.0), TWICE: twice}
    return Forecast(
        kappa,
        {0.0: 0.5, 1.0: 0.5},
        dict.fromkeys(METRICS, Gain(60.0, 59.0, 61.0)),
        {arm: dict.fromkeys(METRICS, gain) for arm, gain in gains.items()},
    )


def test_pairs_too_few_to_halve_are_one_line(small_encoder: Encoder) -> None:
    pairs, samples = planted_pairs(2, seed=1), Pools(["p"], ["sun"], [["good", "bad"]])
    texts = ForecastTexts(pairs.take([0]), pairs.take([1]), samples, {})
    features = FeatureReader(tiny_backbone(small_encoder), small_encoder, "mean")
    with pytest.raises(DataError, match="forecast: 2 human pairs within the limit of tokens"):
        make_forecast(texts, Reader(features, small_encoder), seed=0)


def test_files_to_json(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: tuple[Path, Path],
    policy: Path,
) -> None:
    arguments = ("--preferences", files[0], "--responses", files[1], "--model", policy, "--json")
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    record = json.loads(printed)
    assert record["gains"].keys() >= {WEST, PRIOR, TWICE}
    # A third of the 90 prompts is held out.
    assert (record["counts"]["labeled_pairs"], record["counts"]["validation_pairs"]) == (60, 30)
    assert record["counts"]["prompts_with_samples"] == 25
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("west", "twice", "kappa", "begins"),
    [
        (Gain(2.0, 0.5, 3.0), Gain(1.0, -1.0, 3.0), KAPPA, "Use West-of-N, N = 64"),
        (Gain(2.0, -0.5, 3.0), Gain(1.0, -1.0, 3.0), KAPPA, "Not certain: West-of-N, N = 64"),
        (Gain(-1.0, -2.0, -0.1), Gain(-2.0, -3.0, 1.0), KAPPA, "Label more instead"),
        (Gain(-1.0, -2.0, 0.5), Gain(2.0, 1.0, 3.0), KAPPA, "Label more instead"),
        (Gain(2.0, 0.5, 3.0), Gain(1.0, -1.0, 3.0), None, "The labels are too few or too noisy"),
    ],
)
def test_advice_is_no_surer_than_the_interval(
    west: Gain, twice: Gain, kappa: Kappa | None, begins: str
) -> None:
    assert forecasting.advice(forecast_of(west, twice, kappa), 300).startswith(begins)


def test_gains_are_scaled_and_widened_by_what_the_map_showed() -> None:
    gains = forecasting.calibrated(forecast_of(Gain(2.0, 0.0, 4.0), Gain(2.0, 0.0, 4.0))).gains
    west, twice = gains[WEST]["accuracy"], gains[TWICE]["accuracy"]
    once, doubled = CALIBRATION["accuracy"]
    assert west.mean == pytest.approx(2 * once.slope)
    assert west.high - west.mean == pytest.approx(
        math.hypot(2 * once.slope, 1.96 * once.spread), abs=1e-3
    )
    assert twice.mean == pytest.approx(2 * doubled.slope)
    assert twice.mean - twice.low == pytest.approx(
        math.hypot(2 * doubled.slope, 1.96 * doubled.spread), abs=1e-3
    )
    assert gains[WEST].keys() == {"accuracy", "on_policy_accuracy"}


def test_few_prompts_with_samples_are_said() -> None:
    gain = Gain(2.0, 0.5, 3.0)
    assert "Only 17 prompts have samples" in forecasting.advice(forecast_of(gain, gain), 17)
    assert "Only" not in forecasting.advice(forecast_of(gain, gain), 50)


@pytest.mark.parametrize("kappa", [KAPPA, None])
def test_the_table_fits_80_columns(kappa: Kappa | None) -> None:
    gain = Gain(-12.25, -13.75, -11.5)
    record = forecasting.forecast_record(
        forecast_of(gain, gain, kappa), {"prompts_with_samples": 300}
    )
    out = io.StringIO()
    forecasting.print_forecast(record, Console(file=out, width=80))
    printed = out.getvalue()
    assert max(map(len, printed.splitlines())) <= 80
    assert "-12.25" in printed
    assert "[-13.75, -11.50]" in printed
    assert "West-of-N, N = 64, one" in printed


def test_both_files_or_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], files: tuple[Path, Path]
) -> None:
    assert run(monkeypatch, "--preferences", files[0]) == 2
    assert "--preferences and --responses go together" in capsys.readouterr().err


def test_too_few_pairs_and_samples_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(files[0].read_text("utf-8").splitlines(keepends=True)[:4]), "utf-8")
    with pytest.raises(DataError, match="has 4 pairs of 4 prompts, needs at least 4 pairs beside"):
        forecast_files.texts_of_files(few, files[1], seed=0)
    lonely = tmp_path / "lonely.jsonl"
    lonely.write_text('{"prompt": "the cat", "responses": ["good"]}\n', "utf-8")
    with pytest.raises(DataError, match="needs rows with a prompt and at least two responses"):
        forecast_files.texts_of_files(files[0], lonely, seed=0)
