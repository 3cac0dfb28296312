"""What commands print, where nobody reads it, the disk is full, or few characters are known."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from tests.terminal import in_terminal
from westofn.artifacts.prompts import PROMPTS

ROOT = Path(__file__).resolve().parents[1]
ARM = {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "on_policy_accuracy": 0.6}
ROWS = '{"prompt": "Ä", "chosen": "größer → ja", "rejected": "日本"}\n'
COMMANDS = (
    ("summary", "metrics.json"),
    ("show", "prompts.parquet"),
    ("preset",),
    ("preset", "hh-helpful", "--dry-run"),
    ("inspect", "rows.jsonl"),
    ("inspect", "rows.jsonl", "--json"),
    ("--help",),
)
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    arms = dict.fromkeys(("hf50", "hf100", "k1", "base"), ARM)
    Path("metrics.json").write_text(json.dumps(arms))
    texts = ["Ä → 日本 …"] * 3
    names = ["p0", "p1", "p2"]
    PROMPTS.write(
        PROMPTS.frame({"prompt_id": names, "prompt": texts, "split": ["test"] * 3}),
        Path("prompts.parquet"),
    )
    Path("rows.jsonl").write_text(ROWS * 30, encoding="utf-8")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def run(
    arguments: tuple[str, ...], stdout: int | IO[bytes] | None, **variables: str
) -> tuple[int, str, str]:
    """Run a command as a process: exit code and both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "westofn", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_behind_stdout_is_one_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, _, err = run(arguments, full)
    line = "westofn: stdout: cannot be written: the disk is full; free some space and rerun\n"
    assert (code, err) == (2, line)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_reader_that_has_left_is_no_error_message(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        assert run(arguments, pipe) == (141, "", "")


def test_a_full_disk_behind_stderr_keeps_the_exit_code() -> None:
    with Path("/dev/full").open("wb") as full:
        for command in ("summary none.json", "bad"):
            done = subprocess.run(
                [sys.executable, "-m", "westofn", *command.split()],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=full,
                check=False,
            )
            assert (done.returncode, done.stdout) == (2, b"")


def test_a_closed_stdout_is_refused() -> None:
    command = f"{sys.executable} -m westofn summary metrics.json >&-"
    done = subprocess.run(
        ["sh", "-c", command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "westofn: stdout is closed, needs a place for results such as /dev/null\n"
    )


@pytest.mark.parametrize("arguments", COMMANDS)
def test_an_encoding_without_a_character_prints_another(arguments: tuple[str, ...]) -> None:
    code, out, err = run(arguments, subprocess.PIPE, **ASCII)
    assert (code, err) == (0, "")
    assert out.isascii()
    assert out


def test_a_negative_number_stays_negative_in_such_an_encoding() -> None:
    arms = {"hf50": {"best_of_n_gold": 1.5}, "k1": {"best_of_n_gold": -2.25}}
    Path("metrics.json").write_text(json.dumps(arms))
    code, out, err = run(("summary",), subprocess.PIPE, **ASCII)
    assert (code, err) == (0, "")
    assert re.search(r"West-of-N.* -2\.25|k1.* -2\.25", out)
    assert "?" not in out


def test_json_in_such_an_encoding_loses_nothing() -> None:
    arguments = ("inspect", "rows.jsonl", "--json")
    outs = [run(arguments, subprocess.PIPE, **variables)[1] for variables in (ASCII, {})]
    assert outs[0].isascii()
    assert json.loads(outs[0]) == json.loads(outs[1])
    assert "größer" in outs[1]


def test_a_narrow_terminal_drops_no_label() -> None:
    wide, narrow = (
        run(("summary", "metrics.json"), subprocess.PIPE, COLUMNS=width)[1]
        for width in ("80", "40")
    )
    assert narrow == wide
    for label in ("HF50", "HF100", "accuracy", "70.0 to 80.0"):
        assert label in narrow


@pytest.mark.parametrize("width", [80, 40])
def test_an_error_in_a_terminal_breaks_between_words_and_in_a_pipe_not_at_all(width: int) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 0", "seed: -1"))
    stage = ("stages.prepare", "--out", "o", "--world", "w")
    command = [sys.executable, "-m", *stage]
    line = (
        "prepare: params.yaml: seed is -1, needs greater than or equal to 0 (changed since the "
        "last commit: `git diff params.yaml` shows what, `git checkout params.yaml` takes all of "
        "it back)"
    )
    subprocess.run(["git", "init", "-q"], check=True)
    for arguments in (["add", "params.yaml"], ["commit", "-qm", "wrong"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t", *arguments], check=True)
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "\n")
    piped = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert (piped.returncode, piped.stderr.decode()) == (2, f"{line}\n")
    code, shown = in_terminal(command, width)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert code == 2
    assert " ".join(map(str.strip, lines)) == line
    assert max(map(len, lines)) <= width
    assert any("`git checkout params.yaml`" in each for each in lines)
