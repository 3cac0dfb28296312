"""`python -m westofn bench`: tables, results and scores of saved models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.bench import rows
from tests.small_models import PROMPTS, RESPONSES
from westofn import __main__ as command
from westofn.core.comparators import mean_margin
from westofn.models.reward import Scorer
from westofn.models.scoring import pool_margins, score_rows
from westofn.params.comparator import ComparatorName

Build = Callable[[ComparatorName], Scorer]
LONG = " ".join(["cat"] * 9)  # the limit is 8
LONG_PROMPT = " ".join(["sun"] * 12)  # the limit is 10


@pytest.fixture(autouse=True)
def _device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESTOFN_DEVICE", "cpu")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["westofn", "bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            command.main()
        return int(end.value.code or 0)

    return run


def results(run: Callable[..., int], model: Path, folder: Path, made: rows.Rows) -> Any:
    source = rows.write(folder / "in.jsonl", made)
    assert run(model, source, "--out", folder / "r.json", "--scores", folder / "s.jsonl") == 0
    return json.loads((folder / "r.json").read_text())


def score_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "s.jsonl").read_text().splitlines()]


def test_results_have_the_form_of_reward_bench_and_the_models_rewards(
    run: Callable[..., int], saved_models: Path, scorers: Build, tmp_path: Path
) -> None:
    model = saved_models / "pointwise"
    record = results(run, model, tmp_path, rows.reward_bench())
    chosen = score_rows(scorers("pointwise"), PROMPTS, [rows.LONGER] * 4)[:, 0]
    worse = [rows.OTHER, rows.PLAIN, rows.OTHER, rows.PLAIN]
    rejected = score_rows(scorers("pointwise"), PROMPTS, worse)[:, 0]
    won = (chosen > rejected).tolist()
    assert {key: record[key] for key in ("model_type", "chat_template", "model")} == {
        "model_type": "Seq. Classifier",
        "chat_template": "none",
        "model": str(model),
    }
    assert record["alpacaeval-easy"] == (won[0] + won[3]) / 2
    assert (record["math-prm"], record["hep-cpp"]) == (won[1], won[2])
    extra = record["westofn"]
    assert extra["rows"]["scored"] == 4
    assert extra["subsets"]["math-prm"]["longest"] == 1.0
    assert extra["overall"]["is"] == "mean of sections"
    lines = score_lines(tmp_path)
    rewards = [line["rewards"] for line in lines]
    assert [first for first, _ in rewards] == pytest.approx(chosen.tolist(), abs=1e-5)
    assert [second for _, second in rewards] == pytest.approx(rejected.tolist(), abs=1e-5)
    assert [line["result"] for line in lines] == [float(w) for w in won]
    assert [line["id"] for line in lines] == ["0", "1", "2", "3"]


def test_a_tied_pair_is_lost_in_rewardbench_and_counted(
    run: Callable[..., int], saved_models: Path, tmp_path: Path
) -> None:
    made = [{**row, "rejected": row["chosen"]} for row in rows.reward_bench()]
    record = results(run, saved_models / "pointwise", tmp_path, made)
    assert record["math-prm"] == 0.0
    assert record["westofn"]["overall"]["tied"] == 4


@pytest.mark.parametrize("comparator", ["embedding", "joint"])
def test_comparators_without_rewards_rank_by_the_mean_margin(
    comparator: ComparatorName,
    run: Callable[..., int],
    saved_models: Path,
    scorers: Build,
    tmp_path: Path,
) -> None:
    record = results(run, saved_models / comparator, tmp_path, rows.reward_bench_2())
    assert record["model_type"] == "Custom Classifier"
    pools = [[RESPONSES[i], *(r for r in RESPONSES if r != RESPONSES[i])] for i in range(4)]
    margins = pool_margins(scorers(comparator), PROMPTS, pools)
    first = mean_margin(margins).argmax(1) == 0
    assert record["Focus"] == pytest.approx(first.double().mean().item())
    line = score_lines(tmp_path)[0]
    assert line["rewards"] is None
    assert {(m["a"], m["b"]): m["margin"] for m in line["margins"]} == {
        (i, j): pytest.approx(float(margins[0, i, j]), abs=1e-5)
        for i in range(4)
        for j in range(i + 1, 4)
    }


@pytest.mark.parametrize("comparator", ["pointwise", "embedding", "joint"])
def test_swapped_responses_with_the_other_label_give_the_same_result(
    comparator: str, run: Callable[..., int], saved_models: Path, tmp_path: Path
) -> None:
    swapped = [
        {
            **row,
            "response_A": row["response_B"],
            "response_B": row["response_A"],
            "label": "B>A" if row["label"] == "A>B" else "A>B",
        }
        for row in rows.judge_bench()
    ]
    both = []
    for made in (rows.judge_bench(), swapped):
        record = results(run, saved_models / comparator, tmp_path, made)
        both.append((record["westofn"]["subsets"], record["westofn"]["overall"]))
    assert both[0] == both[1]


@pytest.mark.parametrize("comparator", ["pointwise", "joint"])
def test_nine_comparisons_of_styles_need_no_others(
    comparator: ComparatorName,
    run: Callable[..., int],
    saved_models: Path,
    scorers: Build,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = results(run, saved_models / comparator, tmp_path, rows.rm_bench()[:1])
    row = rows.rm_bench()[0]
    margins = pool_margins(
        scorers(comparator), [row["prompt"]], [[*row["chosen"], *row["rejected"]]]
    )[0, :3, 3:]
    won = (margins > 0).double()
    parts = record["westofn"]["subsets"]["chat"]
    assert parts["normal"] == pytest.approx(won.diagonal().mean().item())
    assert parts["hard"] == pytest.approx(won.triu(1).sum().item() / 3)
    assert parts["easy"] == pytest.approx(won.tril(-1).sum().item() / 3)
    assert "Style of the rejected response" in capsys.readouterr().out


def test_all_tables_fit_80_columns(
    run: Callable[..., int],
    saved_models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    makers = (rows.reward_bench, rows.reward_bench_2, rows.rm_bench, rows.judge_bench,
              rows.llm_bar, rows.best_of_k, rows.preferences)  # fmt: skip
    files = [rows.write(tmp_path / f"{make.__name__}_{'x' * 40}.jsonl", make()) for make in makers]
    assert run(saved_models / "ensemble", *files, "--scores", tmp_path / "s.parquet") == 0
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 80
    for title in ("RewardBench (", "RewardBench 2", "RM-Bench", "JudgeBench", "LLMBar", "best of k",
                  "preferences"):  # fmt: skip
        assert any(title in line for line in printed)
    assert any("Correct among the chosen of k" in line for line in printed)
    frame = pl.read_parquet(tmp_path / "s.parquet")
    assert frame.height == sum(len(make()) for make in makers)
    assert frame["result"].is_between(0, 1).all()


def test_rows_that_are_too_long_are_counted_and_never_cut(
    run: Callable[..., int],
    saved_models: Path,
    scorers: Build,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = rows.reward_bench()
    made[0]["chosen"], made[1]["prompt"] = LONG, LONG_PROMPT
    record = results(run, saved_models / "pointwise", tmp_path, made)
    counts = record["westofn"]["rows"]
    assert (counts["beyond_limit"], counts["trimmed"], counts["scored"]) == (1, 1, 4)
    lines = score_lines(tmp_path)
    assert [line["beyond_limit"] for line in lines] == [True, False, False, False]
    whole = score_rows(scorers("pointwise"), [PROMPTS[0]], [LONG])[0, 0]
    assert lines[0]["rewards"][0] == pytest.approx(float(whole), abs=1e-5)
    out = " ".join(capsys.readouterr().out.split())
    assert "1 with a response beyond the model's limit, read whole" in out
    assert "1 with a prompt that lost its beginning" in out


def test_rows_that_the_model_cannot_read_are_left_out_and_counted(
    run: Callable[..., int],
    saved_models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from westofn.scoring import stream

    monkeypatch.setattr(stream, "attention_bytes", lambda _, length: 2**60 if length > 8 else 0)
    monkeypatch.setattr(stream, "free_bytes", lambda _: 2**40)
    made = rows.reward_bench()
    made[0]["chosen"] = LONG
    record = results(run, saved_models / "pointwise", tmp_path, made)
    assert record["westofn"]["rows"]["unscored"] == 1
    assert record["westofn"]["rows"]["scored"] == 3
    assert record["westofn"]["subsets"]["alpacaeval-easy"]["rows"] == 1
    assert score_lines(tmp_path)[0]["result"] is None
    out = " ".join(capsys.readouterr().out.split())
    assert "1 left out (the model cannot read them)" in out
    assert "First row left out:" in out


def test_unreadable_rows_are_refused_or_counted(
    run: Callable[..., int],
    saved_models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = rows.write(tmp_path / "in.jsonl", [*rows.llm_bar(), {**rows.llm_bar()[0], "label": 7}])
    model = saved_models / "pointwise"
    assert run(model, source) == 2
    assert "label is '7', needs 1 or 2; or give --bad-rows drop" in capsys.readouterr().err
    assert run(model, source, "--bad-rows", "drop") == 0
    assert "1 left out (unreadable)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "r.csv"], "r.csv: needs a name that ends with .json"),
        (["--scores", "s.csv"], "s.csv: needs a name that ends with .jsonl or .parquet"),
        (["--scores", "in.jsonl"], "in.jsonl: is an input of this command"),
        (["missing.jsonl"], "missing.jsonl: no such file"),
        (["other.jsonl", "--out", "r.json"], "--out takes one benchmark, the files hold LLMBar, "),
    ],
)
def test_arguments_that_cannot_work_are_refused(
    arguments: list[str],
    message: str,
    run: Callable[..., int],
    saved_models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows.write(tmp_path / "in.jsonl", rows.llm_bar())
    rows.write(tmp_path / "other.jsonl", rows.preferences())
    assert run(saved_models / "pointwise", "in.jsonl", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_subset_with_the_name_of_another_key_is_refused(
    run: Callable[..., int],
    saved_models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = [{**row, "subset": "model"} for row in rows.reward_bench()]
    source = rows.write(tmp_path / "in.jsonl", made)
    assert run(saved_models / "pointwise", source, "--out", tmp_path / "r.json") == 2
    assert "a subset is named model, which is a key of --out" in capsys.readouterr().err
