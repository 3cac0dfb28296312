"""`python -m westofn`: summary, show, doctor."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from westofn import __main__ as command
from westofn.artifacts.prompts import PROMPTS

ARM = {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "on_policy_accuracy": 0.6}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["westofn", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    return int(end.value.code or 0)


def prompts(count: int = 5) -> pl.DataFrame:
    names = [f"p{index}" for index in range(count)]
    texts = [f"[text] of {name}" for name in names]
    return PROMPTS.frame({"prompt_id": names, "prompt": texts, "split": ["test"] * count})


class TestSummary:
    def test_the_table_and_where_the_report_lies(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("metrics.json").write_text(json.dumps({"hf50": ARM}))
        assert run(monkeypatch, "summary") == 0
        printed = capsys.readouterr().out
        assert "HF50" in printed
        assert "75.0 (70.0–80.0)" in printed
        assert str(Path("data/report/report.html").resolve()) in printed

    @pytest.mark.parametrize(
        ("content", "needed"),
        [
            (None, "metrics.json: no such file; rerun report"),
            ("", "metrics.json: the file is empty, needs a JSON object; rerun report"),
            ('{"hf50": ', "metrics.json:1: not JSON"),
            ("[]", "metrics.json: holds a list, needs a JSON object; rerun report"),
            ('{"hf50": 0.7}', "metrics.json: hf50 is 0.7, needs an arm's metrics; rerun report"),
        ],
        ids=["missing", "empty", "cut short", "a list", "flat"],
    )
    def test_a_bad_file_is_one_line(
        self,
        content: str | None,
        needed: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if content is not None:
            Path("metrics.json").write_text(content)
        assert run(monkeypatch, "summary") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"westofn: {needed}")


class TestShow:
    def test_the_first_rows_of_a_valid_artifact(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        PROMPTS.write(prompts(), "prompts.parquet")
        assert run(monkeypatch, "show", "prompts.parquet", "--rows", "2") == 0
        printed = capsys.readouterr().out
        assert "prompts.parquet: table prompts, 5 rows, valid" in printed
        assert PROMPTS.description in printed
        assert "[text] of p1" in printed
        assert "[text] of p2" not in printed

    def test_a_broken_artifact_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        prompts().rename({"split": "spilt"}).write_parquet("prompts.parquet")
        assert run(monkeypatch, "show", "prompts.parquet") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("westofn: prompts.parquet: ")
        assert "column split is missing (did you mean spilt?)" in line

    def test_a_file_of_no_table_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "show", "promts.parquet") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "no table is called promts (did you mean prompts?)" in line

    def test_a_negative_number_of_rows_is_a_usage_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "show", "prompts.parquet", "--rows", "-1") == 2
        assert "--rows" in capsys.readouterr().err


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _clone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A root that is well."""
        shutil.copy(ROOT / "params.yaml", "params.yaml")
        Path(".dvc").mkdir()
        Path(".dvc/config").touch()
        subprocess.run(["git", "init", "-q"], check=True)
        monkeypatch.setenv("WESTOFN_DEVICE", "cpu")
        monkeypatch.setattr(command, "FREE_GIB", 0)

    def test_a_root_that_is_well(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "doctor") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines
        assert all(line.startswith("ok") for line in lines)
        for what in ("Python", "torch", "params.yaml", "runtime.toml", "disk", "device", "git"):
            assert any(what in line for line in lines), what

    def test_every_ailment_is_named_at_once(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("params.yaml").unlink()
        Path("runtime.toml").write_text("devise = 1\n")
        shutil.rmtree(".dvc")
        shutil.rmtree(".git")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
        monkeypatch.setattr(command, "FREE_GIB", 10**9)
        version = importlib.metadata.version

        def without_dvc(name: str) -> str:
            if name == "dvc":
                raise importlib.metadata.PackageNotFoundError(errno.ENOENT)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", without_dvc)
        assert run(monkeypatch, "doctor") == 2
        captured = capsys.readouterr()
        ailing = [line for line in captured.out.splitlines() if line.startswith("no ")]
        for what in ("dvc ", "params.yaml", "runtime.toml", "disk", "device", "DVC", "git"):
            assert any(line[3:].strip().startswith(what) for line in ailing), what
        assert any("no repository here" in line for line in ailing)
        assert captured.err == ""

    def test_a_machine_without_git_is_told_to_install_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", "")
        assert run(monkeypatch, "doctor") == 2
        assert "install git" in capsys.readouterr().out


def test_no_command_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch) == 2
    assert "Missing command" in capsys.readouterr().err
