"""`python -m westofn export pairs`: what goes into the file, and what its card says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from tests.exporting.run import DIALOGUE
from westofn import __main__ as command
from westofn.errors import DataError, ParameterError
from westofn.exporting.forms import Form, turns
from westofn.exporting.pairs import Exported, Include, export_pairs


def export(
    data: Path, out: Path, form: Form = "explicit", include: Include = "synthetic"
) -> Exported:
    lock = data.parent / "dvc.lock"
    return export_pairs(out, data=data, iteration="k1", form=form, include=include, lock=lock)


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    return [json.loads(line) for line in path.read_text().splitlines()]


def header(path: Path) -> dict[str, Any]:
    """What a hub reads of a card."""
    _, head, _ = path.read_text().split("---\n", 2)
    read: dict[str, Any] = YAML(typ="safe", pure=True).load(head)
    return read


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_explicit_pairs_join_with_white_space(suffix: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / f"pairs{suffix}"
    assert export(data, out).counts == {"west_of_n": 2}
    assert rows(out) == [
        {"prompt": "Ask c", "chosen": " good c", "rejected": " bad c"},
        {"prompt": "Ask d\n", "chosen": "good d", "rejected": "bad d"},
    ]


def test_mixed_adds_the_human_half_that_trains_the_student(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "pairs.jsonl"
    assert export(data, out, include="mixed").counts == {"human": 2, "west_of_n": 2}
    assert [row["chosen"].split()[-1] for row in rows(out)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_implicit_pairs_hold_the_prompt_twice(suffix: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / f"pairs{suffix}"
    export(data, out, "implicit", "mixed")
    assert rows(out)[1:3] == [
        {"chosen": f"{DIALOGUE} good b", "rejected": f"{DIALOGUE} bad b"},
        {"chosen": "Ask c good c", "rejected": "Ask c bad c"},
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_conversations_have_turns_and_the_texts_as_they_are(
    suffix: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / f"pairs{suffix}"
    export(data, out, "conversational", "mixed")
    assert rows(out)[1:3] == [
        {
            "prompt": [
                {"role": "user", "content": "Why?"},
                {"role": "assistant", "content": "Why not?"},
                {"role": "user", "content": "Oh."},
            ],
            "chosen": [{"role": "assistant", "content": "good b"}],
            "rejected": [{"role": "assistant", "content": "bad b"}],
        },
        {
            "prompt": [{"role": "user", "content": "Ask c"}],
            "chosen": [{"role": "assistant", "content": "good c"}],
            "rejected": [{"role": "assistant", "content": "bad c"}],
        },
    ]


@pytest.mark.parametrize(
    "prompt",
    [
        "Before.\n\nHuman: Why?\n\nAssistant:",
        "\n\nHuman: Why?\n\nAssistant: Because",
        "\n\nAssistant:",
    ],
)
def test_what_is_no_open_dialogue_is_one_message(prompt: str) -> None:
    assert turns(prompt) == [{"role": "user", "content": prompt}]


def test_the_card_states_counts_thresholds_and_origin(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "pairs.jsonl"
    done = export(data, out, include="mixed")
    assert done.card == out.parent / "README.md"
    head, text = header(done.card), done.card.read_text()
    assert head["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "pairs.jsonl"}]}
    ]
    assert head["size_categories"] == ["n<1K"]
    for line in (
        "| selected, one per prompt | 4 |",
        "| dropped: confidence | 1 |",
        "| dropped: identical | 1 |",
        "| synthetic, kept | 2 |",
        "| in this file: human | 2 |",
        "| in this file: west_of_n | 2 |",
        "| candidates per prompt, N | 64 |",
        "| base model's comparator | embedding (an ensemble of 2) |",
        "| selector | west |",
        "| smallest P(chosen ≻ rejected) kept | 0.875 |",
        "| smallest log-likelihood kept | none |",
        "Sources: k1, world.",
    ):
        assert line in text, line
    assert str(tmp_path) not in text


def test_the_folder_is_a_data_set_of_the_hub(data: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    for suffix in (".jsonl", ".parquet"):
        out = tmp_path / "out" / suffix / f"pairs{suffix}"
        export(data, out, "conversational", "mixed")
        loaded = load_dataset(str(out.parent), split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.to_list() == rows(out)


def test_equal_runs_give_equal_bytes(data: Path, tmp_path: Path) -> None:
    for suffix in (".jsonl", ".parquet"):
        folders = [tmp_path / name / suffix for name in ("one", "two")]
        for folder in folders:
            export(data, folder / f"pairs{suffix}", "conversational", "mixed")
        one, two = ([file.read_bytes() for file in sorted(path.iterdir())] for path in folders)
        assert len(one) == 2
        assert one == two


def test_a_card_is_written_over_its_own_export_alone(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "pairs.jsonl")
    export(data, tmp_path / "pairs.jsonl", "implicit")
    assert "TRL's implicit form" in (tmp_path / "README.md").read_text()
    with pytest.raises(DataError, match=r"README\.md exists and is not the card of other\.jsonl"):
        export(data, tmp_path / "other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(DataError, match="export into another folder"):
        export(data, tmp_path / "pairs.jsonl")
    assert (tmp_path / "README.md").read_text() == "# My project\n"


@pytest.mark.parametrize(
    ("out", "iteration", "needed"),
    [
        ("pairs.csv", "k1", r"pairs\.csv: needs a name that ends with \.jsonl or \.parquet"),
        ("pairs.jsonl", "k2", "--iteration: 'k2' is none of k1"),
    ],
)
def test_a_wrong_argument_is_named(
    out: str, iteration: str, needed: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=needed):
        export_pairs(
            tmp_path / out, data=data, iteration=iteration, form="explicit", include="mixed"
        )


def test_without_a_run_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no synthetic pairs; run `dvc repro`"):
        export(tmp_path / "data", tmp_path / "out" / "pairs.jsonl")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_wrote(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data.parent)
    arguments = ["export", "pairs", "out/p.parquet", "--include", "mixed", "--form", "implicit"]
    monkeypatch.setattr(sys, "argv", ["westofn", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert not end.value.code
    assert capsys.readouterr().err == (
        "written: out/p.parquet (2 human, 2 west_of_n), out/README.md\n"
    )
    assert pl.read_parquet("out/p.parquet").columns == ["chosen", "rejected"]
