"""The files of the presets: valid, commented, the paper's where it reports a value."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from dvc.fs import localfs
from dvc.utils.serialize import modify_yaml

from tests.repo.pipelines import ROOT
from westofn.errors import ParameterError
from westofn.params.whole import load_params
from westofn.presets.catalogue import (
    PRESETS,
    WORLD,
    lines_of,
    overlaid,
    preset_named,
    text_of,
)

NAMES = [preset.name for preset in PRESETS]
OVERLAYS = [name for name in NAMES if name != "world"]
# docs/method.md has the paper's settings; what it does not report is not here.
PAPER: dict[str, Any] = {
    "prepare.source": "tldr",
    "prepare.sft": "file",
    "prepare.unlabeled": "half",
    "prepare.files.max_test_prompts": 1000,
    "sft.model": "google/flan-t5-xxl",
    "lora.rank": 0,
    "sft.steps": 4000,
    "sft.batch_size": 32,
    "sft.learning_rate": 1e-5,
    "sft.max_prompt_tokens": 1024,
    "sft.max_response_tokens": 128,
    "base_rm.comparator": "joint",
    "base_rm.members": 1,
    "sample.n_candidates": 64,
    "sample.temperature": 0.7,
    "won_select.method": "tournament",
    "won_select.selector": "west",
    "student_rm.synthetic_fraction": 0.5,
    "reward.steps": 20_000,
    "reward.batch_size": 8,
    "reward.runs": 1,
    "reward.average_decay": 0.0,
    "reward.centering": 0.0,
    "rlhf.algorithm": "ppo",
    "rlhf.steps": 10_000,
    "rlhf.batch_size": 8,
    "rlhf.learning_rate": 1e-4,
    "rlhf.kl_weight": 0.05,
    "rlhf.temperature": 0.7,
    "rlhf.value_warmup_steps": 2000,
}
NOT_REPORTED = ("reward.learning_rate", "reward.dropout", "reward.readout")


def overlay(name: str) -> str:
    return (files("westofn.presets") / f"{name}.yaml").read_text("utf-8")


def test_world_is_the_committed_file_byte_for_byte() -> None:
    found = text_of(WORLD)
    assert found.encode() == (ROOT / "params.yaml").read_bytes(), "run `make presets`"


def test_every_file_is_a_preset() -> None:
    there = {path.stem for path in (ROOT / "westofn/presets").glob("*.yaml")}
    assert there == set(NAMES)
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_valid_and_dvc_keeps_its_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text_of(preset_named(name)), "utf-8")
    load_params(path)
    with modify_yaml(str(path), fs=localfs) as document:  # what `dvc exp run -S` does
        assert document["seed"] == 0
    assert path.read_text("utf-8") == text_of(preset_named(name))


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_preset_has_its_overlays_values_and_else_the_defaults(name: str) -> None:
    default, found = lines_of(text_of(WORLD)), lines_of(text_of(preset_named(name)))
    own = lines_of(overlay(name))
    assert found.keys() == {*default, *own}
    assert len(own) > 20
    for key, line in found.items():
        wanted = own[key] if key in own else default[key]
        assert (line.value, line.comment) == (wanted.value, wanted.comment), key
    assert text_of(preset_named(name)).startswith(f"# Preset {name}: ")


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_value_says_why(name: str) -> None:
    for key, line in lines_of(overlay(name)).items():
        assert line.comment, f"{name}: {key} has no comment"


def test_the_figures_are_the_papers() -> None:
    lines = lines_of(text_of(preset_named("tldr-t5-xxl")))
    assert {key: lines[key].value for key in PAPER} == PAPER
    # warmed up over 2,000 steps
    assert lines["rlhf.warmup_fraction"].value * lines["rlhf.steps"].value == 2000


def test_what_the_paper_does_not_report_is_marked() -> None:
    lines = lines_of(text_of(preset_named("tldr-t5-xxl")))
    for key in NOT_REPORTED:
        assert lines[key].comment.startswith("paper: not reported; ours"), key
    for key in ("filter.quantile", "filter.likelihood_quantile"):
        assert lines[key].value == 0.0
    assert "not reported" in lines["filter.quantile"].comment


def test_files_small_trains_adapters_alone() -> None:
    lines = lines_of(text_of(preset_named("files-small")))
    assert lines["lora.rank"].value > 0
    assert not [key for key in lines if key.endswith(".lora.rank")]
    assert (lines["sft.precision"].value, lines["sft.chat_template"].value) == ("bf16", "model")


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(ParameterError) as caught:
        preset_named("hh-helpfull")
    assert str(caught.value) == (
        "NAME: there is no preset 'hh-helpfull' (did you mean hh-helpful?), needs one of "
        + ", ".join(NAMES)
    )


def test_an_overlay_of_a_section_that_is_not_there_is_a_bug() -> None:
    with pytest.raises(KeyError, match="c"):
        overlaid("a:\n  b: 1\n", "c:\n  b: 2\n")


def test_what_a_section_gives_itself_ends_the_section() -> None:
    default = "a:\n  b: 1\n\nc:\n  d: 2\n"
    overlay = "a:\n  lora:\n    rank: 8  # few\n    alpha: 9\nc:\n  d: 3\n"
    assert overlaid(default, overlay) == (
        "a:\n  b: 1\n  lora:\n    rank: 8  # few\n    alpha: 9\n\nc:\n  d: 3\n"
    )


def test_the_page_has_every_preset() -> None:
    page = (ROOT / "docs/presets.md").read_text("utf-8")
    table = [line for line in page.split("## Data")[0].splitlines() if line.startswith("| ")]
    for preset in PRESETS:
        (row,) = [line for line in table if f"`{preset.name}`" in line.partition(" | ")[0]]
        assert preset.hardware in row
        model = lines_of(text_of(preset))["sft.model"].value
        assert model == "scratch" or f"`{model}`" in row
        where = lines_of(text_of(preset))["prepare.path"].value
        assert preset == WORLD or where.startswith("raw/")
