"""Export a pointwise reward model as a transformers sequence classifier.

The classifier of a causal model reads the last token whose id is not the padding id. So the
read-out must be `last`, and the padding token must differ from the end token. An encoder-only
backbone is already a classifier; its read-out `last` is the input of its last layer.

The tokenizer's post-processor inserts the special tokens as in training, so that
`tokenizer(prompt, response)` gives the same ids as the encoder, where the response begins with the
layout's seam. For a model with a chat template, the prompt is the output of `apply_chat_template`
with the generation prompt.

Some steps of the encoder, such as trimming, are left to the caller. Rows that need them are not
used to verify an export, see `_comparable`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from westofn.core.dialogue import to_messages
from westofn.errors import ModelError
from westofn.exporting.forms import turns
from westofn.models.card import Canary
from westofn.models.reward import Scorer
from westofn.models.scoring import score_rows
from westofn.networks.encoder_only import last_linear
from westofn.text.chat import VARIABLES
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import plain_ids

PAD = "<|pad|>"
TOLERANCE = 1e-5  # absolute, and relative for rewards above 1
# The first prompt can exceed a small max_prompt_tokens; the second then remains.
PROBES = (
    Canary(prompt="a question, and one more", response="an answer", output=[]),
    Canary(prompt="a", response="b", output=[]),
)


def require_classifier(scorer: Scorer, model: Path) -> None:
    """Refuse a model that cannot be a classifier of transformers.

    Raises:
        ModelError: The model is pairwise, or its read-out is the mean.
    """
    if not scorer.comparator.gives_rewards:
        raise ModelError(
            f"{model}: comparator is {scorer.comparator.name}, which compares two responses; a "
            "classifier of transformers reads one response: export a student or reference, "
            "or set base_rm.comparator to pointwise and rerun"
        )
    if scorer.model.readout != "last":
        raise ModelError(
            f"{model}: read-out is {scorer.model.readout}, a classifier of transformers reads the "
            "last token only; set reward.readout to last and rerun"
        )


def write_classifier(scorer: Scorer, canaries: Sequence[Canary], place: Path) -> None:
    """Write configuration, weights and tokenizer, and verify them with plain transformers.

    Args:
        scorer: A model that passed `require_classifier`; it is modified and cannot be used
            afterwards.
        canaries: Rows on which rewards are compared.
        place: A new folder.

    Raises:
        ModelError: The loaded tokenizer gives other ids, the loaded model gives other rewards, or
            max_prompt_tokens leaves no row to compare.
    """
    # All weights of a classifier have one dtype, and the head is fp32.
    scorer.model.backbone.float()
    encoder = scorer.encoder
    rows = _comparable(encoder, [*canaries, *PROBES])
    if not rows:
        raise ModelError(
            f"max_prompt_tokens is {encoder.template.max_prompt_tokens}, which trims even the "
            f"prompt {PROBES[-1].prompt!r}, so the export cannot be verified; raise "
            "sft.max_prompt_tokens and rerun"
        )
    prompts, responses = [row.prompt for row in rows], [row.response for row in rows]
    rewards = score_rows(scorer, prompts, responses)[:, 0]
    tokenizer = _tokenizer(encoder, _segment_of_responses(scorer))
    _classifier(scorer, tokenizer).save_pretrained(place)
    tokenizer.save_pretrained(place)
    loaded = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    texts = [_tokenizer_input(encoder, loaded, prompt) for prompt in prompts]
    encoded = zip(encoder.prompts(prompts), encoder.responses(responses), strict=True)
    responses = list(map(encoder.layout.after_seam, responses))
    if loaded(texts, responses).input_ids != [prompt + response for prompt, response in encoded]:
        raise ModelError(
            f"transformers loads this tokenizer as {type(loaded).__name__} for a model of type "
            f"{scorer.model.backbone.config.model_type}, which gives other token ids; start from a "
            "pretrained model with its own tokenizer"
        )
    loaded_rewards = _rewards(place, loaded, texts, responses)
    worst = float(((loaded_rewards - rewards).abs() / rewards.abs().clamp_min(1.0)).max())
    if not worst <= TOLERANCE:
        raise ModelError(
            f"the model that transformers loads gives rewards that differ by {worst:.2g}, needs "
            f"{TOLERANCE:g}; report this with the model's type"
        )


def _comparable(encoder: Encoder, rows: Sequence[Canary]) -> list[Canary]:
    """Return the rows that the tokenizer encodes like the encoder: untrimmed and `_is_plain`."""
    limits, prompts = encoder.template, [row.prompt for row in rows]
    untrimmed = Encoder(
        encoder.tokenizer,
        sys.maxsize,
        limits.max_response_tokens,
        limits.family,
        chat=encoder.chat is not None,
    )
    # Responses that do not fit could exceed the model's positions.
    fitting = encoder.fits([row.response for row in rows])
    encoded = zip(rows, encoder.prompts(prompts), untrimmed.prompts(prompts), fitting, strict=True)
    return [
        row
        for row, ids, untrimmed_ids, fits in encoded
        if fits and ids == untrimmed_ids and _is_plain(encoder, row)
    ]


def _is_plain(encoder: Encoder, row: Canary) -> bool:
    """Return whether the tokenizer or chat template alone encodes a row like the encoder.

    It does not if a text contains a special token, if the turns of a dialogue do not alternate
    between user and assistant, or if a row would have no token before the response.
    """
    if any(_contains_special(encoder, text) for text in (row.prompt, row.response)):
        return False
    if encoder.chat:
        return _alternates([message.role for message in to_messages(row.prompt)])
    return bool(encoder.layout.before_prompt or plain_ids(encoder.tokenizer, [row.prompt])[0])


def _contains_special(encoder: Encoder, text: str) -> bool:
    """Return whether a text contains a special token, which only the encoder reads as text."""
    tokenizer = encoder.tokenizer
    (ids,) = tokenizer(
        [text], add_special_tokens=False, split_special_tokens=False, verbose=False
    ).input_ids
    # Some control tokens of a chat template, such as <think>, are not marked as special.
    control = encoder.chat.control if encoder.chat else frozenset[int]()
    unmarked = {index for index in control if not tokenizer.added_tokens_decoder[index].special}
    return ids != plain_ids(tokenizer, [text])[0] or not unmarked.isdisjoint(ids)


def _alternates(roles: Sequence[str]) -> bool:
    return roles == [("user", "assistant")[index % 2] for index in range(len(roles) | 1)]


def _tokenizer_input(encoder: Encoder, tokenizer: Any, prompt: str) -> str:
    """Return the prompt as a caller gives it to the tokenizer."""
    if encoder.chat is None:
        return prompt
    messages = [turn | {"content": turn["content"].strip()} for turn in turns(prompt)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _segment_of_responses(scorer: Scorer) -> int:
    """Return the token type of responses: 1 if the model has token types for segments, else 0."""
    token_types = int(getattr(scorer.model.backbone.config, "type_vocab_size", 0))
    return int(scorer.encoder.template.family == "encoder" and token_types > 1)


def _tokenizer(encoder: Encoder, segment: int) -> PreTrainedTokenizerFast:
    """Return a copy of the tokenizer that inserts the special tokens by its post-processor."""
    tokenizer = deepcopy(encoder.tokenizer)
    layout = encoder.layout
    if tokenizer.pad_token_id == layout.end and encoder.template.family == "causal":
        tokenizer.add_special_tokens({"pad_token": PAD})
    before, after, end = (
        list(map(str, tokenizer.convert_ids_to_tokens(list(ids))))
        for ids in (layout.before_prompt, layout.after_prompt, (layout.end,))
    )
    ids = [*layout.before_prompt, *layout.after_prompt, layout.end]
    chat = encoder.chat
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=["$A"] if chat else [*before, "$A", *end],  # a chat template adds its own end
        pair=[*before, "$A", *after, f"$B:{segment}", *(f"{token}:{segment}" for token in end)],
        special_tokens=sorted(set(zip([*before, *after, *end], ids, strict=True))),
    )
    if chat:
        fixed = "".join(f"{{% set {name} = {value!r} %}}" for name, value in VARIABLES.items())
        tokenizer.chat_template = fixed + chat.source
    limits = encoder.template
    settings: dict[str, Any] = {
        "padding_side": "right",
        "truncation_side": "left",
        "model_input_names": ["input_ids", *["token_type_ids"] * segment, "attention_mask"],
        "model_max_length": limits.max_prompt_tokens + limits.max_response_tokens + 1,
    }
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    tokenizer.init_kwargs |= settings  # only init_kwargs are saved
    return tokenizer


def _classifier(scorer: Scorer, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the family's classifier from the backbone's layers and the head's weight."""
    backbone = scorer.model.backbone
    config: Any = backbone.config
    config.num_labels, config.id2label, config.label2id = 1, {0: "reward"}, {"reward": 0}
    config.problem_type = "regression"  # so that pipelines apply no sigmoid
    if scorer.encoder.template.family == "encoder":
        last_linear(backbone).weight = scorer.model.head.weight
        return backbone
    with torch.device("meta"):  # avoids random weights, which would be replaced anyway
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    setattr(model, model.base_model_prefix, backbone.base_model)
    head: Any = model.get_submodule("score")
    head.weight = scorer.model.head.weight
    if len(tokenizer) > scorer.model.network.vocabulary:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    # The classifier reads the last token that differs from the padding token.
    model.config.pad_token_id = int(tokenizer.pad_token_id)
    model.eval()
    return model


@torch.inference_mode()
def _rewards(
    place: Path,
    tokenizer: Callable[..., BatchEncoding],
    prompts: list[str],
    responses: list[str],
) -> Tensor:
    """Compute rewards (rows,) with plain transformers."""
    model = AutoModelForSequenceClassification.from_pretrained(
        place, use_safetensors=True, trust_remote_code=False
    ).eval()
    rows = tokenizer(prompts, responses, padding=True, return_tensors="pt")
    logits: Tensor = model(**rows).logits[:, 0]
    return logits.float()
