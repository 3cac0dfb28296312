"""What `serve` refuses before it loads a model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from westofn import __main__ as command
from westofn.errors import ParameterError
from westofn.packages import EXTRAS
from westofn.serving.start import key_of, listening_socket

KEY = "rm-canary/9f3b+61d7"


def test_without_its_packages_serve_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(EXTRAS, "serve", ("starlette_that_is_not", "json"))
    monkeypatch.setattr(sys, "argv", ["westofn", "serve", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "westofn: serve needs starlette_that_is_not, which is not installed: "
        "pip install -c constraints.txt -e '.[serve]'\n"
    )


def test_a_port_in_use_is_one_line(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(EXTRAS, "serve", ())
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        arguments = ["westofn", "serve", str(saved_models / "pointwise"), "--port", str(port)]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as end:
            command.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"westofn: 127.0.0.1:{port} cannot be listened at (Address already in use); give another "
        "--host or --port\n"
    )


def test_a_key_is_read_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_KEY", f"{KEY}\n")
    assert key_of("REWARD_KEY") == KEY
    assert key_of("") == ""


@pytest.mark.parametrize("value", ["", "  ", "schlüssel", "two\nlines"])
def test_a_variable_without_a_usable_key_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_KEY", value)
    with pytest.raises(ParameterError, match="REWARD_KEY is unset, empty or holds characters"):
        key_of("REWARD_KEY")


def test_a_key_in_the_place_of_its_name_is_refused_without_showing_it() -> None:
    with pytest.raises(ParameterError) as refused:
        key_of(KEY)
    assert "canary" not in str(refused.value)
    assert "needs the name of an environment variable" in str(refused.value)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"^192\.0\.2\.1:80 cannot be listened at"):
        listening_socket("192.0.2.1", 80)
