"""A dialogue survives being written as one text, whatever its messages hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.dialogue import (
    ASSISTANT,
    Message,
    canonical,
    is_dialogue,
    to_messages,
    to_text,
)

MARKED = ["\n\nHuman: no", "\n\n\\Assistant:", "\n\nSystem:\n\n\\\\Human:", " a ", "", "\n\n"]
CONTENT = st.text(max_size=20) | st.sampled_from(MARKED)
MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), CONTENT), min_size=1
)


@given(MESSAGES)
def test_messages_come_back_as_they_were(messages: list[Message]) -> None:
    text = to_text(messages)
    assert text.endswith(ASSISTANT)
    assert to_messages(text) == messages
    assert to_text(to_messages(text)) == text


@given(st.text(max_size=40))
def test_any_other_text_is_one_users_message(text: str) -> None:
    if not is_dialogue(text):
        assert to_messages(text) == [Message("user", text)]


@pytest.mark.parametrize(
    "text",
    [
        "Human: Hi\n\nAssistant:",
        "\nHuman: Hi\n\nAssistant: ",
        "\r\n\r\nHuman: Hi \r\n\r\nAssistant:\r\n",
        "\n\nSystem:\n\nHuman: Hi\n\nAssistant:",
        " Hi\n",
    ],
)
def test_white_space_at_the_edges_makes_no_other_prompt(text: str) -> None:
    assert canonical(text) == "\n\nHuman: Hi\n\nAssistant:"


@pytest.mark.parametrize("text", ["System: Linux", "Assistant: what?", "human: hi", "A Human: B"])
def test_a_marker_alone_makes_no_dialogue(text: str) -> None:
    assert not is_dialogue(text)


def test_the_dialogues_of_hh_are_read_turn_by_turn() -> None:
    text = "\n\nHuman: Hi.\n\nAssistant: Hello!\n\nHuman: What is up?\n\nAssistant:"
    assert to_messages(text) == [
        Message("user", "Hi."),
        Message("assistant", "Hello!"),
        Message("user", "What is up?"),
    ]
