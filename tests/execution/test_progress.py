"""What a run shows where there is no terminal: nothing for loops, a line for news of training."""

from __future__ import annotations

import re

import pytest

from westofn.execution.progress import Steps, track


def test_tracking_gives_the_items_as_they_are_and_no_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(track(range(3), "work")) == [0, 1, 2]
    assert list(track(iter("ab"), "work")) == ["a", "b"]
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""


def test_news_of_training_is_a_line_with_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps("sft", 10)
    steps.start(done=4)
    steps.advance()
    steps.say({"loss": 0.25})
    steps.stop()
    shown = capsys.readouterr()
    assert shown.out == ""
    text = " ".join(shown.err.split())
    assert re.fullmatch(r"sft: step 5/10, [\d.]+ steps/s, \d+ s left loss 0\.2500", text)


def test_news_before_the_first_step_does_not_divide_by_zero(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = Steps("sft", 10)
    steps.start()
    steps.say({"loss": 1.0})
    steps.stop()
    assert "step 0/10, 0.0 steps/s, 0 s left" in " ".join(capsys.readouterr().err.split())
