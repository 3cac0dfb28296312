"""`python -m westofn score`: rewards and margins of JSONL, by saved models."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.small_families import tiny_model
from tests.small_models import PROMPTS, RESPONSES, tiny_scorer
from westofn import __main__ as command
from westofn.errors import ModelError
from westofn.models.ensemble import Ensemble
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins, score_rows
from westofn.params.comparator import ComparatorName
from westofn.scoring.rows import Row
from westofn.scoring.stream import score_stream
from westofn.text.encoding import Encoder

ROOT = Path(__file__).resolve().parents[2]
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
        (("gone.jsonl", "--model", "pointwise"), "gone.jsonl: cannot be read (No such file"),
        ((".", "--model", "pointwise"), ".: cannot be read (Is a directory"),
        (("-", "--model", "gone"), "gone is missing"),
        (("-", "--model", "pointwise", "--out", "."), ".: is a folder, needs a file name"),
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


def endless(prompt: str, response: str, seen: list[int]) -> Iterator[Row]:
    text = json.dumps({"prompt": prompt, "response": response})
    for number in range(1000):
        seen.append(number)
        yield Row(f"-:{number}", text, "response", prompt, [response])


def test_rows_are_read_a_chunk_at_a_time(scorers: Build) -> None:
    seen: list[int] = []
    read_at_write: list[int] = []

    def write(chunk: bytes) -> None:
        assert chunk.count(b"\n") <= 8
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
        Row(f"-:{number}", "{}", "response", PROMPTS[number % 2], [RESPONSES[number % 3]])
        for number in range(6)
    ] + [Row("-:6", "{}", "response", "sun", RESPONSES[:1])]
    written: list[bytes] = []
    ensemble = Ensemble.of(scorers("pointwise"))
    score_stream(ensemble, rows, batch=2, write=written.append, advance=len_of_nothing)
    assert pools == [(PROMPTS[0], 2), (PROMPTS[1], 2), (PROMPTS[0], 1), (PROMPTS[1], 1), ("sun", 1)]
    found = [float(line.split(b" ")[-1][:-1]) for line in b"".join(written).splitlines()]
    texts = [row.responses[0] for row in rows]
    expected = score_rows(scorers("pointwise"), [row.prompt for row in rows], texts)[:, 0]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def len_of_nothing(rows: int) -> None:
    """Nobody looks at how far it is."""


def test_memory_that_runs_out_changes_no_line(
    scorers: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from westofn.scoring import stream

    rows = [
        Row(f"-:{i}", json.dumps(row), "response", str(row["prompt"]), [str(row["response"])])
        for i, row in enumerate(SINGLE)
    ]

    def lines_of() -> bytes:
        written: list[bytes] = []
        score_stream(
            Ensemble.of(scorers("pointwise")), rows, batch=8, write=written.append, advance=len_of
        )
        return b"".join(written)

    def len_of(rows: int) -> None:
        assert rows == 4

    expected = [json.loads(line) for line in lines_of().splitlines()]
    real = stream.score_pools

    def out_of_memory(*given: Any) -> Any:
        if len(given[1]) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return real(*given)

    monkeypatch.setattr(stream, "score_pools", out_of_memory)
    found = [json.loads(line) for line in lines_of().splitlines()]
    assert [row.pop("reward") for row in found] == pytest.approx(
        [row.pop("reward") for row in expected], abs=1e-5
    )
    assert found == expected


def test_an_answer_that_is_not_finite_is_refused(small_encoder: Encoder) -> None:
    broken = tiny_scorer(small_encoder, "pointwise")
    torch.nn.init.constant_(broken.model.head.weight, float("nan"))
    with pytest.raises(ModelError, match=r"-:0: the model's reward is nan, needs a finite"):
        score_stream(
            Ensemble.of(broken), endless("sun", "good", []), batch=1, write=len, advance=print
        )


def test_a_row_that_a_model_has_no_positions_for_is_named(words: PreTrainedTokenizerFast) -> None:
    encoder = Encoder(words, 10, 8, "causal")
    model = RewardModel(tiny_model("gpt2", encoder), "pointwise", 0)
    rows = [
        Row(f"in.jsonl:{number}", "{}", "response", "sun", [text])
        for number, text in enumerate(["good", "bad", "cat " * 80, "good"], 1)
    ]
    needed = r"in\.jsonl:3: the response 'cat .* has 82 tokens, this gpt2 has positions for 64"
    with pytest.raises(ModelError, match=needed):
        score_stream(
            Ensemble.of(Scorer(model.eval(), encoder)), rows, batch=8, write=len, advance=print
        )


def test_a_reader_that_leaves_is_no_traceback(saved_models: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(lines(*SINGLE * 2000))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    scoring = subprocess.Popen(
        [sys.executable, "-m", "westofn", "score", source, "--model", saved_models / "pointwise"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert scoring.stdout
    assert scoring.stderr
    with scoring.stderr as errors:
        first = scoring.stdout.readline()
        scoring.stdout.close()
        said = errors.read()
    scoring.wait()
    assert json.loads(first)["reward"]
    assert said == b""
