"""`python -m westofn export questions`, and its answers back through `prepare`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.stages.pipeline import Tiny
from westofn import __main__ as command
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError, ParameterError
from westofn.evaluation.judges import load_judge, margins
from westofn.exporting.questions import Question, export_questions
from westofn.params.whole import load_params
from westofn.sources.data import ANSWERS, labeled_half


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """After sampling; tests read it only."""
    changes = {"prepare": {"world": {"sft_examples": 120}}, "sft": {"steps": 4}}
    tiny = Tiny.make(tmp_path_factory.mktemp("sampled") / "root", changes)
    tiny.succeed("check", "prepare", "sft", "sample@k1")
    return tiny


@pytest.fixture
def run(sampled: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A copy of one's own, as the working folder."""
    copy = sampled.copy(tmp_path / "root")
    monkeypatch.chdir(copy.root)
    return copy


def export(out: str, **options: Any) -> list[Question]:
    return export_questions(Path(out), params=load_params(), data=Path("data"), **options)


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_answers_of_the_gold_annotator_reach_hf50(run: Tiny) -> None:
    before = PREFERENCES.read("data/prepared/preferences.parquet")
    questions = export("exports/q", count=12)
    prompts = PROMPTS.read("data/prepared/prompts.parquet")
    name_of = dict(prompts.select("prompt", "prompt_id").iter_rows())
    judge = load_judge(Path("data/world/world.parquet"), Path("data/autorater"), "cpu")
    asked = rows("exports/q/questions.jsonl")
    names = [name_of[row["prompt"]] for row in asked]
    sides = [[row[side] for row in asked] for side in ("prompt", "response_a", "response_b")]
    prefers_a = margins(judge, names, *sides) > 0
    answers = [{**row, "label": "a" if a else "b"} for row, a in zip(asked, prefers_a, strict=True)]
    answers[0]["label"] = "tie"
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    run.change({"prepare": {"answers": "file", "answers_path": "answers.jsonl"}})
    run.succeed("check", "prepare")
    after = PREFERENCES.read("data/prepared/preferences.parquet")
    added = after.join(before, on="pair_id", how="anti")
    assert after.height == before.height + 11 == before.height + added.height
    half = labeled_half(after, prompts)
    assert half.filter(source=ANSWERS).height == 11
    assert half.height == labeled_half(before, prompts).height + 11
    chosen = {
        row["response_a"] if row["label"] == "a" else row["response_b"] for row in answers[1:]
    }
    assert set(added["chosen"]) == chosen
    counts = json.loads(Path("data/prepared/counts.json").read_text())
    assert (counts["answers_rows_out"], counts["answers_dropped_tie"]) == (11, 1)
    # What was asked once is not asked again.
    again = export("exports/q", count=999, a_prompt=99)
    labelled = {frozenset(pair) for pair in added.select("chosen", "rejected").iter_rows()}
    assert not labelled & {frozenset((one.response_a, one.response_b)) for one in again}
    assert len({one.question_id for one in questions}) == 12


def test_a_question_is_two_different_candidates_of_one_prompt_of_d_u(run: Tiny) -> None:
    prompts = PROMPTS.read("data/prepared/prompts.parquet").filter(split="unlabeled")
    candidates = pl.read_parquet("data/loop/k1/candidates.parquet").join(prompts, on="prompt_id")
    known = {
        (prompt, response.strip())
        for prompt, response in candidates.select("prompt", "response").iter_rows()
    }
    found = rows("exports/q/questions.jsonl") if export("exports/q", count=20) else []
    assert len(found) == len({row["prompt"] for row in found}) == 20
    for row in found:
        assert row["response_a"] != row["response_b"]
        assert {(row["prompt"], row["response_a"]), (row["prompt"], row["response_b"])} <= known
    gains = [row["informativeness"] for row in found]
    assert gains == sorted(gains, reverse=True)
    assert min(gains) > 0


def test_which_response_comes_first_is_drawn_by_the_seed(run: Tiny) -> None:
    questions = export("exports/q", count=999, a_prompt=2)
    turned = sum(one.response_a > one.response_b for one in questions)
    assert len(questions) > 40
    assert 0.25 < turned / len(questions) < 0.75
    first = Path("exports/q/questions.jsonl").read_bytes()
    export("other", count=999, a_prompt=2)
    assert Path("other/questions.jsonl").read_bytes() == first


def test_no_prompt_has_more_questions_than_asked_for(run: Tiny) -> None:
    questions = export("exports/q", count=999, a_prompt=2, prompts=7)
    counts = pl.Series([one.prompt for one in questions]).value_counts()["count"]
    assert (len(counts), counts.max()) == (7, 2)


def test_a_folder_that_is_no_export_is_refused_and_left_alone(run: Tiny) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("kept")
    with pytest.raises(DataError, match="mine exists and is not an export"):
        export("mine")
    Path("cards").mkdir()
    Path("cards/README.md").write_text("of somebody else")
    with pytest.raises(DataError, match=r"is not the card of cards, which would replace it"):
        export("cards")
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]
    assert [path.name for path in Path("cards").iterdir()] == ["README.md"]
    export("exports/q", count=3)
    Path("exports/q/answers.jsonl").write_text("answers")
    for out, needed in (
        ("exports/q", r"q has answers\.jsonl, which is not a file of this export"),
        ("data/questions", "lies in data, which must not change"),
        ("/dev/null", "is a device or a pipe"),
        (".", "holds data, an input of this command"),
    ):
        with pytest.raises(DataError, match=needed):
            export(out)
    assert Path("exports/q/answers.jsonl").read_text() == "answers"


def test_an_export_takes_the_place_of_an_earlier_one(run: Tiny) -> None:
    export("exports/q", count=5)
    export("exports/q", count=3)
    assert len(rows("exports/q/questions.jsonl")) == 3
    assert {path.name for path in Path("exports").iterdir()} == {"q"}
    assert {path.name for path in Path("exports/q").iterdir()} == {
        "README.md",
        "label.html",
        "questions.jsonl",
    }
    assert "3 pairs of responses" in Path("exports/q/README.md").read_text()


def test_equal_candidates_leave_nothing_to_ask(run: Tiny) -> None:
    run.edit("data/loop/k1/candidates.parquet", lambda f: f.with_columns(response=pl.lit("same ")))
    with pytest.raises(DataError, match="no prompt has two different candidates"):
        export("exports/q")
    assert not Path("exports").exists()


def test_an_unknown_iteration_and_a_missing_run_are_named(run: Tiny) -> None:
    with pytest.raises(ParameterError, match="--iteration: 'k9' is none of k1"):
        export("exports/q", iteration="k9")
    with pytest.raises(DataError, match=r"nowhere/loop has no candidates; run `dvc repro`"):
        export_questions(Path("q"), params=load_params(), data=Path("nowhere"))


def test_the_command_says_what_it_wrote(
    run: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["westofn", "export", "questions", "out/q", "--count", "4"])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert not end.value.code
    assert capsys.readouterr().err == (
        "written: out/q (4 questions); label them in out/q/label.html\n"
    )
