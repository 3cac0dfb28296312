from __future__ import annotations

import shlex

import pytest

from tests.sources.known_rows import SAMPLES
from westofn.errors import ParameterError
from westofn.sources.column_settings import as_options, parse_settings
from westofn.sources.columns import Columns
from westofn.sources.known_sets import KNOWN_SETS


@pytest.mark.parametrize(
    "value",
    ["question", "chosen-rating", "a.*.b", "<0", "tie,tie (bothbad)", "0", "true", "prediction 1",
     "it's", 'a"b', "a$b"],
)  # fmt: skip
def test_options_survive_a_shell_and_the_grammar_of_overrides(value: str) -> None:
    pytest.importorskip("hydra")
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (line,) = as_options(Columns(label=value))
    option, argument = shlex.split(line)
    assert option == "-S"
    override = OverridesParser.create().parse_override(argument)
    assert override.key_or_group == "prepare.columns.label"
    assert override.value() == value


def test_the_mappings_of_known_sets_come_back_from_their_options() -> None:
    assert len(SAMPLES) == len(KNOWN_SETS) > 40
    for known in KNOWN_SETS:
        arguments = shlex.split(" ".join(as_options(known.columns)))
        assert set(arguments[::2]) == {"-S"}
        assert parse_settings(arguments[1::2]).columns == known.columns


def test_no_settings_are_no_mapping() -> None:
    assert parse_settings([]) == (None, "refuse")
    assert parse_settings(["prepare.bad_rows=drop", "prepare.columns.prompt=none"]) == (
        None,
        "drop",
    )


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        (["prepare.columns.promt=a"], "did you mean prompt?"),
        (["prepare.path=a"], "-S prepare.path=a: needs prepare.columns.NAME=PATH"),
        (["prepare.bad_rows=keep"], "or prepare.bad_rows=refuse or drop"),
        (["prepare.columns.prompt"], "needs prepare.columns.NAME=PATH"),
        (["prepare.columns.prompt=a"], "names no responses"),
        (["prepare.columns.chosen=a"], "rejected is not set"),
        (
            [f"prepare.columns.{name}" for name in ("chosen=a", "rejected=b", "order=up")],
            "order=up: needs higher or lower",
        ),
    ],
)
def test_settings_that_are_no_mapping_are_refused(settings: list[str], needed: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_settings(settings)
    assert needed in str(caught.value)
