"""`export … --push`: what reaches the hub, who sees it, and what is said when it is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard, constants

from tests.exporting.hub_stub import Hub, serve_hub
from westofn import __main__ as command
from westofn.models.policy import Policy, save_policy

TOKEN = "hf_canaryCanaryCanary000"
ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = "export pairs out/pairs.jsonl --push me/pairs"


@pytest.fixture
def hub(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub at HF_ENDPOINT, and a finished run in the working folder."""
    monkeypatch.chdir(data.parent)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with serve_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub


def called(arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Exit code, and lines of stderr, of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["westofn", *arguments.split()])
        with pytest.raises(SystemExit) as end:
            command.main()
    told = capsys.readouterr()
    assert not told.out
    assert TOKEN not in told.err
    return int(end.value.code or 0), told.err.splitlines()


def error(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends in an error."""
    code, lines = called(arguments, capsys)
    assert code == 2
    assert [line for line in lines if not line.startswith("written:")] == lines[-1:]
    return lines[-1]


def test_a_new_repository_is_private_and_gets_file_and_card_in_one_commit(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = called(ARGUMENTS, capsys)
    assert code == 0
    assert lines[-1] == f"pushed: {hub.url}/datasets/me/pairs (private)"
    assert hub.repositories["datasets/me/pairs"]["private"] is True
    ((path, header, files),) = hub.commits
    assert path == "/api/datasets/me/pairs/commit/main"
    assert header["summary"] == "Export pairs.jsonl"
    assert files == {name: Path("out", name).read_bytes() for name in ("pairs.jsonl", "README.md")}
    assert set(hub.tokens) == {f"Bearer {TOKEN}"}
    assert all(TOKEN.encode() not in content for content in files.values())
    assert DatasetCard(files["README.md"].decode()).data.tags[0] == "preference"


def test_public_and_a_name_without_owner(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "export pairs out/pairs.jsonl --push pairs --public"
    for _ in range(2):
        assert called(arguments, capsys)[1][-1] == (f"pushed: {hub.url}/datasets/me/pairs (public)")
    assert hub.repositories["datasets/me/pairs"]["private"] is False
    assert [path for path, _, _ in hub.commits] == ["/api/datasets/me/pairs/commit/main"] * 2


def test_a_large_file_goes_by_lfs(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.large = (".jsonl",)
    assert called(ARGUMENTS, capsys)[0] == 0
    assert list(hub.stored.values()) == [Path("out/pairs.jsonl").read_bytes()]
    assert hub.commits[0][2]["pairs.jsonl"] == Path("out/pairs.jsonl").read_bytes()


@pytest.mark.parametrize("kind", ["rm", "policy"])
def test_a_model_is_pushed_with_all_its_files_in_one_commit(
    kind: str,
    hub: Hub,
    saved_models: Path,
    small_policy: Policy,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.large = (".safetensors",)
    save_policy(small_policy, Path("policy"), [("sun", "good")], {"steps": 6})
    model = {"rm": saved_models / "ensemble", "policy": Path("policy")}[kind]
    code, lines = called(f"export {kind} out --model {model} --push me/{kind}", capsys)
    assert code == 0
    assert lines[-1] == f"pushed: {hub.url}/me/{kind} (private)"
    ((path, _, files),) = hub.commits
    assert path == f"/api/models/me/{kind}/commit/main"
    written = {file for file in Path("out").rglob("*") if file.is_file()}
    assert files == {file.relative_to("out").as_posix(): file.read_bytes() for file in written}
    assert any(name.endswith(".safetensors") for name in files)
    assert "west-of-n" in ModelCard(files["README.md"].decode()).data.tags


def test_what_the_hub_remarks_on_the_card_is_shown(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.warned = [f"no language,\nsays {TOKEN}"]
    remark = "the hub remarks: Warnings while validating metadata in README.md: - no language, says"
    assert called(ARGUMENTS, capsys)[1][-2] == f"{remark} (hidden)"


@pytest.mark.parametrize(
    ("path", "status", "needed"),
    [
        ("/api/repos/create", 401, "the token is not valid: run `hf auth login`, or set HF_TOKEN"),
        ("/api/repos/create", 403, "the token may not write there: give a name of your own"),
        ("/api/repos/create", 500, "wait some minutes and rerun"),
        ("/api/datasets/me/pairs/preupload", 403, "the token may not write there"),
        ("/api/datasets/me/pairs/commit", 409, "another change was made at the same time: rerun"),
        ("/api/datasets/me/pairs/commit", 429, "too many requests"),
        ("/api/datasets/me/pairs/commit", 400, "mend what it names and rerun"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_the_export(
    path: str, status: int, needed: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refused[path] = (status, f"no,\nnot with {TOKEN}")
    line = error(ARGUMENTS, capsys)
    assert line.startswith(f"westofn: --push me/pairs: {hub.url} answers {status} (")
    assert "no, not with (hidden)" in line
    assert needed in line
    assert line.endswith("; the export is in out/pairs.jsonl")
    assert sorted(path.name for path in Path("out").iterdir()) == ["README.md", "pairs.jsonl"]
    assert hub.commits == []


def test_a_repository_that_is_no_earlier_push_is_left_alone(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"id": "me/pairs", "private": True, "tags": [], "siblings": [{"rfilename": "a.csv"}]}
    hub.repositories["datasets/me/pairs"] = known
    assert "me/pairs exists and is not an export of westofn; give another name" in error(
        ARGUMENTS, capsys
    )
    known["tags"] = ["west-of-n"]
    assert "me/pairs exists and has a.csv, which is not a file of this export; delete it" in error(
        ARGUMENTS, capsys
    )
    known["private"] = False
    assert "me/pairs exists and is public, needs to be private; add --public" in error(
        ARGUMENTS, capsys
    )
    known["private"] = True
    assert "me/pairs exists and is private, needs to be public; leave out --public" in error(
        f"{ARGUMENTS} --public", capsys
    )
    assert hub.commits == []


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("--push me/pa/irs", "--push: 'me/pa/irs' is not a name on the hub, needs OWNER/NAME"),
        (f"--push me/{TOKEN}", "--push: this is the token, needs a name on the hub"),
        ("--public", "--public needs --push, a name on the hub; leave out --public"),
        ("--push me/p --license MIT!", "--license: 'MIT!' is not an identifier of a license"),
        ("--push me/p --iteration k7", "--iteration: 'k7' is none of k1"),
    ],
)
def test_wrong_options_and_failed_exports_create_nothing(
    arguments: str, needed: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert needed in error(f"export pairs out/pairs.jsonl {arguments}", capsys)
    assert not Path("out").exists()
    assert hub.paths == []


def test_without_token_or_hub_an_error_comes_before_the_export(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert (
        "http://127.0.0.1:9 cannot be reached; connect this machine, mend HF_ENDPOINT, or leave out"
        in error(ARGUMENTS, capsys)
    )
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token for http://127.0.0.1:9; run `hf auth login`, or set HF_TOKEN" in (
        error(ARGUMENTS, capsys)
    )
    monkeypatch.setattr(constants, "ENDPOINT", "https://me:word@hub")
    line = error(ARGUMENTS, capsys)
    assert "HF_ENDPOINT has a name or a password, needs an address alone" in line
    assert "word@" not in line
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set, so nothing can be pushed; unset it" in error(ARGUMENTS, capsys)
    assert not Path("out").exists()


def test_a_token_of_the_login_is_used_and_hidden(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "login").write_text(TOKEN)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "login"))
    assert called(ARGUMENTS, capsys)[0] == 0
    assert set(hub.tokens) == {f"Bearer {TOKEN}"}
    hub.refused["/api"] = (401, f"{TOKEN} has expired")
    assert "answers 401 ((hidden) has expired)" in error(ARGUMENTS, capsys)


def test_a_connection_that_breaks_is_an_error_of_one_line(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("westofn.exporting.push.hub_answers", lambda: True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    line = error(ARGUMENTS, capsys)
    assert "the transfer broke off (ConnectError: " in line
    assert line.endswith("check the network and rerun; the export is in out/pairs.jsonl")
    assert Path("out/pairs.jsonl").is_file()


def test_the_command_reads_address_and_token_from_the_environment(hub: Hub) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_DEBUG": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "westofn", *ARGUMENTS.split()],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert f"pushed: {hub.url}/datasets/me/pairs (private)" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert len(hub.commits) == 1
