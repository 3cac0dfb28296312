"""A wrong value in params.yaml or runtime.toml: one line in the first stage, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stages.pipeline import Tiny


@pytest.fixture
def fresh(tmp_path: Path) -> Tiny:
    """A root where nothing ran."""
    return Tiny.make(tmp_path / "root")


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown": ({"filter": {"qantile": 0.1}}, ("filter.qantile", "did you mean quantile?")),
    "unknown section": ({"sfft": 1}, ("sfft is not a parameter", "did you mean sft?")),
    "nothing like it": (
        {"sample": {"zzz": 1}},
        ("sample.zzz", "known keys: engine, path, model, api, n_candidates"),
    ),
    "too large": ({"filter": {"quantile": 1.5}}, ("filter.quantile is 1.5, needs", "less than 1")),
    "too small": ({"sample": {"n_candidates": 1}}, ("sample.n_candidates is 1", "equal to 2")),
    "negative": ({"seed": -1}, ("seed is -1", "greater than or equal to 0")),
    "text": ({"sft": {"steps": "many"}}, ("sft.steps is 'many'", "valid integer")),
    "fraction": ({"sft": {"steps": 1.5}}, ("sft.steps is 1.5", "valid integer")),
    "boolean": ({"sft": {"steps": True}}, ("sft.steps is True", "valid integer")),
    "null": ({"sft": {"learning_rate": None}}, ("sft.learning_rate is None", "valid number")),
    "nan": ({"sft": {"learning_rate": float("nan")}}, ("learning_rate is nan", "finite number")),
    "list": (
        {"prepare": {"source": ["hh"]}},
        ("prepare.source is ['hh']", "'world', 'tldr', 'hh', 'ultrafeedback' or 'files'"),
    ),
    "word": ({"base_rm": {"comparator": "cross"}}, ("comparator is 'cross'", "'joint'")),
    "odd batch": ({"sft": {"batch_size": 15}}, ("sft.batch_size is 15", "multiple of 2")),
    "width": ({"sft": {"scratch": {"heads": 3}}}, ("width 16", "heads 3")),
    "tournament": (
        {"won_select": {"method": "tournament", "selector": "best_random"}},
        ("won_select", "tournament", "best_random needs method exact"),
    ),
    "joint without scores": (
        {"base_rm": {"comparator": "joint"}, "won_select": {"selector": "best_below"}},
        ("won_select.selector best_below", "use embedding or pointwise"),
    ),
    "pessimism of one": (
        {"won_select": {"pessimism": 1.0}},
        ("won_select.pessimism is 1", "base_rm.members is 1", "at least 2"),
    ),
    "a branch of the hub": (
        {"prepare": {"source": "hh", "hub": {"name": "nobody/pairs", "revision": "main"}}},
        ("prepare.hub", "revision is main, which does not pin nobody/pairs", "commit's hash"),
    ),
    "an example for data": (
        {"prepare": {"source": "files", "unlabeled": "both"}},
        ("prepare", "unlabeled is both", "docs/examples/prompts.jsonl", "of your own"),
    ),
    "an example for preferences": (
        {"prepare": {"source": "hh"}},
        ("prepare", "source is hh", "docs/examples/preferences.jsonl", "of your own"),
    ),
    "an example for pools": (
        {"sample": {"engine": "file"}},
        ("sample", "engine is file", "docs/examples/pools.jsonl", "of your own pools"),
    ),
    "a server without a model": (
        {"sample": {"engine": "openai"}},
        ("sample", "engine is openai, and model is none", "by which the server knows"),
    ),
    "a world from files": (
        {"prepare": {"sft": "file", "sft_path": "x"}},
        ("source world writes all of its data", "sft cannot be set", "source files"),
    ),
    "rloo of one": (
        {"rlhf": {"algorithm": "rloo", "samples_per_prompt": 1}},
        ("rlhf", "samples_per_prompt is 1", "at least 2"),
    ),
    "never thaws": (
        {"rlhf": {"value_warmup_steps": 9}},
        ("value_warmup_steps 9 of steps 4", "none in which the policy learns"),
    ),
    "no loop": ({"loop": None}, ("loop is None", "needs", "dictionary")),
    "broken chain": (
        {"loop": {"k1": {"prev": "k7"}}},
        ("loop.k1.prev is 'k7'", "none of k0, k1"),
    ),
    "circle": ({"loop": {"k1": {"prev": "k1"}}}, ("loop.k1", "a chain ends at k0")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_parameter_is_refused_by_check_in_one_line(case: str, fresh: Tiny) -> None:
    changes, needed = REFUSED[case]
    commands = fresh.stages["check"]
    fresh.change(changes)
    before = fresh.files()
    outcome = fresh.call_with(commands.module, *commands.arguments)
    assert outcome.code == 2
    (line,) = outcome.lines
    assert line.startswith("check: params.yaml: ")
    for text in needed:
        assert text in line
    assert fresh.files() == before


UNKNOWN = {
    "base_rm.loss": "needs bradley_terry, soft, conservative, margin, or file:name",
    "student_rm.loss": "needs bradley_terry, soft, conservative, margin, or file:name",
    "won_select.selector": "needs west, best_random, random_pair, best_below, best_median",
}


@pytest.mark.parametrize("key", UNKNOWN)
def test_a_name_that_is_in_no_table_is_refused_by_check(key: str, fresh: Tiny) -> None:
    section, name = key.split(".")
    fresh.change({section: {name: "nearest"}})
    fresh.fail("check", f"check: {key} is 'nearest', {UNKNOWN[key]}")


def test_a_linear_head_with_a_loss_that_it_cannot_have_is_refused_by_check(fresh: Tiny) -> None:
    fresh.change({"student_rm": {"learner": "linear_head", "loss": "margin"}})
    fresh.fail(
        "check",
        "student_rm.loss is 'margin', and a linear head is fitted to the targets",
        "use bradley_terry, soft, conservative, or set student_rm.learner to network",
    )


def test_every_fault_stands_in_the_one_line(fresh: Tiny) -> None:
    fresh.change({"seed": -1, "filter": {"quantile": 2.0, "qantile": 0}})
    line = fresh.fail("check", "seed is -1", "filter.quantile is 2", "filter.qantile")
    assert line.count("; ") >= 2


def test_a_missing_key_is_named(fresh: Tiny) -> None:
    params = fresh / "params.yaml"
    kept = [line for line in params.read_text().splitlines() if "temperature: 0.7" not in line]
    params.write_text("\n".join(kept) + "\n")
    fresh.fail("check", "params.yaml", "sample.temperature is missing; add it", "rlhf.temperature")


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        (b"", ("params.yaml", "needs a mapping of sections")),
        (b"- 1\n- 2\n", ("params.yaml", "list", "needs a mapping of sections")),
        (b"seed: 0\nsft: [1,\n", ("params.yaml", "not valid YAML", "line")),
        (b"seed: 0\nseed: 1\n", ("params.yaml", "not valid YAML", "seed")),
        (b"seed: \xff\n", ("params.yaml", "UTF-8")),
    ],
    ids=["empty", "a list", "cut short", "a key twice", "not text"],
)
def test_a_file_that_is_no_yaml_is_refused(
    content: bytes, needed: tuple[str, ...], fresh: Tiny
) -> None:
    stage = fresh.stages["check"]
    (fresh / "params.yaml").write_bytes(content)
    outcome = fresh.call_with(stage.module, *stage.arguments)
    assert outcome.code == 2
    (line,) = outcome.lines
    assert all(text in line for text in needed), line


def test_a_missing_file_says_where_to_run(fresh: Tiny) -> None:
    stage = fresh.stages["check"]
    (fresh / "params.yaml").unlink()
    outcome = fresh.call_with(stage.module, *stage.arguments)
    assert (outcome.code, outcome.lines) == (
        2,
        ["check: params.yaml is missing; run from the repository root"],
    )


@pytest.mark.parametrize(
    ("name", "changes", "fault"),
    [
        ("prepare", {"prepare": {"path": 3}}, "prepare.path is 3"),
        ("filter@k1", {"filter": {"quantile": 1.5}}, "filter.quantile is 1.5"),
        ("student_rm@k1", {"reward": {"steps": 0}}, "reward.steps is 0"),
        ("rlhf@k1", {"optimiser": {"adam_beta1": 1}}, "optimiser.adam_beta1 is 1"),
        ("report", {"loop": {"k1": {"prev": "k7"}}}, "loop.k1.prev is 'k7'"),
    ],
)
def test_every_stage_refuses_a_bad_parameter_of_its_own_accord(
    name: str, changes: dict[str, Any], fault: str, tiny: Tiny
) -> None:
    tiny.change(changes)
    tiny.fail(name, f"params.yaml: {fault}")


@pytest.mark.parametrize(
    ("toml", "needed"),
    [
        ("devise = 'cpu'\n", ("runtime.toml", "devise", "known: device, micro_batch, threads")),
        ("device = \n", ("runtime.toml", "not valid TOML", "line 1")),
        ("micro_batch = -1\n", ("runtime.toml", "micro_batch is -1", "whole number")),
        ("micro_batch = 1.5\n", ("runtime.toml", "micro_batch is 1.5", "whole number")),
    ],
)
def test_a_bad_hardware_setting_is_refused(toml: str, needed: tuple[str, ...], fresh: Tiny) -> None:
    (fresh / "runtime.toml").write_text(toml)
    fresh.fail("check", *needed)


@pytest.mark.parametrize("device", ["gpu", "tpu:0"])
def test_an_unknown_device_is_refused(
    device: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTOFN_DEVICE", device)
    tiny.fail("sample@k1", f"device is {device!r}", "needs cpu", "runtime.toml")


def test_a_micro_batch_that_does_not_divide_the_batch_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTOFN_MICRO_BATCH", "3")
    tiny.fail("base_rm", "batch_size 8", "micro_batch 3", "change micro_batch in runtime.toml")
