from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from westofn.errors import DataError
from westofn.sources.inspecting import (
    DEMONSTRATIONS,
    POOLS,
    PROMPTS,
    inspect_files,
    print_inspection,
    warnings_of,
)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def save(rows: Sequence[object], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(prompt: str, chosen: str = "yes it is", rejected: str = "no") -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_counts_lengths_and_length_bias(tmp_path: Path) -> None:
    rows = [
        pair("a b"),
        {**pair("c d e"), "subset": "sums"},
        pair("A B", "no", "yes it is"),
        pair("f", "x", "x"),
    ]
    found = inspect_files([save(rows, tmp_path / "x.jsonl")], "files", 0)
    (file,) = found.files
    assert file.form == "texts"
    assert (file.counts["rows_in"], file.counts["rows_out"]) == (4, 3)
    assert file.counts["dropped_identical_responses"] == 1
    assert (found.prompts, found.repeated) == (2, 1)
    assert file.subsets == {"": 2, "sums": 1}
    assert found.longer_chosen == pytest.approx(2 / 3)
    assert any("67%" in line for line in warnings_of(found))


def test_leakage_between_files_counts_equal_near_and_later_turns(tmp_path: Path) -> None:
    long = " ".join(f"w{number}" for number in range(40))
    turn = "\n\nHuman: hello there\n\nAssistant:"
    one = save([pair("same"), pair(long), pair(turn), pair("only here")], tmp_path / "one.jsonl")
    other = save(
        [
            pair("SAME "),
            pair(f"{long} w"),
            pair(f"{turn} hi\n\nHuman: go on\n\nAssistant:"),
            pair("\n\nHuman: only here\n\nAssistant:"),
        ],
        tmp_path / "other.jsonl",
    )
    found = inspect_files([one, other], "files", 0)
    assert found.shared == {(str(one), str(other)): 4}
    assert (found.near_joined, found.openings_joined) == (1, 1)
    assert f"4 prompts of {one} are also in {other}" in warnings_of(found)[0]


def test_what_holds_no_preferences_is_still_told(tmp_path: Path) -> None:
    forms = {file.name: file for file in inspect_files([EXAMPLES], "files", 0).files}
    assert forms[str(EXAMPLES / "sft.jsonl")].form == DEMONSTRATIONS
    assert forms[str(EXAMPLES / "prompts.jsonl")].form == PROMPTS
    pools = forms[str(EXAMPLES / "pools.jsonl")]
    assert pools.form == POOLS
    assert (pools.counts["fewest_responses"], pools.counts["most_responses"]) == (3, 3)


def test_a_misspelt_column_is_told_beside_what_the_file_is_instead(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "chosen": "b", "rejeted": "c"}]
    (file,) = inspect_files([save(rows, tmp_path / "x.jsonl")], "files", 0).files
    assert file.form == PROMPTS
    assert "did you mean rejeted?" in file.note


def test_three_rows_are_printed_as_they_stand(tmp_path: Path) -> None:
    path = save([pair(f"[bold]{n}\n") for n in range(5)], tmp_path / "x.jsonl")
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    print_inspection(inspect_files([path], "files", 0), 3, console)
    text = console.export_text()
    console.file.close()
    assert text.count("'[bold]") == 3
    assert "'[bold]0\\n'" in text


def test_bad_files_are_refused_as_prepare_refuses_them(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a"')
    with pytest.raises(DataError, match=r"x\.jsonl:1: not JSON"):
        inspect_files([path], "files", 0)
    with pytest.raises(DataError, match="no such file or folder"):
        inspect_files([tmp_path / "none"], "files", 0)
    save([{"prompt": "a", "chosen": "b"}], path)
    with pytest.raises(DataError, match="column rejected is missing"):
        inspect_files([path], "hh", 0)


@pytest.mark.parametrize(
    ("rows", "needed"),
    [
        ([{"prompt": "a", "responses": [1, None]}], ":1: column responses is a int (1)"),
        ([{"prompt": "a", "responses": ["x", None]}], ":1: column responses is a null"),
        (
            [{"prompt": "a", "responses": ["x"]}, {"prompt": "A ", "responses": ["y"]}],
            "also has a pool at",
        ),
        ([{"prompt": "a", "responses": ["x"]}, {"prompt": "b"}], ":2: column responses is missing"),
        ([{"prompt_id": 7, "responses": ["x"]}], ":1: column prompt_id is a int"),
        ([{"prompt": None, "responses": ["x"]}], ":1: column prompt is a null"),
    ],
)
def test_pools_are_refused_as_sample_refuses_them(
    rows: list[object], needed: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        inspect_files([save(rows, tmp_path / "x.jsonl")], "files", 0)
    assert needed in str(caught.value)


def test_a_second_pool_counts_within_what_sample_reads_at_once(tmp_path: Path) -> None:
    files = [
        save([{"prompt": "a", "responses": ["x"]}], tmp_path / f"k{number}.jsonl")
        for number in (1, 2)
    ]
    assert [file.form for file in inspect_files(files, "files", 0).files] == [POOLS, POOLS]
    with pytest.raises(DataError, match="also has a pool at"):
        inspect_files([tmp_path], "files", 0)


def test_pools_of_csv_are_told_from_rated_lists(tmp_path: Path) -> None:
    pools, rated = tmp_path / "pools.csv", tmp_path / "rated.csv"
    pools.write_text('prompt,responses\na,"[""x"", ""y""]"\n')
    rated.write_text('prompt,responses,scores\na,"[""x"", ""y""]","[1, 2]"\n')
    forms = [file.form for file in inspect_files([pools, rated], "files", 0).files]
    assert forms == [POOLS, "rated lists"]


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    path = save([pair("a"), pair("b")], tmp_path / "x.jsonl")
    code = (
        "import sys; from typer.testing import CliRunner; from westofn.__main__ import app\n"
        f"done = CliRunner().invoke(app, ['inspect', {str(path)!r}])\n"
        "assert done.exit_code == 0, done.output\n"
        "assert 'texts' in done.output\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
