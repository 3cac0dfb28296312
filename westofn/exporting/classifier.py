"""A pointwise reward model as the classifier that transformers knows, for any tool that loads one.

transformers' classifier of a causal model reads the last token that is not padding, which it tells
by its id. So the read-out must be `last`, and padding must not be the end token. That of an
encoder-only model is the backbone itself, and `last` is what its last layer reads.

The tokenizer's post-processor puts the special tokens where training had them:
`tokenizer(prompt, response)` gives the ids that the encoder gives. Of a model that reads a chat
template, the prompt is what `apply_chat_template` writes up to where the assistant speaks.

What a plain tokenizer cannot do is the caller's, and a row that needs it says nothing about an
export, see `_whole`.
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
# The second is for limits that the first does not keep.
PROBES = (Canary("a question, and one more", "an answer", []), Canary("a", "b", []))


def require_classifier(scorer: Scorer, model: Path) -> None:
    """Refuse a model that no classifier of transformers can be.

    Raises:
        ModelError: It is pairwise, or its read-out is the mean.
    """
    if not scorer.comparator.gives_rewards:
        raise ModelError(
            f"{model}: comparator is {scorer.comparator.name}, which compares two responses; a "
            "classifier of transformers gives one number for one: export a student or reference, "
            "or set base_rm.comparator to pointwise and rerun"
        )
    if scorer.model.readout != "last":
        raise ModelError(
            f"{model}: read-out is {scorer.model.readout}, a classifier of transformers reads the "
            "last token alone; set reward.readout to last and rerun"
        )


def write_classifier(scorer: Scorer, canaries: Sequence[Canary], place: Path) -> None:
    """Write configuration, weights and tokenizer, and load them again as anybody would.

    Args:
        scorer: A model that `require_classifier` lets pass; it is taken apart.
        canaries: Rows on which scores are compared.
        place: A new folder.

    Raises:
        ModelError: What transformers loads reads other ids, or gives other scores; or the limit of
            prompts leaves nothing to compare.
    """
    # A classifier's weights are all of one kind, and the head is fp32.
    scorer.model.backbone.float()
    encoder = scorer.encoder
    rows = _whole(encoder, [*canaries, *PROBES])
    if not rows:
        raise ModelError(
            f"max_prompt_tokens is {encoder.template.max_prompt_tokens}, by which even the prompt "
            f"{PROBES[-1].prompt!r} is trimmed, so that nothing can be compared with what "
            "transformers loads; raise sft.max_prompt_tokens and rerun"
        )
    prompts, responses = [row.prompt for row in rows], [row.response for row in rows]
    rewards = score_rows(scorer, prompts, responses)[:, 0]
    tokenizer = _tokenizer(encoder, _segment_of_responses(scorer))
    _classifier(scorer, tokenizer).save_pretrained(place)
    tokenizer.save_pretrained(place)
    loaded = AutoTokenizer.from_pretrained(place)
    texts = [_as_given(encoder, loaded, prompt) for prompt in prompts]
    both = zip(encoder.prompts(prompts), encoder.responses(responses), strict=True)
    if loaded(texts, responses).input_ids != [prompt + response for prompt, response in both]:
        raise ModelError(
            f"transformers reads this tokenizer as {type(loaded).__name__} beside a "
            f"{scorer.model.backbone.config.model_type}, and then it gives other ids; start from a "
            "pretrained model with its own tokenizer"
        )
    found = _rewards(place, loaded, texts, responses)
    worst = float(((found - rewards).abs() / rewards.abs().clamp_min(1.0)).max())
    if not worst <= TOLERANCE:
        raise ModelError(
            f"the model that transformers loads gives rewards that differ by {worst:.2g}, needs "
            f"{TOLERANCE:g}; report this with the model's type"
        )


def _whole(encoder: Encoder, rows: Sequence[Canary]) -> list[Canary]:
    """The rows that a plain tokenizer reads as it is told: not trimmed, and see `_is_plain`."""
    limits, prompts = encoder.template, [row.prompt for row in rows]
    endless = Encoder(
        encoder.tokenizer,
        sys.maxsize,
        limits.max_response_tokens,
        limits.family,
        chat=encoder.chat is not None,
    )
    fitting = encoder.fits([row.response for row in rows])  # else positions may end
    read = zip(rows, encoder.prompts(prompts), endless.prompts(prompts), fitting, strict=True)
    return [
        row for row, ids, whole, fits in read if fits and ids == whole and _is_plain(encoder, row)
    ]


def _is_plain(encoder: Encoder, row: Canary) -> bool:
    """Whether the encoder does no more with a row than its tokenizer or template would.

    It does where a text spells out a special token, where turns of a dialogue do not alternate
    between user and assistant, and where nothing at all would stand before a response.
    """
    if any(_spells_special(encoder, text) for text in (row.prompt, row.response)):
        return False
    if encoder.chat:
        return _alternates([message.role for message in to_messages(row.prompt)])
    return bool(encoder.layout.before_prompt or plain_ids(encoder.tokenizer, [row.prompt])[0])


def _spells_special(encoder: Encoder, text: str) -> bool:
    """Whether a text spells out a token that the encoder reads as text and others as the token."""
    tokenizer = encoder.tokenizer
    (found,) = tokenizer(
        [text], add_special_tokens=False, split_special_tokens=False, verbose=False
    ).input_ids
    # Of those that a chat template writes, some are not special, such as <think>.
    written = encoder.chat.control if encoder.chat else frozenset[int]()
    unlike = {index for index in written if not tokenizer.added_tokens_decoder[index].special}
    return found != plain_ids(tokenizer, [text])[0] or not unlike.isdisjoint(found)


def _alternates(roles: Sequence[str]) -> bool:
    return roles == [("user", "assistant")[index % 2] for index in range(len(roles) | 1)]


def _as_given(encoder: Encoder, tokenizer: Any, prompt: str) -> str:
    """What a plain tokenizer is given as the prompt."""
    if encoder.chat is None:
        return prompt
    messages = [turn | {"content": turn["content"].strip()} for turn in turns(prompt)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _segment_of_responses(scorer: Scorer) -> int:
    """The token type of responses: 1 where the model tells them from prompts by it, else 0."""
    kinds = int(getattr(scorer.model.backbone.config, "type_vocab_size", 0))
    return int(scorer.encoder.template.family == "encoder" and kinds > 1)


def _tokenizer(encoder: Encoder, segment: int) -> PreTrainedTokenizerFast:
    """The tokenizer that puts the special tokens in their places by itself."""
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
        single=["$A"] if chat else [*before, "$A", *end],  # a template ends its turns itself
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
    tokenizer.init_kwargs |= settings  # what is not among these is not saved
    return tokenizer


def _classifier(scorer: Scorer, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The family's classifier around the backbone's own layers, with the head's weight."""
    backbone = scorer.model.backbone
    config: Any = backbone.config
    config.num_labels, config.id2label, config.label2id = 1, {0: "reward"}, {"reward": 0}
    config.problem_type = "regression"  # so that pipelines apply no sigmoid
    if scorer.encoder.template.family == "encoder":
        last_linear(backbone).weight = scorer.model.head.weight
        return backbone
    with torch.device("meta"):  # its random weights would be thrown away
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    setattr(model, model.base_model_prefix, backbone.base_model)
    head: Any = model.get_submodule("score")
    head.weight = scorer.model.head.weight
    if len(tokenizer) > scorer.model.network.vocabulary:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    # The classifier takes the last token that is not this one for a row's end.
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
    """Rewards by plain transformers, (rows,)."""
    model = AutoModelForSequenceClassification.from_pretrained(place).eval()
    rows = tokenizer(prompts, responses, padding=True, return_tensors="pt")
    logits: Tensor = model(**rows).logits[:, 0]
    return logits.float()
