"""New values in params.yaml, and not a byte more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.repo.pipelines import ROOT
from westofn.errors import ParameterError
from westofn.params.whole import load_params
from westofn.tuning.params_file import set_values, with_values

PARAMS = ROOT / "params.yaml"
BOTH = ("filter.quantile", "filter.likelihood_quantile")


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    first, second = before.splitlines(keepends=True), after.splitlines(keepends=True)
    assert len(first) == len(second)
    return [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]]


def test_params_yaml_changes_in_the_two_values_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS, path)
    assert set_values(path, dict(zip(BOTH, (0.75, 0.1), strict=True)))
    before, after = (file.read_bytes().decode() for file in (PARAMS, path))
    lines = changed_lines(before, after)
    assert [line.split("#")[0].split() for _, line in lines] == [
        ["quantile:", "0.75"],
        ["likelihood_quantile:", "0.1"],
    ]
    for old, new in lines:
        assert old[old.index("#") :] == new[new.index("#") :]
        assert old.index("#") == new.index("#")
    found = load_params(path).filter
    assert (found.quantile, found.likelihood_quantile) == (0.75, 0.1)


def test_values_that_are_there_already_leave_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    content = b"filter:\n  quantile: 0   # a zero\n  likelihood_quantile: 0.00\n"
    path.write_bytes(content)
    written = path.stat().st_mtime_ns
    assert not set_values(path, dict.fromkeys(BOTH, 0.0))
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("a: {b: 0.0, c: [1,2]}  # x\n", "a: {b: 0.125, c: [1,2]}  # x\n"),
        ("a: {c: [1,2], b: 0}\n", "a: {c: [1,2], b: 0.125}\n"),
        ("a:\n    b: 5e-3 # x\n\n\nc:   'q'\n", "a:\n    b: 0.125 # x\n\n\nc:   'q'\n"),
        ("a:\r\n  b: 0.0\r\nc: 1\r\n", "a:\r\n  b: 0.125\r\nc: 1\r\n"),
        ("a:\n  b: 0.0", "a:\n  b: 0.125"),
        (
            "# 0.0\nz:\n  b: 0.0\na:\n  b: 0.0\nb: 0.0\n",
            "# 0.0\nz:\n  b: 0.0\na:\n  b: 0.125\nb: 0.0\n",
        ),
    ],
    ids=["flow", "flow last", "odd indent", "crlf", "no last newline", "its namesakes"],
)
def test_any_style_is_kept(text: str, needed: str) -> None:
    assert with_values(text, {"a.b": 0.125}) == needed


def test_two_values_on_one_line() -> None:
    text = "filter: {quantile: 0.0, likelihood_quantile: 0.25, x: 1}  # c\n"
    found = with_values(text, {"filter.quantile": 0.125, "filter.likelihood_quantile": 0.0})
    assert found == "filter: {quantile: 0.125, likelihood_quantile: 0.0, x: 1}  # c\n"


def test_a_quoted_number_becomes_a_number() -> None:
    assert with_values("a: '0.0'\n", {"a": 0.5}) == "a: 0.5\n"


def test_a_tiny_value_is_read_back_as_a_number() -> None:
    assert with_values("a: 0.0\n", {"a": 1e-05}) == "a: 1e-05\n"


def test_a_long_value_pushes_its_comment_by_no_more_than_it_must() -> None:
    assert with_values("a: 0.0  # c\n", {"a": 0.0625}) == "a: 0.0625 # c\n"


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("filter:\n  quantle: 0.0\n", "key filter.quantile is missing"),
        ("a: 1\n", "key filter.quantile is missing"),
        ("filter: 3\n", "key filter.quantile is missing"),
        ("filter:\n  quantile: &q 0.0\nother: *q\n", "filter.quantile is not a plain number"),
        ("filter:\n  quantile:\n    - 0.0\n    - 0.1\n", "filter.quantile is not a plain number"),
    ],
    ids=["misspelt", "no section", "a number", "anchor", "a list"],
)
def test_what_cannot_be_set_is_refused_and_nothing_is_written(
    text: str, needed: str, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=needed):
        set_values(path, {"filter.quantile": 0.5})
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]
