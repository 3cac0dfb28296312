"""A pretrained model in the hub's format becomes a policy that reads text as it did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.chat_templates import TEMPLATES
from tests.small_families import tiny_model
from tests.small_models import PROMPTS, RESPONSES, sft_params, texts
from westofn.errors import ModelError
from westofn.models.policy import load_policy, log_likelihood, save_policy
from westofn.networks.families import network_of
from westofn.networks.limits import require_room
from westofn.params.sft import SftParams
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import load_pretrained_tokenizer
from westofn.training.sft import build_policy


@dataclass(frozen=True)
class Kind:
    """What a family's tokenizer looks like: its class, its special tokens, what it adds."""

    kind: str
    eos: str
    bos: str | None = None
    pad: str | None = None
    adds: str = "$A"
    others: tuple[str, ...] = ()
    chat: str | None = None


# As published: GPT-2 and Llama have no padding, Qwen no start, and GPT-2 does not use its own.
KINDS = {
    "t5": Kind("PreTrainedTokenizerFast", "</s>", pad="<pad>", adds="$A </s>"),
    "gpt2": Kind("GPT2Tokenizer", "<|endoftext|>", "<|endoftext|>"),
    "llama": Kind(
        "PreTrainedTokenizerFast",
        "<|end_of_text|>",
        "<|begin_of_text|>",
        adds="<|begin_of_text|> $A",
        others=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        chat="llama",
    ),
    "qwen2": Kind(
        "Qwen2Tokenizer", "<|im_end|>", pad="<|endoftext|>", others=("<|im_start|>",), chat="chatml"
    ),
    "qwen3": Kind(
        "Qwen2Tokenizer",
        "<|endoftext|>",
        pad="<|endoftext|>",
        others=("<|im_start|>", "<|im_end|>"),
        chat="chatml",
    ),
    "gemma": Kind(
        "PreTrainedTokenizerFast",
        "<eos>",
        "<bos>",
        "<pad>",
        "<bos> $A",
        ("<start_of_turn>", "<end_of_turn>"),
        "gemma",
    ),
}
CHATS = [name for name, kind in KINDS.items() if kind.chat]


def hub_folder(
    model_type: str, folder: Path, letters: Sequence[str] | None = None, **options: Any
) -> Path:
    """A tiny model and its byte-level tokenizer, as the hub keeps them.

    Args:
        model_type: One of KINDS.
        folder: Where they go.
        letters: What the tokenizer can spell; without them any text. A model that has learnt
            nothing then writes what is read back as it was written.
        options: Of the model's configuration.
    """
    kind = KINDS[model_type]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    named = {"bos_token": kind.bos, "eos_token": kind.eos, "pad_token": kind.pad}
    named = {role: token for role, token in named.items() if token}
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(dict.fromkeys([*named.values(), *kind.others])),
        initial_alphabet=list(letters or pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(texts(), trainer)
    raw.post_processor = processors.TemplateProcessing(
        single=kind.adds,
        special_tokens=[(name, raw.token_to_id(name)) for name in named.values()],
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **named)
    if kind.chat:
        tokenizer.chat_template = TEMPLATES[kind.chat]
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tokenizer_class": kind.kind}))
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tiny_model(model_type, Encoder(tokenizer, 40, 8), **options).save_pretrained(folder)
    return folder


def _params(folder: Path, **changes: Any) -> SftParams:
    settings = {"max_prompt_tokens": 40, "model": str(folder)} | changes
    return SftParams(**(sft_params().model_dump() | settings))


@pytest.mark.parametrize("model_type", KINDS)
def test_prompts_have_the_ids_that_the_tokenizer_itself_gives(
    model_type: str, tmp_path: Path
) -> None:
    policy = build_policy(_params(hub_folder(model_type, tmp_path)), [], seed=0)
    own = AutoTokenizer.from_pretrained(tmp_path)
    assert policy.encoder.prompts(PROMPTS) == own(PROMPTS).input_ids
    assert policy.encoder.pad_id == own.convert_tokens_to_ids(
        KINDS[model_type].pad or KINDS[model_type].eos
    )
    typed = f"a {KINDS[model_type].eos} b {KINDS[model_type].bos}"
    assert policy.encoder.prompts([typed])[0].count(policy.encoder.eos_id) == (
        KINDS[model_type].adds.endswith("</s>")
    )
    assert policy.encoder.decode(policy.encoder.responses([typed])) == [typed]


@pytest.mark.parametrize("model_type", KINDS)
def test_a_policy_of_it_is_saved_and_read_alike(model_type: str, tmp_path: Path) -> None:
    policy = build_policy(_params(hub_folder(model_type, tmp_path / "hub")), [], seed=0)
    save_policy(policy, tmp_path / "policy", list(zip(PROMPTS, RESPONSES, strict=True)), {})
    again = load_policy(tmp_path / "policy")
    assert again.encoder.template == policy.encoder.template
    before, after = (log_likelihood(p, PROMPTS, RESPONSES).logprob for p in (policy, again))
    assert after.tolist() == pytest.approx(before.tolist(), abs=1e-5)


@pytest.mark.parametrize("model_type", CHATS)
def test_an_instruct_model_reads_its_own_template(model_type: str, tmp_path: Path) -> None:
    folder = hub_folder(model_type, tmp_path / "hub", max_position_embeddings=128)
    policy = build_policy(_params(folder, chat_template="model", max_prompt_tokens=80), [], seed=0)
    own = AutoTokenizer.from_pretrained(folder)
    asked = own.apply_chat_template(
        [{"role": "user", "content": PROMPTS[0]}],
        add_generation_prompt=True,
        return_dict=False,
        date_string="26 Jul 2024",
    )
    assert policy.encoder.prompts(PROMPTS[:1]) == [asked]
    save_policy(policy, tmp_path / "policy", [(PROMPTS[0], "so")], {})
    again = load_policy(tmp_path / "policy").encoder
    assert again.template == policy.encoder.template
    assert again.template.chat != "none"
    assert again.prompts(PROMPTS) == policy.encoder.prompts(PROMPTS)


@pytest.mark.parametrize(
    ("model_type", "responses", "positions", "needed"),
    [
        ("gpt2", 1, 49, 49),  # 40 of a prompt, 8 of a response and its end
        ("llama", 1, 49, 49),
        ("llama", 2, 58, 58),
    ],
)
def test_texts_that_may_be_longer_than_the_model_is_made_for_are_refused(
    model_type: str, responses: int, positions: int, needed: int, tmp_path: Path
) -> None:
    encoder = Encoder(load_pretrained_tokenizer(str(hub_folder(model_type, tmp_path))), 40, 8)
    key = "n_positions" if model_type == "gpt2" else "max_position_embeddings"

    def ask(limit: int) -> None:
        network = network_of(tiny_model(model_type, encoder, **{key: limit}))
        require_room(network, encoder, "a model", "sft.model", responses)

    ask(positions)
    message = f"positions for {needed - 1} tokens, the limits allow rows of {needed}"
    with pytest.raises(ModelError, match=message):
        ask(needed - 1)


def test_a_pretrained_model_that_is_too_short_is_refused_at_once(tmp_path: Path) -> None:
    folder = hub_folder("gpt2", tmp_path)
    with pytest.raises(ModelError, match="the limits allow rows of 109: "):
        build_policy(_params(folder, max_prompt_tokens=100), [], seed=0)


def test_a_sentencepiece_model_alone_is_read_as_t5_comes_with_it(tmp_path: Path) -> None:
    SentencePieceTrainer.train(
        sentence_iterator=iter([*texts(), *PROMPTS, *RESPONSES]),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    settings = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "extra_ids": 0}
    settings |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    encoder = Encoder(load_pretrained_tokenizer(str(tmp_path)), 40, 8)
    (row,) = encoder.responses(["the cat </s> sat"])
    assert row.count(1) == 1  # the end alone; what was typed is text
    assert row[-1] == 1
    assert encoder.decode(encoder.responses(["the cat sat"])) == ["the cat sat"]


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    config = hub_folder("llama", tmp_path) / "tokenizer_config.json"
    raw = json.loads(config.read_text())
    del raw["eos_token"]
    config.write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=r"has no eos_token, which ends a response; give sft\."):
        load_pretrained_tokenizer(str(tmp_path))
