from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import pytest

from westofn.errors import DataError
from westofn.execution.guards import (
    GUARDS,
    Reading,
    alarms,
    checked,
    leakage_readings,
    readings_of_record,
    readings_record,
    reward_model_readings,
    rl_readings,
    sample_readings,
    tell_readings,
)

PARTS = {"train": 50, "D_U": 40, "validation": 20, "test": 200, "autorater": 30}
SOUND_MODEL = {
    "accuracy_low": 0.58,
    "margin_spread": 0.5,
    "accuracy_over_length_low": 0.02,
    "length_rank_correlation": -0.3,
}
SOUND_SAMPLES = {
    "prompts": 40,
    "candidates": 160,
    "candidates_cut": 8,
    "repeated_ngrams": 0.01,
    "identical_samples": 0.1,
    "pools_of_one_response": 2,
}
SOUND_RL = {"rl_cut": 0.1, "rl_repeated_ngrams": 0.01, "rl_identical_samples": 0.25, "rl_kl": 3.0}


def shared(**changed: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """leakage.json, without shared prompts unless told otherwise."""
    none = {f"{first} and {second}": 0 for first, second in combinations(PARTS, 2)}
    kinds = ("same_text", "respelt", "near_duplicates")
    return {"prompts": PARTS} | {kind: none | dict(changed.get(kind, {})) for kind in kinds}


def leaks(changed: Mapping[str, Any]) -> list[Reading]:
    return leakage_readings(shared(**changed))


def model(changed: Mapping[str, Any]) -> list[Reading]:
    return reward_model_readings("k1", SOUND_MODEL | changed)


def teacher(changed: Mapping[str, Any]) -> list[Reading]:
    return reward_model_readings("base", SOUND_MODEL | changed)


def samples(changed: Mapping[str, Any]) -> list[Reading]:
    return sample_readings("sample k1", SOUND_SAMPLES | changed)


def rl(changed: Mapping[str, Any]) -> list[Reading]:
    return rl_readings("rlhf k1", SOUND_RL | changed)


def student(changed: Mapping[str, Any]) -> list[Reading]:
    return [Reading("agreement", "k1", changed.get("agreement", 0.6))]


Maker = Callable[[Mapping[str, Any]], list[Reading]]
FAULTS: list[tuple[str, Maker, Mapping[str, Any], str]] = [
    ("leakage", leaks, {"same_text": {"train and test": 1}}, "train and test 1, needs at most 0"),
    ("leakage", leaks, {"respelt": {"D_U and validation": 3}}, "D_U and validation 3, needs"),
    # 3 of 200 test prompts
    ("near_leakage", leaks, {"near_duplicates": {"D_U and test": 3}}, "D_U and test 1.5 %, needs"),
    ("taught", leaks, {"near_duplicates": {"train and D_U": 5}}, "D_U 12.5 %, needs at most 10.0"),
    ("judge", leaks, {"respelt": {"train and autorater": 2}}, "autorater 2, needs at most 0"),
    ("chance", model, {"accuracy_low": 0.5}, "k1 50.0 %, needs above 50.0 %"),
    ("teacher", teacher, {"accuracy_low": 0.48}, "base 48.0 %, needs above 50.0 %"),
    ("spread", model, {"margin_spread": 0.0}, "k1 0, needs at least 0.01"),
    ("over_length", model, {"accuracy_over_length_low": -0.01}, "k1 −1.0 points, needs above 0.0"),
    ("length_rank", model, {"length_rank_correlation": -0.97}, "k1 0.97, needs at most 0.9"),
    ("length_rank", model, {"length_rank_correlation": 0.95}, "k1 0.95, needs at most 0.9"),
    ("cut", samples, {"candidates_cut": 120}, "sample k1 75.0 %, needs at most 50.0 %"),
    ("cut", rl, {"rl_cut": 0.8}, "rlhf k1 80.0 %, needs at most 50.0 %"),
    ("repeated", samples, {"repeated_ngrams": 0.4}, "sample k1 40.0 %, needs at most 20.0 %"),
    ("repeated", rl, {"rl_repeated_ngrams": 0.9}, "rlhf k1 90.0 %, needs at most 20.0 %"),
    ("identical", samples, {"identical_samples": 0.6}, "sample k1 60.0 %, needs at most 50.0 %"),
    ("identical", rl, {"rl_identical_samples": 1.0}, "rlhf k1 100.0 %, needs at most 50.0 %"),
    ("one_response", samples, {"pools_of_one_response": 6}, "sample k1 15.0 %, needs at most 10.0"),
    ("agreement", student, {"agreement": 0.55}, "k1 55.0 %, needs at least 60.0 %"),
]


def test_every_guard_has_an_input_that_trips_it() -> None:
    assert {guard for guard, *_ in FAULTS} == set(GUARDS)


@pytest.mark.parametrize(("guard", "make", "fault", "figure"), FAULTS)
def test_a_fault_trips_its_guard_which_names_figure_limit_and_mend(
    guard: str, make: Maker, fault: Mapping[str, Any], figure: str
) -> None:
    warnings = alarms(make(fault))
    (warning,) = [text for text in warnings if text.startswith(f"{GUARDS[guard].what}: ")]
    assert figure in warning
    assert warning.endswith(f". {GUARDS[guard].meaning}")
    assert "; " in GUARDS[guard].meaning  # what it means; what to do


@pytest.mark.parametrize("make", [leaks, model, teacher, samples, rl, student])
def test_sound_numbers_trip_no_guard_and_are_told_with_their_limits(make: Maker) -> None:
    readings = make({})
    assert alarms(readings) == []
    assert len(checked(readings)) == len(readings) > 0
    assert all(GUARDS[reading.guard].bound in " ".join(checked(readings)) for reading in readings)


def test_a_prompt_that_the_judge_shares_is_leakage_too() -> None:
    tripped = {r.guard for r in leaks({"same_text": {"D_U and autorater": 1}}) if not r.holds}
    assert tripped == {"leakage", "judge"}


def test_without_an_autorater_no_judge_is_read() -> None:
    counts = shared()
    counts["prompts"] = PARTS | {"autorater": 0}
    assert "judge" not in {reading.guard for reading in leakage_readings(counts)}


def test_a_model_without_a_rank_correlation_has_no_reading_of_it() -> None:
    measured = {key: value for key, value in SOUND_MODEL.items() if "rank" not in key}
    guards = [reading.guard for reading in reward_model_readings("hf50", measured)]
    assert guards == ["chance", "spread", "over_length"]


def test_a_stage_tells_what_holds_on_stdout_and_what_does_not_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell_readings(model({"margin_spread": 0.001}))
    told = capsys.readouterr()
    assert "checked: chance k1 58.0 % (above 50.0 %); over_length" in told.out
    assert "spread" not in told.out
    assert "WARNING: spread of the margins" in told.err
    assert "accuracy" not in told.err
    assert max(map(len, (told.out + told.err).splitlines())) <= 80


def test_the_record_of_readings_holds_their_limits_and_reads_back() -> None:
    readings = [*leaks({}), *model({"accuracy_low": 0.4}), *samples({}), *rl({})]
    record = readings_record(readings)
    assert record["chance"] == {"limit": 0.5, "k1": 0.4}
    assert sorted(map(str, readings_of_record(record))) == sorted(map(str, readings))
    assert alarms(readings_of_record(record)) == alarms(readings)


@pytest.mark.parametrize("record", [{"karma": {"limit": 1, "k1": 2}}, {"chance": 0.5}])
def test_readings_of_another_form_are_refused(record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"checks holds '\w+': .+ needs guards such as leakage"):
        readings_of_record(record)
