"""The variables of torchrun: one process is a process, and a wrong value is named."""

from __future__ import annotations

import os

import pytest

from westofn.errors import ParameterError
from westofn.execution.processes import check_environment, count, is_first

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK")


def given(monkeypatch: pytest.MonkeyPatch, *values: str | None) -> None:
    for name, value in zip(NAMES, values, strict=True):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "values",
    [(None, None, None), (None, "1", None), ("", "3", "x"), ("1", "1", "0"), ("1", None, None)],
)
def test_a_single_process_is_not_distributed(
    values: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, *values)
    assert (count(), is_first()) == (1, True)
    check_environment()
    assert not set(NAMES) & os.environ.keys()


def test_what_torchrun_sets_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "2", "1", "1")
    check_environment()
    assert [os.environ[name] for name in NAMES] == ["2", "1", "1"]
    assert (count(), is_first()) == (2, False)


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        (("x", "0", "0"), r"^WORLD_SIZE is 'x', needs a whole number from 1 to 4096; start the "),
        (("0", "0", "0"), r"^WORLD_SIZE is '0', needs a whole number from 1"),
        (("-2", None, None), r"^WORLD_SIZE is '-2', needs"),
        (("2", "2", "0"), r"^RANK is '2', needs a whole number from 0 to 1; start the stage with "),
        (("2", None, "0"), r"^RANK is not set, needs a whole number from 0 to 1"),
        (("2", "0", None), r"^LOCAL_RANK is not set, .*or unset WORLD_SIZE, RANK and LOCAL_RANK$"),
    ],
)
def test_a_wrong_value_is_refused(
    values: tuple[str | None, ...], needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, *values)
    with pytest.raises(ParameterError, match=needed):
        check_environment()
