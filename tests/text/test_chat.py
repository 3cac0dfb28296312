"""A dialogue is written as its model expects, whatever people type and however long it is."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.chat_templates import END, TEMPLATES, chatting
from tests.resealed import reseal
from tests.small_families import tiny_model
from tests.small_models import RESPONSES
from westofn.core.dialogue import Message, to_text
from westofn.errors import ModelError
from westofn.generation.hf import decode, never_drawn, sample
from westofn.models.policy import Policy, load_policy, log_likelihood, save_policy
from westofn.text.chat import ChatTemplate
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import train_tokenizer

DIALOGUE = [
    Message("user", "a red cat"),
    Message("assistant", "the good dog"),
    Message("user", "the sun sat on the moon"),
]
TYPED = [
    "<s> a </s> <|im_end|> [INST] x [/INST]",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
    "<end_of_turn>\n<start_of_turn>model",
    "naïve — 日本語 🦊 \n\n tabs\t",
    "<pad><unk>",
]
KINDS = list(TEMPLATES)


def _spelt(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _asked(tokenizer: PreTrainedTokenizerFast, messages: list[Message]) -> str:
    text = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        tokenize=False,
        add_generation_prompt=True,
        date_string="26 Jul 2024",
    )
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_a_dialogue_has_the_ids_of_the_rendered_template(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    for messages in (DIALOGUE, DIALOGUE[:1]):
        expected = tokenizer(
            _asked(tokenizer, messages), add_special_tokens=False, split_special_tokens=False
        ).input_ids
        assert ChatTemplate(tokenizer, 200).prompts([to_text(messages)]) == [expected]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_text_is_one_users_message(kind: str, spelling: PreTrainedTokenizerFast) -> None:
    chat = ChatTemplate(chatting(spelling, kind), 200)
    assert chat.prompts(["a red cat"]) == chat.prompts([to_text(DIALOGUE[:1])])


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_a_turn_is_the_templates_own(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    encoder = Encoder(tokenizer, 200, 20, "causal", chat=True)
    assert encoder.eos_id == tokenizer.convert_tokens_to_ids(END[kind])
    ids = encoder.responses(["a cat"])[0]
    assert ids[-1] == encoder.eos_id
    assert ids.count(encoder.eos_id) == 1
    assert encoder.decode([ids]) == ["a cat"]


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("kind", KINDS)
def test_typed_control_tokens_stay_text_in_every_turn(
    kind: str, text: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    encoder = Encoder(tokenizer, 400, 100, "causal", chat=True)

    def controls(messages: list[Message]) -> list[int]:
        ids = encoder.prompts([to_text(messages)])[0]
        return [index for index in ids if index in tokenizer.added_tokens_decoder]

    typed = [Message(m.role, text) for m in DIALOGUE]
    assert controls(typed) == controls(DIALOGUE)
    spelt = _spelt(tokenizer, encoder.prompts([to_text(typed)])[0])
    assert spelt == _asked(tokenizer, [Message(m.role, text.strip()) for m in typed])
    answer = encoder.responses([text])[0]
    assert not set(answer[:-1]) & set(tokenizer.added_tokens_decoder)


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_there_is_one_start_token_or_none(
    kind: str, system: bool, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    first = [Message("system", "so long")] if system else []
    encoder = Encoder(tokenizer, 200, 20, "causal", chat=True)
    ids = encoder.prompts([to_text([*first, *DIALOGUE])])[0]
    if tokenizer.bos_token_id is None:
        assert kind == "chatml"
    else:
        assert ids.count(tokenizer.bos_token_id) == 1
        assert ids[0] == tokenizer.bos_token_id
    assert "so long" in _spelt(tokenizer, ids) or not system


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_template_the_start_token_is_the_tokenizers(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    encoder = Encoder(tokenizer, 6, 20, "causal")
    start = [] if kind == "chatml" else [tokenizer.bos_token_id]
    plain = tokenizer("the cat sat on the red moon", add_special_tokens=False).input_ids
    assert encoder.prompts(["the cat sat on the red moon"]) == [start + plain[len(start) - 6 :]]
    assert encoder.prompts([""]) == [start or [encoder.eos_id]]
    assert encoder.responses(["a"])[0][:1] != start or not start


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_dialogue_loses_its_oldest_words_and_no_header(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    whole = ChatTemplate(tokenizer, 400).prompts([to_text(DIALOGUE)])[0]
    shortest = len(ChatTemplate(tokenizer, 400).prompts([""])[0])
    seen = set()
    for limit in range(shortest + 1, len(whole) + 1):
        ids = ChatTemplate(tokenizer, limit).prompts([to_text(DIALOGUE)])[0]
        text = _spelt(tokenizer, ids)
        assert len(ids) <= limit
        before, after = _parts(tokenizer, *DIALOGUE[1:])
        if text.endswith(after):  # all turns are there, the first one cut
            kept = [Message("user", text[len(before) : -len(after)]), *DIALOGUE[1:]]
            whole_words, full = DIALOGUE[0].content, False
        else:
            before, after = _parts(tokenizer)
            kept = [Message("user", text[len(before) : -len(after)])]
            whole_words, full = DIALOGUE[2].content, kept[0].content == DIALOGUE[2].content
        seen.add(len(kept))
        assert text == _asked(tokenizer, kept)
        assert whole_words.endswith(kept[0].content)
        assert full or len(ids) >= limit - 2
    assert seen == {1, 3}
    assert ids == whole


def _parts(tokenizer: PreTrainedTokenizerFast, *later: Message) -> tuple[str, str]:
    """What stands before and after a first message."""
    before, _, after = _asked(tokenizer, [Message("user", "MARK"), *later]).partition("MARK")
    return before, after


def test_a_dialogue_beyond_the_limit_is_told_as_trimmed(
    spelling: PreTrainedTokenizerFast,
) -> None:
    tokenizer = chatting(spelling, KINDS[0])
    texts = ["", to_text(DIALOGUE)]
    lengths = ChatTemplate(tokenizer, 400).lengths(texts)
    assert lengths == [len(ids) for ids in ChatTemplate(tokenizer, 400).prompts(texts)]
    for limit, trimmed in ((lengths[1], False), (lengths[1] - 1, True)):
        encoder = Encoder(tokenizer, limit, 20, "causal", chat=True)
        assert encoder.trims(texts) == [False, trimmed]


def test_a_system_message_outlives_the_oldest_turns(spelling: PreTrainedTokenizerFast) -> None:
    tokenizer = chatting(spelling, "chatml")
    text = to_text([Message("system", "so long"), *DIALOGUE])
    whole = len(ChatTemplate(tokenizer, 400).prompts([text])[0])
    cut = _spelt(tokenizer, ChatTemplate(tokenizer, whole - 12).prompts([text])[0])
    assert "so long" in cut
    assert "a red cat" not in cut
    shortest = len(ChatTemplate(tokenizer, 400).prompts([""])[0])
    last = _spelt(tokenizer, ChatTemplate(tokenizer, shortest + 3).prompts([text])[0])
    assert "system" not in last
    assert last.endswith("moon<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("kind", KINDS)
def test_turns_that_do_not_alternate_are_brought_into_order(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    chat = ChatTemplate(tokenizer, 400)
    odd = [Message("assistant", "so"), Message("user", "a"), Message("user", "b")]
    even = [Message("user", ""), Message("assistant", "so"), Message("user", "a\n\nb")]
    assert _spelt(tokenizer, chat.prompts([to_text(odd)])[0]) == _asked(tokenizer, even)


def test_a_system_message_that_the_template_would_move_is_said_by_the_user(
    spelling: PreTrainedTokenizerFast,
) -> None:
    tokenizer = chatting(spelling, "chatml")
    late = (
        "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}"
        "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
        "<|im_start|>{% if loop.last and s is defined %}{{ s }} {% endif %}{{ m.content }}"
        "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    tokenizer.chat_template = late
    ids = ChatTemplate(tokenizer, 200).prompts([to_text([Message("system", "so"), *DIALOGUE])])[0]
    said = [Message("user", f"so\n\n{DIALOGUE[0].content}"), *DIALOGUE[1:]]
    assert _spelt(tokenizer, ids) == _asked(tokenizer, said)


def _with_spaces_as_letters(style: str) -> PreTrainedTokenizerFast:
    """A tokenizer as SentencePiece makes them; `first` also puts a space before every text."""
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    spaces = normalizers.Replace(" ", "▁")
    first = style == "first"
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if first else spaces
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<pad>", "</s>"],
        initial_alphabet=list(f"▁{string.printable}"),
        show_progress=False,
    )
    raw.train_from_iterator(["the cat sat on the moon"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )


@pytest.mark.parametrize("style", ["first", "everywhere"])
@pytest.mark.parametrize("kind", KINDS)
def test_tokenizers_that_write_spaces_as_letters_read_the_same(kind: str, style: str) -> None:
    tokenizer = chatting(_with_spaces_as_letters(style), kind)
    chat = ChatTemplate(tokenizer, 900)
    expected = tokenizer(_asked(tokenizer, DIALOGUE), add_special_tokens=False).input_ids
    assert chat.prompts([to_text(DIALOGUE)]) == [expected]
    typed = [Message(m.role, f"x {TYPED[0]} {TYPED[1]} y") for m in DIALOGUE]
    added = tokenizer.added_tokens_decoder
    controls = [index for index in chat.prompts([to_text(typed)])[0] if index in added]
    assert controls == [index for index in expected if index in added]


_SPELLING = train_tokenizer(["the cat sat on the moon"], "bytes", 300)
_CHATS = {kind: ChatTemplate(chatting(_SPELLING, kind), 60) for kind in KINDS}
_CONTENT = st.text(max_size=40) | st.sampled_from(TYPED) | st.just("the cat " * 30)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(
        st.builds(Message, st.sampled_from(["system", "user", "assistant"]), _CONTENT), max_size=6
    ),
)
def test_any_dialogue_fits_begins_and_ends_as_the_template_does(
    kind: str, messages: list[Message]
) -> None:
    chat = _CHATS[kind]
    ids = chat.prompts([to_text(messages)])[0]
    text = _spelt(chat.tokenizer, ids)
    before, after = _parts(chat.tokenizer)
    assert len(ids) <= 60
    assert text.endswith(after.split(END[kind])[-1])
    assert text.startswith(before.split("user")[0].split("Today")[0])
    starts = [index for index in ids if index == chat.tokenizer.bos_token_id]
    assert len(starts) == (0 if kind == "chatml" else 1)


class TestRefused:
    def test_no_template(self, spelling: PreTrainedTokenizerFast) -> None:
        with pytest.raises(ModelError, match=r"has no chat template; set sft\.chat_template"):
            Encoder(spelling, 100, 20, "causal", chat=True)

    def test_another_family(self, spelling: PreTrainedTokenizerFast) -> None:
        with pytest.raises(ModelError, match="of family encoder_decoder; only causal models"):
            Encoder(chatting(spelling, "chatml"), 100, 20, "encoder_decoder", chat=True)

    def test_no_room_for_its_frame(self, spelling: PreTrainedTokenizerFast) -> None:
        with pytest.raises(ModelError, match=r"tokens around an empty prompt, .* is 8; raise it"):
            ChatTemplate(chatting(spelling, "llama"), 8)

    @pytest.mark.parametrize(
        ("template", "needed"),
        [
            ("{{ strftime_now('%d') }}{{ messages[0].content }}", "writes today's date"),
            ("{{ messages[0].content }}" * 2, "does not write each message of user, assistant"),
            ("{{ raise_exception('no') }}", "does not support turns of user, assistant: no; set"),
            ("{% for m in messages %}{{ m.content }}<end>{% endfor %}", "'<end>', which is not a"),
        ],
    )
    def test_a_template_that_cannot_be_used(
        self, template: str, needed: str, spelling: PreTrainedTokenizerFast
    ) -> None:
        tokenizer = chatting(spelling, "chatml")
        tokenizer.add_tokens(["<end>"])
        tokenizer.chat_template = template
        with pytest.raises(ModelError, match=needed) as caught:
            ChatTemplate(tokenizer, 100)
        assert "\n" not in str(caught.value)

    def test_a_saved_model_whose_template_was_changed(
        self, spelling: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        encoder = Encoder(chatting(spelling, "chatml"), 100, 20, "causal", chat=True)
        policy = Policy(tiny_model("qwen2", encoder), encoder)
        save_policy(policy, tmp_path / "policy", [("the cat", "so")], {})
        assert load_policy(tmp_path / "policy").encoder.template == encoder.template
        file = tmp_path / "policy" / "chat_template.jinja"
        file.write_text(file.read_text().replace("assistant\n", "assistant:\n"))
        reseal(tmp_path / "policy")
        with pytest.raises(ModelError, match=r"policy: chat of the tokenizer is .*, the card says"):
            load_policy(tmp_path / "policy")


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_stops_at_the_end_of_the_turn_and_draws_no_other_control_token(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    encoder = Encoder(tokenizer, 100, 6, "causal", chat=True)
    policy = Policy(tiny_model("llama", encoder, max_position_embeddings=128), encoder)
    controls = set(tokenizer.added_tokens_decoder) - {encoder.eos_id}
    assert controls <= set(never_drawn(policy))
    samples = sample(
        policy, [to_text(DIALOGUE)], ["p"], indices=range(200), temperature=3.0, seed=1
    )
    assert not controls & set(samples.ids[samples.ids != encoder.pad_id].tolist())
    assert samples.stopped.any()
    for text in decode(policy, samples)[0]:
        assert END[kind] not in text


def test_likelihoods_are_of_the_turn_with_its_end(spelling: PreTrainedTokenizerFast) -> None:
    encoder = Encoder(chatting(spelling, "llama"), 100, 20, "causal", chat=True)
    policy = Policy(tiny_model("llama", encoder, max_position_embeddings=128), encoder)
    prompts = [to_text(DIALOGUE), "sun", to_text(DIALOGUE[:1]), ""]
    together = log_likelihood(policy, prompts, RESPONSES)
    single = log_likelihood(policy, prompts, RESPONSES, tokens_a_batch=1)
    assert together.logprob.tolist() == pytest.approx(single.logprob.tolist(), abs=1e-4)
    assert together.n_tokens.tolist() == [len(ids) for ids in encoder.responses(RESPONSES)]
