"""`python -m westofn score`: rewards and margins of JSONL, by saved models."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
import torch
from pyarrow import parquet
from transformers import PreTrainedTokenizerFast

from tests.small_families import tiny_model
from tests.small_models import PROMPTS, RESPONSES, tiny_scorer
from westofn import __main__ as command
from westofn.errors import ModelError
from westofn.models.ensemble import Ensemble, mean_pair_margins, mean_rewards
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins, score_rows
from westofn.params.comparator import ComparatorName
from westofn.scoring.rows import Row
from westofn.scoring.stream import Scored, score_stream
from westofn.scoring.writing import JsonLines
from westofn.sources.collect import Reading, collect_pairs, parts_of
from westofn.sources.reading import rows_of
from westofn.text.encoding import Encoder

ROOT = Path(__file__).resolve().parents[2]
Columns = Sequence[Mapping[str, object]]
Build = Callable[[ComparatorName], Scorer]
LONG = " ".join(["cat"] * 9)  # the limit is 8


@pytest.fixture(autouse=True)
def _device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESTOFN_DEVICE", "cpu")


def members(scorers: Build, encoder: Encoder) -> list[Scorer]:
    return [scorers("pointwise"), tiny_scorer(encoder, "pointwise", seed=4)]


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object, stdin: str = "") -> int:
    monkeypatch.setattr(sys, "argv", ["westofn", "score", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
    with pytest.raises(SystemExit) as end:
        command.main()
    return int(end.value.code or 0)


SINGLE = [
    {"prompt": prompt, "response": response, "id": index}
    for index, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
]


def test_stdin_to_stdout_gives_the_models_rewards_in_order(
    saved_models: Path,
    scorers: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "--model", saved_models / "pointwise", stdin=lines(*SINGLE)) == 0
    captured = capsys.readouterr()
    written = [json.loads(line) for line in captured.out.splitlines()]
    expected = score_rows(scorers("pointwise"), PROMPTS, RESPONSES)[:, 0]
    assert [{**row, "reward": pytest.approx(float(r), abs=1e-5)} for row, r in zip(
        SINGLE, expected, strict=True
    )] == written  # fmt: skip
    assert captured.err == "scored 4 rows\n"


def test_lists_of_responses_get_a_reward_each(
    saved_models: Path, scorers: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "deep" / "out.jsonl"
    source.write_text(lines({"prompt": PROMPTS[0], "responses": RESPONSES}, {
        "prompt": PROMPTS[1], "responses": RESPONSES[:1]
    }))  # fmt: skip
    assert run(monkeypatch, source, "--model", saved_models / "pointwise", "--out", out) == 0
    first, second = map(json.loads, out.read_text().splitlines())
    expected = score_rows(scorers("pointwise"), [PROMPTS[0]] * 4, RESPONSES)[:, 0].tolist()
    assert first["reward"] == pytest.approx(expected, abs=1e-5)
    assert len(second["reward"]) == 1


@pytest.mark.parametrize("comparator", ["pointwise", "embedding", "joint"])
def test_pairs_get_the_margin_of_every_comparator(
    comparator: ComparatorName,
    saved_models: Path,
    scorers: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        {"prompt": prompt, "chosen": RESPONSES[1], "rejected": RESPONSES[2]} for prompt in PROMPTS
    ]
    assert run(monkeypatch, "--model", saved_models / comparator, stdin=lines(*rows)) == 0
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = pair_margins(
        scorers(comparator), PROMPTS, [RESPONSES[1]] * 4, [RESPONSES[2]] * 4
    ).tolist()
    assert [row["margin"] for row in written] == pytest.approx(expected, abs=1e-5)
    assert {key for row in written for key in row} == {"prompt", "chosen", "rejected", "margin"}


def test_an_ensemble_gives_mean_and_deviation(
    saved_models: Path,
    scorers: Build,
    small_encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "--model", saved_models / "ensemble", stdin=lines(*SINGLE)) == 0
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    a, b = (
        score_rows(member, PROMPTS, RESPONSES)[:, 0] for member in members(scorers, small_encoder)
    )
    assert [row["reward"] for row in written] == pytest.approx(((a + b) / 2).tolist(), abs=1e-5)
    # Of two numbers the deviation is half their distance.
    expected = ((a - b).abs() / 2).tolist()
    assert [row["reward_std"] for row in written] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("comparator", ["embedding", "joint"])
def test_a_pairwise_model_has_no_reward_of_one_response(
    comparator: str,
    saved_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "--model", saved_models / comparator, stdin=lines(*SINGLE)) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("westofn: stdin:1: a reward of one response needs a pointwise model")
    assert comparator in line
    assert captured.out == ""


def test_a_long_response_is_scored_whole_and_marked(
    saved_models: Path,
    scorers: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"prompt": "sun", "response": text} for text in (LONG, "good")]
    assert run(monkeypatch, "--model", saved_models / "pointwise", stdin=lines(*rows)) == 0
    captured = capsys.readouterr()
    long, short = map(json.loads, captured.out.splitlines())
    assert long["beyond_limit"] is True
    assert "beyond_limit" not in short
    whole = float(score_rows(scorers("pointwise"), ["sun"], [LONG])[0, 0])
    assert long["reward"] == pytest.approx(whole, abs=1e-5)
    assert "scored 2 rows; 1 with a response beyond the model's limit" in captured.err


def test_a_packed_file_is_scored_as_the_plain_one(
    saved_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, packed, cut = (tmp_path / name for name in ("in.jsonl", "in.jsonl.gz", "cut.jsonl.gz"))
    plain.write_text(lines(*SINGLE))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    cut.write_bytes(packed.read_bytes()[:-12])
    out = {}
    for source in (plain, packed):
        assert run(monkeypatch, source, "--model", saved_models / "pointwise") == 0
        out[source] = capsys.readouterr().out
    assert out[packed] == out[plain] != ""
    assert run(monkeypatch, cut, "--model", saved_models / "pointwise") == 2
    assert f"{cut}:" in (found := capsys.readouterr().err)
    assert "the gzip stream is truncated or corrupt" in found


def test_a_pair_has_the_rewards_of_what_prepare_reads(
    saved_models: Path,
    scorers: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = [{"role": "user", "content": " a red cat\r\n"}]
    sides = {
        side: [*asked, {"role": "assistant", "content": f"\n{text} "}]
        for side, text in (("chosen", "the good dog"), ("rejected", "the bad moon"))
    }
    path = tmp_path / "pairs.jsonl"
    path.write_text(lines(sides))
    (pair,) = collect_pairs(parts_of(path, 0, "path"), Reading(), path).pairs
    assert run(monkeypatch, path, "--model", saved_models / "pointwise") == 0
    margin = json.loads(capsys.readouterr().out)["margin"]
    responses = [pair.chosen, pair.rejected]
    rewards = score_rows(scorers("pointwise"), [pair.prompt] * 2, responses)[:, 0]
    model = Ensemble.of(scorers("pointwise"))
    (expected,) = mean_pair_margins(model, [pair.prompt], [pair.chosen], [pair.rejected]).tolist()
    assert margin == expected
    assert margin == pytest.approx(float(rewards[0] - rewards[1]), abs=1e-5) != 0
    rows = [{"prompt": asked, "response": sides[side][1]["content"]} for side in sides]
    assert run(monkeypatch, "--model", saved_models / "pointwise", stdin=lines(*rows)) == 0
    single = [json.loads(line)["reward"] for line in capsys.readouterr().out.splitlines()]
    assert single == mean_rewards(model, [pair.prompt], [responses])[0].tolist()


def test_the_page_shows_what_is_written(
    saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "out.md").read_text("utf-8")
    (given,) = re.findall(r"^```csv\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^```jsonl\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "rows.csv").write_text(given)
    out = tmp_path / "scored.jsonl"
    arguments = (tmp_path / "rows.csv", "--model", saved_models / "pointwise", "--out", out)
    assert run(monkeypatch, *arguments) == 0
    written, expected = (
        [json.loads(line) for line in text.splitlines()] for text in (out.read_text(), shown)
    )
    assert [row.pop("reward") for row in written] == pytest.approx(
        [row.pop("reward") for row in expected], abs=1e-4
    )
    assert written == expected
    assert len(written) == 2


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """A file of rows, by its ending."""
    text = lines(*rows)
    if ".csv" in path.name or ".tsv" in path.name:
        content = io.StringIO(newline="")
        table = csv.writer(content, delimiter="\t" if ".tsv" in path.name else ",")
        table.writerows([list(rows[0]), *(list(row.values()) for row in rows)])
        text = content.getvalue()
    elif path.name.startswith("array"):
        text = json.dumps(rows, indent=1)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as packed:
            packed.write(text.encode())
    else:
        path.write_bytes(text.encode())


def read_back(path: Path) -> list[dict[str, Any]]:
    return [dict(row.values) for row in rows_of(path)]


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.tsv", "out.parquet"])
@pytest.mark.parametrize(
    "name",
    [
        "in.jsonl",
        "in.ndjson",
        "in.json",
        "in.jsonl.gz",
        "in.jsonl.zst",
        "array.json",
        "array.json.gz",
        "in.csv",
        "in.csv.gz",
        "in.tsv",
        "in.parquet",
    ],
)
def test_every_file_that_prepare_reads_is_scored_into_every_format(
    name: str,
    out: str,
    saved_models: Path,
    scorers: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": prompt, "response": response, "note": f'a "quoted", {index}\r\nline\tß'}
        for index, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
    ]
    write_rows(tmp_path / name, rows)
    place = tmp_path / out
    arguments = (tmp_path / name, "--model", saved_models / "pointwise", "--out", place)
    assert run(monkeypatch, *arguments) == 0
    written = read_back(place)
    expected = score_rows(scorers("pointwise"), PROMPTS, RESPONSES)[:, 0].tolist()
    assert [float(row.pop("reward")) for row in written] == pytest.approx(expected, abs=1e-5)
    assert written == rows


def test_scored_parquet_joins_a_data_set_made_in_python(
    saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset, concatenate_datasets, load_dataset

    rows = [
        {
            "prompt": [{"role": "user", "content": "sun"}],
            "responses": RESPONSES[:2],
            "scores": [1, 2],
            "none": None,
        }
    ] * 2
    pl.DataFrame(rows, schema_overrides={"none": pl.String}).write_parquet(tmp_path / "in.parquet")
    assert str(parquet.read_schema(tmp_path / "in.parquet").field("none").type) == "large_string"
    out = tmp_path / "out.parquet"
    arguments = (tmp_path / "in.parquet", "--model", saved_models / "pointwise", "--out", out)
    assert run(monkeypatch, *arguments) == 0
    loaded = load_dataset(
        "parquet", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache")
    )
    made = Dataset.from_list([{**rows[0], "none": "a", "reward": [0.5, 1.5]}])
    assert loaded.features == made.features
    assert len(concatenate_datasets([loaded, made])) == 3


def test_rows_that_cannot_be_read_are_dropped_on_demand(
    saved_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    tools = {**SINGLE[0], "tools": [{"name": "f"}]}
    source.write_text(lines(*SINGLE) + "oops\n" + lines(tools, *SINGLE[:1]))
    arguments = (source, "--model", saved_models / "pointwise", "--out", out)
    assert run(monkeypatch, *arguments, "--bad-rows", "drop") == 0
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [0, 1, 2, 3, 0]
    assert capsys.readouterr().err.startswith(
        f"scored 5 rows; 2 dropped, which cannot be read, the first: {source}:5: not JSON"
    )
    assert run(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.endswith("; or give --bad-rows drop\n")


def test_a_bad_row_leaves_an_earlier_file_as_it_was(
    saved_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    out.write_text("earlier\n")
    source.write_text(lines(*SINGLE * 3) + "oops\n")
    arguments = (source, "--model", saved_models / "pointwise", "--out", out, "--batch", 1)
    assert run(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.startswith(f"westofn: {source}:13: not JSON")
    assert out.read_text() == "earlier\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (("gone.jsonl", "--model", "pointwise"), "gone.jsonl: no such file; give .jsonl"),
        ((".", "--model", "pointwise"), ".: the folder has"),
        (("-", "--model", "gone"), "gone is missing"),
        (("-", "--model", "pointwise", "--out", "."), ".: is a folder, needs a file name"),
        (("-", "--model", "pointwise", "--out", "/dev/null"), "/dev/null: is a device or a pipe"),
        (
            ("-", "--model", "pointwise", "--out", "x.txt"),
            "x.txt: needs a name that ends with .jsonl, .csv, .tsv, .parquet",
        ),
        (
            ("-", "--model", "pointwise", "-S", "response=y"),
            "-S response=y: needs prepare.columns.NAME=PATH",
        ),
        (
            ("-", "--model", "pointwise", "--out", "pointwise/x.jsonl"),
            "pointwise/x.jsonl: lies in pointwise",
        ),
    ],
)
def test_a_wrong_path_is_one_line(
    arguments: tuple[str, ...],
    needed: str,
    saved_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(saved_models)
    assert run(monkeypatch, *arguments, stdin=lines(*SINGLE)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"westofn: {needed}")


def row_of(
    place: str, prompt: str, responses: list[str], values: Mapping[str, object] | None = None
) -> Row:
    """A row of one response."""
    return Row(place, values or {}, "", "response", prompt, responses)


def endless(prompt: str, response: str, seen: list[int]) -> Iterator[Row]:
    for number in range(1000):
        seen.append(number)
        yield row_of(f"-:{number}", prompt, [response])


def test_rows_are_read_a_chunk_at_a_time(scorers: Build) -> None:
    seen: list[int] = []
    read_at_write: list[int] = []

    def write(rows: Sequence[Row], columns: Columns) -> None:
        assert len(rows) == len(columns) <= 8
        read_at_write.append(len(seen))

    counted: list[int] = []
    scored = score_stream(
        Ensemble.of(scorers("pointwise")),
        endless("sun", "good", seen),
        batch=2,
        write=write,
        advance=counted.append,
    )
    assert scored.rows == sum(counted) == 1000
    assert read_at_write == list(range(8, 1001, 8))


def test_a_prompt_of_several_rows_is_read_once_and_no_pool_exceeds_the_batch(
    scorers: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from westofn.scoring import stream

    pools: list[tuple[str, int]] = []
    real = stream.score_pools

    def counting(scorer: Scorer, prompts: Any, responses: Any, batch: int) -> Any:
        pools.extend(zip(prompts, map(len, responses), strict=True))
        return real(scorer, prompts, responses, batch)

    monkeypatch.setattr(stream, "score_pools", counting)
    rows = [
        row_of(f"-:{number}", PROMPTS[number % 2], [RESPONSES[number % 3]]) for number in range(6)
    ] + [row_of("-:6", "sun", RESPONSES[:1])]
    rewards: list[object] = []

    def write(rows: Sequence[Row], columns: Columns) -> None:
        rewards.extend(new["reward"] for new in columns)

    ensemble = Ensemble.of(scorers("pointwise"))
    score_stream(ensemble, rows, batch=2, write=write, advance=len_of_nothing)
    assert pools == [(PROMPTS[0], 2), (PROMPTS[1], 2), (PROMPTS[0], 1), (PROMPTS[1], 1), ("sun", 1)]
    texts = [row.responses[0] for row in rows]
    expected = score_rows(scorers("pointwise"), [row.prompt for row in rows], texts)[:, 0]
    assert rewards == pytest.approx(expected.tolist(), abs=1e-5)


def len_of_nothing(rows: int) -> None:
    """Nobody looks at how far it is."""


def test_memory_that_runs_out_changes_no_line(
    scorers: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from westofn.scoring import stream

    rows = [
        row_of(f"-:{i}", str(row["prompt"]), [str(row["response"])], row)
        for i, row in enumerate(SINGLE)
    ]

    def written() -> list[dict[str, Any]]:
        lines = io.BytesIO()
        score_stream(
            Ensemble.of(scorers("pointwise")),
            rows,
            batch=8,
            write=JsonLines(lines).write,
            advance=len_of,
        )
        return [json.loads(line) for line in lines.getvalue().splitlines()]

    def len_of(rows: int) -> None:
        assert rows == 4

    expected = written()
    real = stream.score_pools

    def out_of_memory(*given: Any) -> Any:
        if len(given[1]) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return real(*given)

    monkeypatch.setattr(stream, "score_pools", out_of_memory)
    after = written()
    assert [row.pop("reward") for row in after] == pytest.approx(
        [row.pop("reward") for row in expected], abs=1e-5
    )
    assert after == expected == SINGLE


def test_an_answer_that_is_not_finite_is_refused(small_encoder: Encoder) -> None:
    broken = tiny_scorer(small_encoder, "pointwise")
    torch.nn.init.constant_(broken.model.head.weight, float("nan"))
    with pytest.raises(ModelError, match=r"-:0: the model's reward is nan, needs a finite"):
        score_stream(
            Ensemble.of(broken), endless("sun", "good", []), batch=1, write=print, advance=print
        )


def of_gpt2(words: PreTrainedTokenizerFast) -> Ensemble:
    """A model with positions for 64 tokens."""
    encoder = Encoder(words, 10, 8, "causal")
    model = RewardModel(tiny_model("gpt2", encoder), "pointwise", 0)
    return Ensemble.of(Scorer(model.eval(), encoder))


def scored_alone(ensemble: Ensemble, rows: Sequence[Row]) -> tuple[list[Any], Scored]:
    columns: list[Mapping[str, object]] = []

    def write(_: Sequence[Row], new: Columns) -> None:
        columns.extend(new)

    scored = score_stream(ensemble, rows, batch=8, write=write, advance=len_of_nothing)
    return [new["reward"] for new in columns], scored


def test_a_row_that_a_model_has_no_positions_for_costs_no_other(
    words: PreTrainedTokenizerFast,
) -> None:
    texts = ["good", "bad", "cat " * 80, "good"]
    rows = [row_of(f"in.jsonl:{i}", "sun", [text]) for i, text in enumerate(texts, 1)]
    ensemble = of_gpt2(words)
    rewards, scored = scored_alone(ensemble, rows)
    without, _ = scored_alone(ensemble, [rows[0], rows[1], rows[3]])
    assert rewards[2] is None
    assert [rewards[0], rewards[1], rewards[3]] == pytest.approx(without, abs=1e-6)
    assert scored.unscored.count == 1
    needed = r"in\.jsonl:3: the response 'cat .* has 82 tokens, this gpt2 has positions for 64"
    assert re.match(needed, scored.unscored.first)


def test_rows_of_which_none_fits_are_an_error(words: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ModelError, match=r"in\.jsonl:1: the response .* positions for 64"):
        scored_alone(of_gpt2(words), [row_of("in.jsonl:1", "sun", ["cat " * 80])])


@pytest.mark.parametrize("count", [3_000, 60_000])
def test_a_row_beyond_memory_is_named_before_memory_is_asked_for(
    count: int, scorers: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from westofn.scoring import stream

    monkeypatch.setattr(stream, "free_bytes", lambda _: 2**20)
    rows = [
        row_of(f"in.jsonl:{number}", "sun", [text])
        for number, text in enumerate(["good", " ".join(["cat"] * count), "bad"], 1)
    ]
    rewards, scored = scored_alone(Ensemble.of(scorers("pointwise")), rows)
    assert [reward is None for reward in rewards] == [False, True, False]
    assert scored.unscored.first.startswith(f"in.jsonl:2: a response has {count:,} tokens, whose")


def test_a_row_for_which_memory_runs_out_is_null(
    scorers: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from westofn.scoring import stream

    real = stream.score_pools

    def out_of_memory(*given: Any) -> Any:
        if any("cat" in text for pool in given[2] for text in pool):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 2000000000000 bytes")
        return real(*given)

    monkeypatch.setattr(stream, "score_pools", out_of_memory)
    rows = [row_of(f"in.jsonl:{text}", "sun", [text]) for text in ("good", "cat", "bad")]
    rewards, scored = scored_alone(Ensemble.of(scorers("pointwise")), rows)
    assert [reward is None for reward in rewards] == [False, True, False]
    assert scored.unscored.first == "in.jsonl:cat: memory runs out; use a machine with more"


def westofn(*arguments: object, stdout: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "westofn", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
    )


def test_a_reader_that_leaves_ends_scoring(saved_models: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(lines(*SINGLE * 2000))
    scoring = westofn(
        "score", source, "--model", saved_models / "pointwise", stdout=subprocess.PIPE
    )
    assert scoring.stdout
    assert scoring.stderr
    with scoring.stderr as errors:
        first = scoring.stdout.readline()
        scoring.stdout.close()
        said = errors.read()
    assert json.loads(first)["reward"]
    assert said == b""
    assert scoring.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("command_line", ["score", "inspect", "preset"])
def test_a_full_stdout_is_one_line(command_line: str, saved_models: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(lines(*SINGLE))
    arguments: dict[str, list[object]] = {
        "score": [source, "--model", saved_models / "pointwise"],
        "inspect": [source, "--kind", "demonstrations", "--json"],
        "preset": [],
    }
    with Path("/dev/full").open("wb") as full:
        running = westofn(command_line, *arguments[command_line], stdout=full)
        assert running.stderr
        with running.stderr as errors:
            said = errors.read()
    assert said.startswith(b"westofn: stdout: cannot be written: the disk is full; free")
    assert said.count(b"\n") == 1
    assert running.wait() == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_with_a_name_is_refused_and_never_opened(
    saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    assert run(monkeypatch, tmp_path / "rows.jsonl", "--model", saved_models / "pointwise") == 2
    assert "rows.jsonl: a pipe; needs a file or folder: mend FILE" in capsys.readouterr().err
