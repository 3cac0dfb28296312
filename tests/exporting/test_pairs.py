"""`python -m westofn export pairs`: what goes into the file, and what its card says."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from tests.exporting.run import DIALOGUE
from westofn import __main__ as command
from westofn.artifacts.preferences import PREFERENCES
from westofn.errors import DataError, ParameterError
from westofn.exporting.forms import Form, implicit_prompt, turns
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
def test_conversations_have_turns_without_white_space_around_them(
    suffix: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / f"pairs{suffix}"
    export(data, out, "conversational", "mixed")
    assert rows(out)[3]["prompt"] == [{"role": "user", "content": "Ask d"}]
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


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("Ask: yes", "Ask: no", "Ask:"),  # the space before the responses is not the prompt's
        ("Ask:  yes", "Ask:  no", "Ask: "),  # but only one is removed
        ("Ask\nyes", "Ask\nno", "Ask\n"),
        ("Ask: The cat", "Ask: The dog", "Ask: The"),
        ("Ask: good", "Ask: going", "Ask: go"),
        ("Ask: yes", "Ask: yes, sir", "Ask: ye"),
        ("Ask: yes, sir", "Ask: yes", "Ask: ye"),
        ("Ask: 👍🏽", "Ask: 👍🏿", "Ask: 👍"),
    ],
)
def test_trl_finds_the_longest_common_beginning(chosen: str, rejected: str, prompt: str) -> None:
    assert implicit_prompt(chosen, rejected) == prompt


def test_the_page_shows_the_prompts_that_trl_finds() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "out.md").read_text("utf-8")
    examples = re.findall(r"^\| `(Why.+)` \| `(Why.+)` \| `(Why.+)` \|$", page, re.MULTILINE)
    assert len(examples) == 4
    for chosen, rejected, prompt in examples:
        assert implicit_prompt(chosen, rejected) == prompt


def test_pairs_that_trl_splits_elsewhere_are_counted(data: Path, tmp_path: Path) -> None:
    path = data / "loop" / "k1" / "synthetic" / "preferences.parquet"
    pairs = PREFERENCES.read(path)
    sides = pl.Series(["The cat", "bad"]), pl.Series(["The dog", "bald"])
    PREFERENCES.write(pairs.with_columns(chosen=sides[0], rejected=sides[1]), path)
    done = export(data, tmp_path / "pairs.jsonl", "implicit", "mixed")
    assert done.split_elsewhere == 2
    assert "in 2 of 4 pairs this is not the prompt" in done.card.read_text()
    exact: tuple[Form, ...] = ("explicit", "conversational")
    for form in exact:
        done = export(data, tmp_path / form / "pairs.jsonl", form, "mixed")
        assert done.split_elsewhere is None
        assert "No trainer has to find the prompt." in done.card.read_text()


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


MADE_IN_PYTHON: dict[Form, dict[str, Any]] = {
    "explicit": {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    "implicit": {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    "conversational": {
        "prompt": [{"role": "user", "content": "Which colour?"}],
        "chosen": [{"role": "assistant", "content": "Blue."}],
        "rejected": [{"role": "assistant", "content": "Green."}],
    },
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("form", MADE_IN_PYTHON)
def test_the_pairs_join_a_data_set_made_in_python(
    form: Form, suffix: str, data: Path, tmp_path: Path
) -> None:
    from datasets import Dataset, concatenate_datasets, load_dataset

    out = tmp_path / "out" / f"pairs{suffix}"
    export(data, out, form, "mixed")
    loaded = load_dataset(str(out.parent), split="train", cache_dir=str(tmp_path / "cache"))
    made = Dataset.from_list([MADE_IN_PYTHON[form]])
    assert loaded.features == made.features
    joined = concatenate_datasets([loaded, made])
    assert joined.to_list() == [*rows(out), MADE_IN_PYTHON[form]]


def test_parquet_has_plain_types(data: Path, tmp_path: Path) -> None:
    for form, expected in (
        ("explicit", "string"),
        ("conversational", "list<element: struct<role: string, content: string>>"),
    ):
        export(data, tmp_path / form / "pairs.parquet", form)
        schema = parquet.read_schema(tmp_path / form / "pairs.parquet")
        assert {str(dtype) for dtype in schema.types} == {expected}


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


@pytest.mark.parametrize(
    ("out", "needed"),
    [
        ("data/pairs.jsonl", "data/pairs.jsonl: lies in data, which must not change"),
        ("data/loop/k1/pairs.parquet", "pairs.parquet: lies in data"),
        ("mine.jsonl", "mine.jsonl exists and is not an export; give another name"),
        ("mine.jsonl/pairs.jsonl", "a part of the path is a file"),
        ("folder.jsonl", "folder.jsonl: is a folder, needs a file name"),
    ],
)
def test_a_place_that_is_not_for_exports_is_refused(
    out: str, needed: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    Path("mine.jsonl").write_text("mine")
    Path("folder.jsonl").mkdir()
    before = sorted(data.rglob("*"))
    with pytest.raises(DataError, match=needed):
        export(Path("data"), Path(out))
    assert Path("mine.jsonl").read_text() == "mine"
    assert not Path("README.md").exists()
    assert sorted(data.rglob("*")) == before


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
        "DPOTrainer of TRL finds another prompt in 0 of 4 implicit pairs, see out/README.md; "
        "--form explicit and conversational are exact\n"
    )
    assert pl.read_parquet("out/p.parquet").columns == ["chosen", "rejected"]
