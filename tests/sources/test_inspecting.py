from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from tests.sources.known_rows import QUESTIONS, SAMPLES, rows_of_sample
from westofn.__main__ import app
from westofn.errors import DataError, WestofnError
from westofn.sources.columns import Columns
from westofn.sources.inspect_report import print_inspection
from westofn.sources.inspecting import (
    DEMONSTRATIONS,
    POOLS,
    PROMPTS,
    UNKNOWN,
    Inspection,
    InspectOptions,
    check_kind,
    inspect_files,
    warnings_of,
)
from westofn.text.tokenizer import save_tokenizer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def save(rows: Sequence[object], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(prompt: str, chosen: str = "yes it is", rejected: str = "no") -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def printed(inspection: Inspection, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO())
    print_inspection(inspection, {}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and message of a command; an expected error is code 2."""
    done = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    if isinstance(done.exception, WestofnError):
        return 2, done.stdout, str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_counts_lengths_and_length_bias(tmp_path: Path) -> None:
    rows = [
        pair("a b"),
        {**pair("c d e"), "subset": "sums"},
        pair("a b ", "no", "yes it is"),
        pair("f", "x", "x"),
    ]
    inspection = inspect_files([save(rows, tmp_path / "x.jsonl")], InspectOptions())
    (file,) = inspection.files
    assert file.form == "texts"
    assert (file.counts["rows_in"], file.counts["rows_out"]) == (4, 3)
    assert file.counts["dropped_identical_responses"] == 1
    assert (inspection.prompts, inspection.repeated) == (2, 1)
    assert file.subsets == {"": 2, "sums": 1}
    assert inspection.longer_chosen == pytest.approx(2 / 3)
    assert any("67%" in line for line in warnings_of(inspection))


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
    inspection = inspect_files([one, other], InspectOptions())
    assert inspection.shared == {(str(one), str(other)): 4}
    assert (inspection.near_joined, inspection.openings_joined) == (1, 1)
    assert f"4 prompts of {one} are also in {other}" in warnings_of(inspection)[0]


def test_what_holds_no_preferences_is_reported_and_refused() -> None:
    inspection = inspect_files([EXAMPLES], InspectOptions())
    files = {Path(file.name).name: file for file in inspection.files}
    assert files["sft.jsonl"].form == DEMONSTRATIONS
    assert files["prompts.jsonl"].form == PROMPTS
    pools = files["pools.jsonl"]
    assert pools.form == POOLS
    assert (pools.counts["fewest_responses"], pools.counts["most_responses"]) == (3, 3)
    with pytest.raises(DataError, match=r"holds .* needs preferences: .*--kind"):
        check_kind(inspection, "preferences")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("preferences", "preferences"),
        ("sft", "demonstrations"),
        ("prompts", "prompts"),
        ("pools", "pools"),
    ],
)
def test_a_file_is_accepted_as_the_kind_that_was_asked_for(name: str, kind: str) -> None:
    code, output, message = run(EXAMPLES / f"{name}.jsonl", "--kind", kind)
    assert (code, message) == (0, "")
    assert f"{name}.jsonl: " in output.replace("\n", "")
    if kind != "preferences":
        code, output, message = run(EXAMPLES / f"{name}.jsonl")
        assert code == 2
        assert "needs preferences: give another file, or a mapping by -S" in message
        assert message.endswith(f"or ask with --kind {kind}")
        assert "rows_in" in output


def test_a_misspelt_column_is_told_beside_what_the_file_is_instead(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "chosen": "b", "rejeted": "c"}]
    (file,) = inspect_files([save(rows, tmp_path / "x.jsonl")], InspectOptions()).files
    assert file.form == PROMPTS
    assert "did you mean rejeted?" in file.note


def test_a_file_of_no_known_form_gets_a_mapping_to_paste(tmp_path: Path) -> None:
    rows = [
        {"task": f"Task {n}.", "text_left": f"a{n}", "text_right": f"b{n}", "vote": vote}
        for n, vote in enumerate(["left", "right", "draw"])
    ]
    path = save(rows, tmp_path / "x.jsonl")
    inspection = inspect_files([path], InspectOptions())
    (file,) = inspection.files
    assert file.form == UNKNOWN
    assert file.suggestion is not None
    text = printed(inspection)
    assert "-S prepare.columns.response_a=text_left \\\n" in text
    assert "-S prepare.columns.label_tie=draw\n" in text
    code, _, message = run(path)
    assert code == 2
    assert "has no known form, needs preferences" in message
    settings = [f"-S{setting}" for setting in file.suggestion.columns.settings()]
    code, output, message = run(path, *settings, "--json")
    assert (code, message) == (0, "")
    assert json.loads(output)["rows"] == [
        {"prompt": "Task 0.", "chosen": "a0", "rejected": "b0"},
        {"prompt": "Task 1.", "chosen": "b1", "rejected": "a1"},
    ]
    assert json.loads(output)["counts"]["dropped_tie"] == 1


def test_settings_of_a_mapping_are_checked(tmp_path: Path) -> None:
    path = save([pair("a")], tmp_path / "x.jsonl")
    code, _, message = run(path, "-S", "prepare.columns.promt=prompt")
    assert (code, "did you mean prompt?" in message) == (2, True)
    code, _, message = run(path, "--source", "hhh")
    assert (code, "--source: 'hhh' is none of" in message) == (2, True)


def test_the_first_rows_are_printed_as_they_stand(tmp_path: Path) -> None:
    path = save([pair(f"[bold]{n}\n") for n in range(5)], tmp_path / "x.jsonl")
    text = printed(inspect_files([path], InspectOptions()))
    assert text.count("'[bold]") == 3
    assert "'[bold]0\\n'" in text or "'[bold]0'" in text


@pytest.mark.parametrize("name", ["PKU-SafeRLHF", "OASST", "KTO", "LMSYS arena"])
def test_output_fits_into_eighty_columns(name: str, tmp_path: Path) -> None:
    path = save(rows_of_sample(SAMPLES[name]), tmp_path / "x.jsonl")
    text = printed(inspect_files([path], InspectOptions()), 80)
    lines = text.splitlines()
    assert len(lines) > 20
    # Paths of files, and options that are copied, are not broken.
    whole = ("x.jsonl", "-S ")
    long = [line for line in lines if len(line) > 80 and not any(map(line.__contains__, whole))]
    assert long == []


def test_a_known_set_is_named_with_its_mapping_and_unread_columns(tmp_path: Path) -> None:
    path = save(rows_of_sample(SAMPLES["PKU-SafeRLHF"]), tmp_path / "x.jsonl")
    inspection = inspect_files([path], InspectOptions())
    (file,) = inspection.files
    assert "is_response_0_safe" in file.unread
    text = printed(inspection)
    title = "PKU-SafeRLHF (PKU-Alignment/PKU-SafeRLHF, PKU-Alignment/PKU-SafeRLHF-30K)"
    assert f"x.jsonl: {title}, labelled pairs\n" in text
    assert "-S prepare.columns.label=better_response_id \\\n" in text
    assert "not read: is_response_0_safe, is_response_1_safe" in text


def test_json_has_the_parts_of_a_single_file_at_the_top(tmp_path: Path) -> None:
    path = save(rows_of_sample(SAMPLES["HelpSteer3 preferences"]), tmp_path / "x.jsonl")
    code, output, message = run(path, "--json", "--rows", 2)
    assert (code, message) == (0, "")
    content = json.loads(output)
    (file,) = content["files"]
    assert {**file} == {key: content[key] for key in file}
    assert content["form"] == "labelled pairs"
    assert content["set"] == "HelpSteer3 preferences (nvidia/HelpSteer3)"
    assert content["mapping"]["response_a"] == "response1"
    assert content["mapping"]["label_a"] == "<0"
    assert content["unread"] == ["individual_preference", "language"]
    assert content["counts"]["dropped_tie"] == 1
    assert content["subsets"] == {"general": 4}
    before = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
    ]
    assert content["rows"] == [
        {
            "prompt": [*before, {"role": "user", "content": q.text}],
            "chosen": q.good,
            "rejected": q.bad,
        }
        for q in QUESTIONS[:2]
    ]


def test_json_keeps_a_plain_prompt_as_text(tmp_path: Path) -> None:
    path = save(rows_of_sample(SAMPLES["PKU-SafeRLHF"]), tmp_path / "x.jsonl")
    _, output, _ = run(path, "--json", "--rows", 4)
    rows = json.loads(output)["rows"]
    assert [row["prompt"] for row in rows] == [q.text for q in QUESTIONS]


def test_json_of_several_files_has_them_in_a_list(tmp_path: Path) -> None:
    one = save([pair("a")], tmp_path / "one.jsonl")
    other = save([{"prompt": "b"}], tmp_path / "other.jsonl")
    code, output, _ = run(one, other, "--json")
    assert code == 2
    content = json.loads(output)
    assert [file["kind"] for file in content["files"]] == ["preferences", "prompts"]
    assert "mapping" not in content


def test_a_set_whose_rows_are_rewritten_has_no_mapping(tmp_path: Path) -> None:
    path = save(rows_of_sample(SAMPLES["OASST"]), tmp_path / "x.jsonl")
    _, output, _ = run(path, "--json")
    content = json.loads(output)
    assert content["mapping"] == {}
    assert "message_id" not in content["unread"]
    assert "review_count" in content["unread"]
    assert content["rows"][0]["prompt"][0] == {"role": "user", "content": "Hello"}


def test_tokens_are_measured_with_a_tokenizer(
    tmp_path: Path, words: PreTrainedTokenizerFast
) -> None:
    folder = tmp_path / "policy"
    save_tokenizer(words, folder)
    (folder / "card.json").write_text("{}")
    rows = [pair(f"{n} " * 100, "a " * 100, "b") for n in range(3)]
    path = save(rows, tmp_path / "x.jsonl")
    code, output, message = run(path, "--tokenizer", folder, "--json")
    assert (code, message) == (0, "")
    tokens = json.loads(output)["tokens"]
    assert tokens["columns"]["chosen"]["longest"] > 64
    assert tokens["columns"]["rejected"]["longest"] < 64
    first, *_, last = tokens["limits"]
    assert (first["prompt_limit"], first["response_limit"]) == (64, 64)
    assert (first["prompts_cut"], first["responses_dropped"], first["rows_dropped"]) == (3, 3, 3)
    assert (last["prompt_limit"], last["response_limit"]) == (96, 32)
    _, output, _ = run(path, "--tokenizer", folder)
    assert "96 and 32 (params.yaml)" in output
    assert "3 (100.0%)" in output


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    path = save([pair("a")], tmp_path / "x.jsonl")
    code, _, message = run(path, "--tokenizer", tmp_path)
    assert code == 2
    assert "tokenizer" in message


def test_bad_files_are_refused_as_prepare_refuses_them(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a"')
    with pytest.raises(DataError, match=r"x\.jsonl:1: not JSON"):
        inspect_files([path], InspectOptions())
    with pytest.raises(DataError, match="no such file or folder"):
        inspect_files([tmp_path / "none"], InspectOptions())
    save([{"prompt": "a", "chosen": "b"}], path)
    with pytest.raises(DataError, match="rejected"):
        inspect_files([path], InspectOptions(source="hh"))
    with pytest.raises(DataError, match="missing is missing"):
        inspect_files([path], InspectOptions(columns=Columns(chosen="chosen", rejected="missing")))


@pytest.mark.parametrize(
    ("rows", "needed"),
    [
        ([{"prompt": "a", "responses": [1, None]}], ":1: column responses is a int (1)"),
        ([{"prompt": "a", "responses": ["x", None]}], ":1: column responses is a null"),
        (
            [{"prompt": "a", "responses": ["x"]}, {"prompt": "a ", "responses": ["y"]}],
            "also has a pool at",
        ),
        ([{"prompt": "a", "responses": ["x"]}, {"prompt": "b"}], ":2: column responses is missing"),
        ([{"prompt_id": 7, "responses": ["x"]}], ":1: column prompt_id is a int"),
        ([{"prompt": None, "responses": ["x"]}], ":1: column prompt is neither text nor messages"),
    ],
)
def test_pools_are_refused_as_sample_refuses_them(
    rows: list[object], needed: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        inspect_files([save(rows, tmp_path / "x.jsonl")], InspectOptions())
    assert needed in str(caught.value)


def test_a_second_pool_counts_within_what_sample_reads_at_once(tmp_path: Path) -> None:
    files = [
        save([{"prompt": "a", "responses": ["x"]}], tmp_path / f"k{number}.jsonl")
        for number in (1, 2)
    ]
    assert [file.form for file in inspect_files(files, InspectOptions()).files] == [POOLS, POOLS]
    with pytest.raises(DataError, match="also has a pool at"):
        inspect_files([tmp_path], InspectOptions())


def test_ranked_responses_are_no_pools(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "responses": ["x", "y"], "ranks": [2, 1]}]
    (file,) = inspect_files([save(rows, tmp_path / "x.jsonl")], InspectOptions()).files
    assert file.rows == [{"prompt": "a", "chosen": "y", "rejected": "x"}]


def test_bad_rows_are_dropped_where_they_may_be(tmp_path: Path) -> None:
    path = save([*(pair(f"a{n}") for n in range(20)), {"prompt": "b"}], tmp_path / "x.jsonl")
    code, _, message = run(path)
    assert (code, "x.jsonl:21: column chosen is missing" in message) == (2, True)
    code, output, _ = run(path, "-S", "prepare.bad_rows=drop", "--json")
    assert code == 0
    content = json.loads(output)
    assert content["counts"]["dropped_bad_row"] == 1
    assert "x.jsonl:21: column chosen is missing" in content["warnings"][1]


def test_pools_of_csv_are_told_from_rated_lists(tmp_path: Path) -> None:
    pools, rated = tmp_path / "pools.csv", tmp_path / "rated.csv"
    pools.write_text('prompt,responses\na,"[""x"", ""y""]"\n')
    rated.write_text('prompt,responses,scores\na,"[""x"", ""y""]","[1, 2]"\n')
    forms = [file.form for file in inspect_files([pools, rated], InspectOptions()).files]
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
