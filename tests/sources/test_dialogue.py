from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from westofn.sources.dialogue import MARKERS, Message, opening, to_messages, to_text

# Texts that try to pass for markers, escaped ones and half ones.
PIECES = st.sampled_from(
    ["\n", "\n\n", "\\", "Human:", "Assistant:", "System:", " ", "a", *MARKERS.values()]
)
CONTENTS = st.lists(PIECES, max_size=8).map("".join)
MESSAGES = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), CONTENTS)


@given(st.lists(MESSAGES, max_size=5))
def test_messages_come_back_from_their_text(messages: list[Message]) -> None:
    assert to_messages(to_text(messages)) == messages


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.lists(MESSAGES, min_size=1, max_size=3))
def test_different_dialogues_have_different_texts(
    left: list[Message], right: list[Message]
) -> None:
    assert (to_text(left) == to_text(right)) == (left == right)


def test_a_prompt_of_hh_is_read_turn_by_turn_and_written_as_it_was() -> None:
    text = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nAnd you?\n\nHuman: Fine\n\nAssistant:"
    messages = to_messages(text)
    assert [(one.role, one.content) for one in messages] == [
        ("user", "Hi"),
        ("assistant", "Hello.\n\nAnd you?"),
        ("user", "Fine"),
    ]
    assert to_text(messages) == text


def test_a_system_message_leads_the_dialogue() -> None:
    messages = [Message("system", "Be kind."), Message("user", "Hi")]
    assert to_text(messages) == "\n\nSystem: Be kind.\n\nHuman: Hi\n\nAssistant:"


def test_plain_text_is_one_user_message_even_with_a_marker_inside() -> None:
    for text in ("Name a fruit.", "TITLE: x\n\nHuman: no turn\n\nAssistant:", " \n\nHuman: x"):
        assert to_messages(text) == [Message("user", text)]


def test_turns_of_one_dialogue_share_their_opening() -> None:
    first = [Message("user", "Hi")]
    later = [*first, Message("assistant", "Hello"), Message("user", "Bye")]
    assert opening(to_text(first)) == opening(to_text(later)) == "\n\nHuman: Hi"
