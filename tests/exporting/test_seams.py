"""What a trainer tokenises of the exported pairs, beside the ids that westofn trains on."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.chat_templates import TEMPLATES, chatting
from tests.exporting.run import DIALOGUE
from tests.small_models import texts
from westofn.exporting.forms import in_form
from westofn.text.chat import VARIABLES
from westofn.text.encoding import Encoder

PROMPTS = ["the red cat", "the sun sat", DIALOGUE, "a dog\n"]
PAIRS = pl.DataFrame({
    "prompt": PROMPTS, "chosen": ["good"] * 4, "rejected": ["a bad moon"] * 4
})  # fmt: skip
SIDES = ("chosen", "rejected")


def trained(encoder: Encoder, prompt: str, response: str) -> list[int]:
    """The ids of prompt and response in training."""
    return encoder.prompts([prompt])[0] + encoder.responses([response])[0]


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def space_first() -> PreTrainedTokenizerFast:
    """A tokenizer that puts a space before every text, as those of T5 and Llama 2."""
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    raw.decoder = decoders.Metaspace(prepend_scheme="always")
    special = ["<pad>", "</s>", "<unk>"]
    raw.train_from_iterator(
        [*texts(), *PROMPTS], trainers.BpeTrainer(vocab_size=200, special_tokens=special)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def test_training_reads_prompt_and_response_apart(spelling: PreTrainedTokenizerFast) -> None:
    encoder = Encoder(spelling, 200, 20, "causal")
    explicit, implicit = in_form(PAIRS, "explicit"), in_form(PAIRS, "implicit")
    for row, whole, pair in zip(
        explicit.to_dicts(), implicit.to_dicts(), PAIRS.to_dicts(), strict=True
    ):
        for side in SIDES:
            apart = ids(spelling, row["prompt"]) + ids(spelling, f" {pair[side]}")
            assert [*apart, encoder.eos_id] == trained(encoder, pair["prompt"], pair[side])
            assert row["prompt"] + row[side] == whole[side]
            # A trainer reads the text whole, where a space precedes the response unless a line
            # break does.
            joined = [*ids(spelling, whole[side]), encoder.eos_id]
            is_equal = joined == trained(encoder, pair["prompt"], pair[side])
            assert is_equal != pair["prompt"].endswith("\n")


def test_a_tokenizer_that_begins_with_a_space_reads_the_whole_text_as_training_does() -> None:
    tokenizer = space_first()
    encoder = Encoder(tokenizer, 200, 20, "causal")
    pairs = PAIRS.filter(~pl.col("prompt").str.ends_with("\n"))
    assert pairs.height == 3
    for row, pair in zip(in_form(pairs, "implicit").to_dicts(), pairs.to_dicts(), strict=True):
        for side in SIDES:
            joined = [*ids(tokenizer, row[side]), encoder.eos_id]
            assert joined == trained(encoder, pair["prompt"], pair[side])


def rendered(tokenizer: PreTrainedTokenizerFast, messages: list[Any], asks: bool) -> list[int]:
    """The ids of a chat template's text."""
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=asks, **VARIABLES
    )
    return ids(tokenizer, str(text))


@pytest.mark.parametrize("kind", TEMPLATES)
def test_messages_in_a_chat_template_have_the_ids_of_training(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    encoder = Encoder(tokenizer, 200, 20, "causal", chat=True)
    for row, pair in zip(
        in_form(PAIRS, "conversational").to_dicts(), PAIRS.to_dicts(), strict=True
    ):
        prompt = encoder.prompts([pair["prompt"]])[0]
        assert rendered(tokenizer, row["prompt"], asks=True) == prompt
        for side in SIDES:
            # The template can write a line break after the end of a turn.
            whole = rendered(tokenizer, row["prompt"] + row[side], asks=False)
            ends = len(whole) - whole[::-1].index(encoder.eos_id)
            assert str(tokenizer.decode(whole[ends:])).strip() == ""
            if kind == "mistral":  # its template puts a space before a response
                response = [*ids(tokenizer, f" {pair[side]}"), encoder.eos_id]
            else:
                response = encoder.responses([pair[side]])[0]
            assert whole[:ends] == prompt + response
