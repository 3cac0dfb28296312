"""Control characters in data, names and parameters: no command sends one to the terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from tests.repo.pipelines import ROOT
from tests.stages.pipeline import Tiny
from westofn import __main__ as command
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError, WestofnError
from westofn.scoring.rows import Row
from westofn.scoring.writing import JsonLines, writer_to
from westofn.terminal import Terminal

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x08\r\x7f\u202e\u2028end"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
Run = Callable[..., str]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """A command in an empty folder; what it wrote to both streams."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["westofn", *arguments])
        with pytest.raises(SystemExit):
            command.main()
        captured = capfdbinary.readouterr()
        return (captured.out + captured.err).decode()

    return call


def rows(*rows: object) -> str:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "rows.jsonl"


PAIR = {"prompt": "which?", "chosen": "this", "rejected": "that"}


def _named(name: str, content: str) -> str:
    Path(name).write_text(content)
    return name


# Data of an attacker, and what `inspect` or `score` is called with.
FILES: dict[str, Callable[[], tuple[str, ...]]] = {
    "texts": lambda: (rows({name: f"{EVIL} {text}" for name, text in PAIR.items()}),),
    "an unread column": lambda: (rows({**PAIR, f"more {EVIL}": EVIL}),),
    "subsets": lambda: (rows({**PAIR, "source": EVIL, "subset": EVIL}),),
    "a file's name": lambda: (_named(f"a{EVIL}.jsonl".replace("/", ""), json.dumps(PAIR) + "\n"),),
    "a missing file": lambda: (f"none{EVIL}.jsonl",),
    "columns that are unknown": lambda: (rows({f"{EVIL}{n}": EVIL for n in range(3)}),),
    "a type that is wrong": lambda: (rows(PAIR, {**PAIR, "chosen": {EVIL: [EVIL]}}),),
    "a line that is no JSON": lambda: (_named("rows.jsonl", f'{{"prompt": "{EVIL}"\n'),),
    "a line that is text": lambda: (_named("rows.jsonl", f"{EVIL}\n{EVIL}\n"),),
    "a header": lambda: (_named("rows.csv", f"prompt,{EVIL!r},{EVIL[:20]}\nx,y\n"),),
    "a mapping": lambda: (
        rows(PAIR),
        *(f"-Sprepare.columns.{name}={name}" for name in ("chosen", "rejected")),
        f"-Sprepare.columns.prompt={EVIL}",
    ),
    "a setting": lambda: (rows(PAIR), "-S", f"prepare.{EVIL}=1"),
}


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("name", FILES)
def test_inspect_writes_no_control_characters(name: str, form: tuple[str, ...], run: Run) -> None:
    written = run("inspect", *FILES[name](), *form)
    assert "owned" in written
    assert CONTROLS.findall(written) == []


@pytest.mark.parametrize("name", FILES)
def test_score_writes_no_control_characters_of_its_own(
    name: str, run: Run, saved_models: Path
) -> None:
    arguments = FILES[name]()
    model = str(saved_models / "pointwise")
    written = run("score", *arguments, "--model", model, "--bad-rows", "drop", "--out", "x.jsonl")
    assert CONTROLS.findall(written) == []


def test_show_writes_no_control_characters(run: Run) -> None:
    table = {"prompt_id": [f"p{EVIL}"], "prompt": [EVIL], "split": ["test"]}
    PROMPTS.write(PROMPTS.frame(table), Path("prompts.parquet"))
    written = run("show", "prompts.parquet")
    assert "owned" in written
    assert CONTROLS.findall(written) == []


def test_parameters_write_no_control_characters(tmp_path: Path) -> None:
    tiny = Tiny.make(tmp_path / "root")
    for changes in ({"sft": {"model": EVIL}}, {"sft": {"chat_template": EVIL}}, {EVIL: 1}):
        copy = tiny.copy(tmp_path / str(len(list(tmp_path.iterdir()))))
        copy.change(changes)
        outcome = copy.call("check")
        assert outcome.code == 2
        assert "owned" in outcome.stderr
        assert CONTROLS.findall(outcome.stderr + outcome.stdout) == []


def test_a_terminal_gets_its_colours_and_no_codes_of_the_data() -> None:
    out = io.StringIO()
    terminal = Terminal(file=out, force_terminal=True, width=80, color_system="standard")
    table = Table(f"head {EVIL}")
    table.add_row(Text(EVIL, style="red"))
    for shown in (EVIL, Text(EVIL, style="bold"), table):
        terminal.print(shown, markup=False, highlight=False)
    written = out.getvalue()
    assert "\x1b[31m" in written  # rich's own red
    assert r"\x1b]0;owned" in written
    assert set(re.findall("\x1b.?", written)) == {"\x1b["}
    assert set(re.findall(r"\x1b\[[^m]*.", written)) <= {"\x1b[0m", "\x1b[1m", "\x1b[31m"}
    assert CONTROLS.findall(written.replace("\x1b", "")) == []


def test_the_project_prints_on_no_other_console() -> None:
    files = [path for folder in ("westofn", "stages") for path in (ROOT / folder).rglob("*.py")]
    makers = {path.name for path in files if re.search(r"\bConsole\(", path.read_text("utf-8"))}
    assert len(files) > 200
    assert makers == set()


def test_an_error_is_one_line_with_escapes() -> None:
    assert str(DataError(f"a\tb {EVIL}")).startswith("a\\tb \\x1b]0;owned\\x07\\x1b[2J\\x9b31m")
    assert all(CONTROLS.search(str(kind(EVIL))) is None for kind in WestofnError.__subclasses__())


def test_json_lines_for_a_terminal_mean_the_same_without_controls() -> None:
    text = json.dumps({"prompt": EVIL}, ensure_ascii=False)
    row = Row("-:1", {"prompt": EVIL}, text, "response", EVIL, ["y"])
    plain = io.BytesIO()
    JsonLines(plain).write([row], [{"reward": 1.0}])
    assert plain.getvalue().decode().startswith(text[:-1])  # its bytes, for a file or a pipe
    reader, writer = pty.openpty()
    with open(writer, "wb", buffering=0) as handle:  # noqa: PTH123 (a descriptor)
        JsonLines(handle).write([row], [{"reward": 1.0}])
        shown = os.read(reader, 10_000).decode()
    os.close(reader)
    assert json.loads(shown) == json.loads(plain.getvalue()) == {"prompt": EVIL, "reward": 1.0}
    assert CONTROLS.findall(shown.replace("\r\n", "\n")) == []


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_cells_that_a_spreadsheet_would_run_are_kept_and_counted(
    ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = io.BytesIO()
    writer = writer_to(handle, ending, Path("rows.jsonl"))
    values = {"prompt": "=cmd|' /C calc'!A0", "@x": " -1+1", "n": -1.5, "plain": "a = b"}
    row = Row("-:1", values, "", "response", "", ["y"])
    writer.write([row], [{"reward": -2.0}])
    writer.close()
    assert "=cmd|' /C calc'!A0" in handle.getvalue().decode()
    # The header @x, the prompt and " -1+1"; numbers are none.
    assert "warning: 3 cells begin with =, +, -, @" in capsys.readouterr().err
