"""`python -m westofn preset`: what is written, what is kept, what is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from westofn import __main__ as command
from westofn.presets.apply import Change, changes
from westofn.presets.catalogue import PRESETS, WORLD, preset_named, text_of

PARAMS = Path("params.yaml")
HH = preset_named("hh-helpful")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["westofn", "preset", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    return int(end.value.code or 0)


def edit(old: str, new: str) -> str:
    """HH's parameters with a change by hand, as they now are in the file."""
    text = text_of(HH)
    assert old in text
    PARAMS.write_text(text.replace(old, new, 1), "utf-8")
    return PARAMS.read_text("utf-8")


def test_a_preset_takes_the_place_of_another_and_world_is_the_way_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for preset in (*PRESETS, WORLD):
        assert run(monkeypatch, preset.name) == 0
        assert PARAMS.read_bytes() == text_of(preset).encode()
        said = capsys.readouterr().out
        assert f"{preset.name}: written to params.yaml; meant for {preset.hardware}" in said
    assert run(monkeypatch, "world") == 0
    assert "world: params.yaml has these values already" in capsys.readouterr().out


def test_an_edited_file_is_kept_and_its_keys_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = edit("seed: 0", "seed: 7")
    assert run(monkeypatch, "world") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "westofn: params.yaml differs from preset hh-helpful in seed, which world would "
        "overwrite; keep it (commit or copy the file) and give --force"
    )
    assert PARAMS.read_text("utf-8") == kept
    assert run(monkeypatch, "world", "--force") == 0
    assert PARAMS.read_text("utf-8") == text_of(WORLD)


@pytest.mark.parametrize(
    ("old", "new", "needed"),
    [
        ("# every random choice", "# my note:", "hh-helpful in comments or layout, which"),
        ("seed: 0", "seed: [", "params.yaml is not valid YAML: "),
        (
            "  k1:\n    prev: k0",
            "  k1:\n    prev: k0\n  k2:\n    prev: k1",
            "in loop.k2.prev, which",
        ),
    ],
    ids=["a comment", "broken", "an iteration"],
)
def test_whatever_was_edited_is_kept(
    old: str,
    new: str,
    needed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = edit(old, new)
    assert run(monkeypatch, "hh-helpful") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert needed in line
    assert line.endswith("give --force")
    assert PARAMS.read_text("utf-8") == kept


def test_many_differences_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    PARAMS.write_text("seed: 0\n")
    assert run(monkeypatch, "world") == 2
    total = len(changes("seed: 0\n", WORLD))
    assert f" and {total - 6} more, which world" in capsys.readouterr().err


def test_a_list_is_no_file_of_parameters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    PARAMS.write_text("- 1\n")
    for options in ((), ("--dry-run",)):
        assert run(monkeypatch, "world", *options) == 2
        assert "params.yaml is no mapping of sections" in capsys.readouterr().err


def test_changes_are_those_of_values_with_the_reason() -> None:
    found = {change.key: change for change in changes(text_of(WORLD), HH)}
    assert found["prepare.source"] == Change(
        "prepare.source", "world", "hh", "Anthropic HH, as in the paper"
    )
    assert "sample.n_candidates" not in found  # 64 in both
    assert changes(text_of(HH), HH) == []
    assert changes(text_of(WORLD).replace("seed: 0 ", "seed: 7 "), WORLD) == [
        Change("seed", 7, 0, "every random choice follows from it")
    ]


def test_a_dry_run_shows_old_new_and_why_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    PARAMS.write_text(text_of(WORLD), "utf-8")
    assert run(monkeypatch, "tldr-t5-xxl", "--dry-run") == 0
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if line.startswith("sft.steps ")]
    assert row.split() == ["sft.steps", "1000", "4000", "paper:", "4000"]
    assert "seed" not in printed
    assert "dry run, params.yaml is unchanged" in printed
    assert "--force" not in printed
    assert PARAMS.read_text("utf-8") == text_of(WORLD)


def test_a_dry_run_says_that_the_file_is_edited(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("seed: 0", "seed: 7")
    assert run(monkeypatch, "hh-helpful", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "params.yaml differs from preset hh-helpful in seed: --force overwrites" in printed


@pytest.mark.parametrize("arguments", [(), ("--list",)])
def test_the_list_has_every_preset_and_writes_nothing(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    for preset in PRESETS:
        (row,) = [line for line in printed.splitlines() if line.startswith(f"{preset.name} ")]
        assert preset.about in row
        assert preset.hardware in row
    assert not PARAMS.exists()


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (("wrld",), "NAME: there is no preset 'wrld' (did you mean world?), needs one of world, "),
        (("world", "--list"), "--list takes no NAME, found 'world'; remove one of them"),
        (("--force",), "--dry-run and --force need a NAME; `preset` alone lists them"),
        (("--dry-run",), "--dry-run and --force need a NAME; `preset` alone lists them"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_writes_nothing(
    arguments: tuple[str, ...],
    needed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"westofn: {needed}")
    assert not PARAMS.exists()


def test_data_that_is_not_there_yet_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("raw/tldr/comparisons").mkdir(parents=True)
    assert run(monkeypatch, "tldr-qwen") == 0
    printed = capsys.readouterr().out
    assert "prepare.sft_path is raw/tldr/posts.jsonl, which is not there yet: put the" in printed
    assert "prepare.path" not in printed
    assert run(monkeypatch, "hh-helpful") == 0
    printed = capsys.readouterr().out
    assert "prepare.path is raw/hh, which is not there yet: hf download Anthropic/" in printed
    assert "sft_path" not in printed  # its demonstrations are the chosen responses
