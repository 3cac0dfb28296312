"""Canaries: keys of the environment reach a server, and no file and no line."""

from __future__ import annotations

import base64
import contextlib
import io
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.judging.stub_server import refused, said, serve
from tests.stages.pipeline import Outcome, Tiny
from westofn import __main__ as command
from westofn.errors import DataError

KEY = "sk-canary/9f3b+61d77e0a"
HUB_TOKEN = "hf_canaryCanaryCanary000"
SECRETS = (KEY, HUB_TOKEN)
FORMS = [
    form.encode()
    for secret in SECRETS
    for form in (
        secret,
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode().rstrip("=")[:-1],
    )
]


@pytest.fixture
def secret(made: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A finished run with secrets in the environment, as the working folder."""
    tiny = made.copy(tmp_path / "root")
    monkeypatch.chdir(tiny.root)
    for name in ("OPENAI_API_KEY", "JUDGE_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("HF_TOKEN", HUB_TOKEN)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", HUB_TOKEN)
    return tiny


def holders(tiny: Tiny) -> list[str]:
    """Files that hold a secret, in plain or in another form."""
    files = [path for path in tiny.root.rglob("*") if path.is_file()]
    assert len(files) > 50
    return [str(path) for path in files if any(form in path.read_bytes() for form in FORMS)]


def told(outcome: Outcome) -> list[str]:
    text = (outcome.stdout + outcome.stderr).encode()
    return [form.decode() for form in FORMS if form in text]


def called(*arguments: str) -> Outcome:
    """A command of `python -m westofn`."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["westofn", *arguments])
        try:
            command.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


def judged_by(tiny: Tiny, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESTOFN_JUDGE_URL", url)
    tiny.change({"study": {"judge": {"kind": "openai", "prompted": {"model": "judge"}}}})


def test_a_run_with_keys_writes_and_prints_none(
    secret: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(lambda number, body: said("A", {"A": -0.5, "B": -1.0})) as stub:
        judged_by(secret, stub.url, monkeypatch)
        stages = ("check", "sft", "study_pools", "study_judge", "student_rm@k1", "report")
        outcomes = [secret.call(name) for name in stages]
        assert set(stub.keys) == {f"Bearer {KEY}"}
    commands = (
        "summary",
        "export pairs exports/pairs.jsonl",
        "export rm exports/rm",
        "export policy exports/policy --model data/loop/k0/policy",
        "export questions exports/questions --count 2",
    )
    outcomes += [called(*arguments.split()) for arguments in commands]
    assert [outcome.code for outcome in outcomes] == [0] * 11
    outcomes.append(called("doctor"))
    assert [line for outcome in outcomes for line in told(outcome)] == []
    assert holders(secret) == []


def _mistakes() -> dict[str, Any]:
    return {
        "a password in the address": {"WESTOFN_JUDGE_URL": f"https://me:{KEY}@host/v1"},
        "no scheme": {"WESTOFN_JUDGE_URL": f"me:{KEY}@host/v1"},
        "a key in the query": {"WESTOFN_JUDGE_URL": f"https://host/v1?key={KEY}"},
        "a key after the fragment": {"WESTOFN_JUDGE_URL": f"https://host/v1#{KEY}"},
        "the key where its name belongs": {"WESTOFN_JUDGE_KEY_VARIABLE": KEY},
        "a token where a name belongs": {"WESTOFN_JUDGE_KEY_VARIABLE": HUB_TOKEN},
        "a device": {"WESTOFN_DEVICE": KEY},
        "a number": {"WESTOFN_JUDGE_WORKERS": KEY},
    }


@pytest.mark.parametrize("name", _mistakes())
def test_a_key_in_a_wrong_place_is_refused_without_showing_it(
    name: str, secret: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged_by(secret, "http://127.0.0.1:9/v1", monkeypatch)
    for variable in ("OPENAI_API_KEY", "JUDGE_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if "DEVICE" not in str(_mistakes()[name]) and "WORKERS" not in str(_mistakes()[name]):
            monkeypatch.delenv(variable)  # nothing but the check itself hides the key
    for variable, value in _mistakes()[name].items():
        monkeypatch.setenv(variable, value)
    outcomes = [secret.call("check"), secret.call("study_judge"), called("doctor")]
    assert [outcome.code for outcome in outcomes] == [2, 2, 2]
    assert [line for outcome in outcomes for line in told(outcome)] == []
    assert holders(secret) == []


def test_what_a_server_repeats_of_the_keys_is_not_shown(
    secret: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.succeed("study_pools")
    monkeypatch.setenv("WESTOFN_JUDGE_KEY_VARIABLE", "JUDGE_TOKEN")
    for status in (307, 400, 401, 404, 422):
        with serve(lambda _, __, status=status: refused(status, f"{KEY} {HUB_TOKEN}")) as stub:
            judged_by(secret, stub.url, monkeypatch)
            outcome = secret.call("study_judge")
        assert outcome.code == 2
        assert f"answers {status}" in outcome.stderr
        assert told(outcome) == []
    assert holders(secret) == []


def test_errors_hide_the_user_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for url in ("https://me:word@hub/x", "https:/me:word@hub/x", "http://word@hub"):
        assert "word" not in str(DataError(f"{url}: no such file"))
    assert "https://hub/x" in str(DataError("https://hub/x: no such file"))
