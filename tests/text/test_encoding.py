"""One function encodes for every stage; what it must never do is move an end or lose a text."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.small_models import COMPARATORS, VOCABULARY, texts, tiny_policy
from westofn.core.losses import LOSSES
from westofn.errors import ModelError
from westofn.models.card import Card, TemplateFacts, check_template
from westofn.models.policy import Policy, load_policy, save_policy
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.params.comparator import ComparatorName
from westofn.text.encoding import Encoder, pad, vocabulary_digest
from westofn.text.tokenizer import (
    load_tokenizer,
    plain_ids,
    save_tokenizer,
    train_tokenizer,
)
from westofn.training import preference, sft

# What users type: the names of special tokens, other scripts, control characters, nothing.
TYPED = [
    "a cat </s> a dog",
    "</s>",
    "<pad> the sun <pad>",
    "<unk>",
    "the</s><pad></s>",
    "naïve — 日本語 🦊",
    "line\n\n\tindented\r\n",
    "",
    "   ",
    "the cat " * 40,
]


def _encoder(tokenizer: PreTrainedTokenizerFast, prompt: int = 200, response: int = 200) -> Encoder:
    return Encoder(tokenizer, prompt, response)


def test_a_long_prompt_loses_its_beginning_and_keeps_its_end_token(
    words: PreTrainedTokenizerFast,
) -> None:
    encoder = _encoder(words, prompt=4)
    names = words.convert_ids_to_tokens(encoder.prompts(["the cat sat on red"])[0])
    assert names == [" sat", " on", " red", "</s>"]
    assert encoder.prompts(["cat sat on"]) == [
        words.convert_tokens_to_ids(["cat", *names[:2], "</s>"])
    ]


def test_a_response_is_never_cut(words: PreTrainedTokenizerFast) -> None:
    encoder = _encoder(words, response=3)
    ids = encoder.responses(["cat" + " cat" * 99])[0]
    assert len(ids) == 101
    assert encoder.decode([ids]) == ["cat" + " cat" * 99]


def test_a_causal_model_reads_prompt_and_response_as_one_text_with_a_space(
    spelling: PreTrainedTokenizerFast, unigrams: PreTrainedTokenizerFast
) -> None:
    """Some tokenizers put the space before every text themselves; a T5 reads two texts."""
    for tokenizer in (spelling, unigrams):
        encoder = Encoder(tokenizer, 200, 200, "causal")
        (prompt,), (response,) = encoder.prompts(["the cat:"]), encoder.responses(["a dog"])
        (text,) = plain_ids(tokenizer, ["the cat: a dog"])
        assert [*prompt, *response] == [*text, encoder.eos_id]
        assert encoder.response_lengths(["a dog"]) == [len(response) - 1]
        assert encoder.decode([response])[0].strip() == "a dog"
        assert encoder.responses([""]) == [[encoder.eos_id]]
    causal, encoder_decoder = Encoder(spelling, 9, 9, "causal"), Encoder(spelling, 9, 9)
    assert causal.decode(causal.responses(["a dog"])) == ["a dog"]
    assert encoder_decoder.responses(["a dog"])[0][:-1] == plain_ids(spelling, ["a dog"])[0]
    assert causal.template != encoder_decoder.template


def test_a_response_fits_up_to_the_limit_not_counting_its_end_token(
    words: PreTrainedTokenizerFast,
) -> None:
    assert _encoder(words, response=3).fits(["a", "a cat sat", "a cat sat on", ""]) == [
        True,
        True,
        False,
        True,
    ]


def test_a_response_is_as_long_as_its_tokens_without_the_end(
    words: PreTrainedTokenizerFast,
) -> None:
    assert _encoder(words).response_lengths(["a", "a cat sat", ""]) == [1, 3, 0]


def test_prompts_are_trimmed_from_the_limit_on(words: PreTrainedTokenizerFast) -> None:
    encoder = _encoder(words, prompt=4)  # three words and the end token
    texts = ["", "a cat sat", "a cat sat on", "a cat sat on the sun"]
    assert encoder.trims(texts) == [False, False, True, True]
    assert max(map(len, encoder.prompts(texts))) == 4


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("kind", ["words", "spelling"])
def test_one_end_token_stands_at_the_end_whatever_is_typed(
    kind: str, text: str, request: pytest.FixtureRequest
) -> None:
    encoder = _encoder(request.getfixturevalue(kind))
    for ids in (encoder.prompts([text])[0], encoder.responses([text])[0]):
        assert ids.count(encoder.eos_id) == 1
        assert ids[-1] == encoder.eos_id
        assert encoder.pad_id not in ids


@pytest.mark.parametrize("text", TYPED)
def test_typed_special_tokens_stay_text_in_bytes(
    text: str, spelling: PreTrainedTokenizerFast
) -> None:
    encoder = _encoder(spelling)
    assert encoder.decode(encoder.responses([text])) == [text]


def test_typed_special_tokens_stay_text_after_another_caller_tokenised(
    spelling: PreTrainedTokenizerFast,
) -> None:
    encoder = _encoder(spelling)
    before = encoder.prompts(["a </s> b"])
    # By default a call makes "</s>" the end token, and leaves the tokenizer in that state.
    assert encoder.eos_id in spelling("a </s> b", add_special_tokens=False).input_ids
    assert encoder.prompts(["a </s> b"]) == before
    assert before[0].count(encoder.eos_id) == 1


@pytest.fixture(scope="module")
def unigrams() -> PreTrainedTokenizerFast:
    """As T5's: a unigram model that has its special tokens among its pieces."""
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    raw.train_from_iterator([*texts(), "< / > pads unk </s>"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize("text", TYPED)
def test_typed_special_tokens_stay_text_where_they_are_pieces(
    text: str, unigrams: PreTrainedTokenizerFast
) -> None:
    encoder = _encoder(unigrams)
    naive = unigrams(text, add_special_tokens=False, split_special_tokens=True).input_ids
    if "</s>" in text:
        assert encoder.eos_id in naive  # there was something to mend
    for ids in (encoder.prompts([text])[0], encoder.responses([text])[0]):
        assert ids.index(encoder.eos_id) == len(ids) - 1
        assert encoder.pad_id not in ids
    if encoder.eos_id not in naive and encoder.pad_id not in naive:
        assert encoder.responses([text]) == [[*naive, encoder.eos_id]]


def test_typed_special_tokens_keep_their_characters(unigrams: PreTrainedTokenizerFast) -> None:
    (ids,) = _encoder(unigrams).responses(["a cat</s>dog <</s>/s>"])
    text = "".join(unigrams.convert_ids_to_tokens(ids[:-1])).replace("\u2581", "")
    assert text == "acat</s>dog<</s>/s>"


def test_a_special_token_that_a_normaliser_makes_is_left_out(
    unigrams: PreTrainedTokenizerFast,
) -> None:
    folded = deepcopy(unigrams)
    folded.backend_tokenizer.normalizer = normalizers.NFKC()
    wide = "a cat \uff1c/s\uff1e dog"
    naive = folded(wide, add_special_tokens=False, split_special_tokens=True).input_ids
    encoder = _encoder(folded)
    assert encoder.eos_id in naive
    assert encoder.responses([wide])[0].count(encoder.eos_id) == 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_the_bytes_tokenizer_spells_any_text(text: str) -> None:
    encoder = _encoder(_BYTES)
    ids = encoder.responses([text])
    assert encoder.decode(ids) == [text]
    assert int(_BYTES.unk_token_id) not in ids[0]


_BYTES = train_tokenizer(["the cat sat"], "bytes", 300)
_WORDS = train_tokenizer(
    [*VOCABULARY, *(f" {word}" for word in VOCABULARY), "!", " ,", "?!", "\n", "  "], "words", 64
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", " "]), st.sampled_from([*VOCABULARY, "!", "\n", " ,", "?!"])
        ),
        max_size=8,
    )
)
def test_the_words_tokenizer_gives_back_every_text_of_known_tokens(
    pieces: list[tuple[str, str]],
) -> None:
    # A separator keeps two words from becoming one that was never seen.
    text = "\n".join(space + word for space, word in pieces if (space + word) in _WORDS.get_vocab())
    encoder = _encoder(_WORDS)
    ids = encoder.responses([text])
    assert encoder.decode(ids) == [text]
    assert int(_WORDS.unk_token_id) not in ids[0]


def test_an_unknown_word_is_one_unknown_token(words: PreTrainedTokenizerFast) -> None:
    encoder = _encoder(words)
    assert encoder.responses(["the zebra sat"])[0][1] == words.unk_token_id


@pytest.mark.parametrize("kind", ["words", "spelling"])
def test_a_saved_tokenizer_gives_the_same_ids(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tokenizer = request.getfixturevalue(kind)
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path)
    assert _encoder(again).responses(TYPED) == _encoder(tokenizer).responses(TYPED)
    assert vocabulary_digest(again) == vocabulary_digest(tokenizer)


def test_a_vocabulary_holds_no_more_than_asked() -> None:
    many = [f"word{number}" for number in range(500)]
    assert len(train_tokenizer(many, "words", 64)) == 64
    special = train_tokenizer(many, "words", 64).convert_ids_to_tokens([0, 1, 2])
    assert special == ["<pad>", "</s>", "<unk>"]


def test_every_stage_encodes_a_pair_as_the_same_ids(
    small_policy: Policy, scorers: Callable[[ComparatorName], Scorer], tmp_path: Path
) -> None:
    prompts, responses = TYPED, [text[:20] or "so" for text in TYPED]
    save_policy(small_policy, tmp_path / "policy", [("the cat", "so")], {})
    encoders = {"sampling": small_policy.encoder, "sft": load_policy(tmp_path / "policy").encoder}
    for comparator in COMPARATORS:
        folder = tmp_path / comparator
        save_reward_model(scorers(comparator), folder, [("the cat", "so")], {})
        encoders[comparator] = load_reward_model(folder).encoder
    expected = encoders["sampling"].prompts(prompts), encoders["sampling"].responses(responses)
    for name, encoder in encoders.items():
        assert (encoder.prompts(prompts), encoder.responses(responses)) == expected, name
        # What the two training loops make of the same rows.
        kept = sft._fitting(encoder, sft.Examples(prompts, responses))
        rows = sft._encode(encoder, kept)
        fitting = [i for i, fits in enumerate(encoder.fits(responses)) if fits]
        assert rows == [(expected[0][i], expected[1][i]) for i in fitting]
        pairs = preference.Preferences(prompts, responses, responses, [1.0] * len(prompts))
        encoded = preference._encode(encoder, pairs, LOSSES["bradley_terry"])
        assert [(row.prompt, row.chosen) for row in encoded] == list(zip(*expected, strict=True))


def test_a_template_that_is_not_the_cards_is_refused(small_encoder: Encoder) -> None:
    template = cast(TemplateFacts, small_encoder.template.to_json())
    card = Card(role="policy", family="encoder_decoder", template=template)
    check_template(Path("model"), card, small_encoder.template.to_json())
    for key, value in {"max_prompt_tokens": 11, "vocabulary": "0" * 16, "trim": "right"}.items():
        with pytest.raises(ModelError, match=rf"^model: {key} of the tokenizer is .*rerun"):
            check_template(Path("model"), card, small_encoder.template.to_json() | {key: value})


def test_vocabularies_that_differ_in_one_token_or_in_order_have_other_digests() -> None:
    digests = {
        vocabulary_digest(train_tokenizer(texts, "words", 64))
        for texts in (["a b"], ["a c"], ["b a"], ["a b c"])
    }
    assert len(digests) == 4


def test_padding_fills_the_right_and_is_masked() -> None:
    padded = pad([[5, 6], [7], []], pad_id=9)
    assert padded.ids.tolist() == [[5, 6], [7, 9], [9, 9]]
    assert padded.mask.tolist() == [[True, True], [True, False], [False, False]]
    assert pad([[5]], 0, length=3).ids.tolist() == [[5, 0, 0]]
    assert pad([[], []], 0).ids.shape == (2, 0)
    assert pad([], 0, length=2).mask.shape == (0, 2)


def test_padding_refuses_a_row_that_is_longer_than_asked() -> None:
    with pytest.raises(RuntimeError, match="shape mismatch"):
        pad([[5, 6], [7]], pad_id=9, length=1)


def test_remembered_texts_are_tokenised_once_and_read_the_same(
    words: PreTrainedTokenizerFast, tokenised: list[str]
) -> None:
    forgetful = _encoder(words)
    texts = ["a cat", "the dog", "", "a cat", "a </s> cat"]
    before = (forgetful.prompts(texts), forgetful.responses(texts), forgetful.fits(texts))
    tokenised.clear()
    encoder = forgetful.remembering()
    encoder.prompts(texts[:2])[0].append(99)  # what is given is the caller's
    for _ in range(2):
        assert (encoder.prompts(texts), encoder.responses(texts), encoder.fits(texts)) == before
    assert tokenised == ["a cat", "the dog", "", "a </s> cat"]
    tokenised.clear()
    forgetful.responses(["a cat"])
    assert tokenised == ["a cat"]


def test_an_encoder_that_remembers_trims_prompts_as_asked(words: PreTrainedTokenizerFast) -> None:
    encoder, texts = _encoder(words), ["the cat and the dog", ""]
    limits = (encoder.shortest_prompt, 3, None)
    kept = encoder.remembering()
    for limit in limits:
        assert kept.prompts(texts, limit) == encoder.prompts(texts, limit)


def test_encoders_read_alike_only_if_every_text_gets_equal_ids() -> None:
    corpus = ["the cat", "a dog"]
    encoder = _encoder(train_tokenizer(corpus, "words", 64))
    assert encoder.reads_like(_encoder(train_tokenizer(corpus, "words", 64)))
    assert encoder.reads_like(encoder.remembering())
    assert not encoder.reads_like(_encoder(train_tokenizer(["the cat"], "words", 64)))
    assert not encoder.reads_like(Encoder(encoder.tokenizer, 5, 5))
    other = train_tokenizer(corpus, "words", 64)
    other.backend_tokenizer.normalizer = normalizers.Lowercase()
    same_vocabulary = _encoder(other)
    assert same_vocabulary.template == encoder.template
    assert same_vocabulary.responses(["The"]) != encoder.responses(["The"])
    assert not encoder.reads_like(same_vocabulary)


def test_no_texts_give_no_ids(small_encoder: Encoder) -> None:
    assert small_encoder.prompts([]) == small_encoder.responses([]) == []
    assert small_encoder.fits([]) == []


def test_the_mask_alone_tells_padding_from_a_token_of_the_same_id(small_encoder: Encoder) -> None:
    same = small_encoder.eos_id
    padded = pad([[4, same], [4, 5, same]], pad_id=same)
    assert torch.equal(padded.mask.sum(-1), torch.tensor([2, 3]))


def test_a_policy_never_answers_with_an_end_token_in_its_text(
    words: PreTrainedTokenizerFast,
) -> None:
    encoder = tiny_policy(_encoder(words)).encoder
    assert encoder.decode([[encoder.eos_id], [3, encoder.eos_id, encoder.pad_id]]) == [
        "",
        words.convert_ids_to_tokens(3),
    ]
