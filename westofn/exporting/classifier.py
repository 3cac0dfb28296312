"""Export a pointwise reward model as a transformers sequence classifier.

The classifier of a causal model reads the last token whose id is not the padding id. So the
read-out must be `last`, and the padding token must differ from the end token. An encoder-only
backbone is already a classifier; its read-out `last` is the input of its last layer.

`tokenizer` says which ids the exported tokenizer gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from westofn.errors import ModelError
from westofn.exporting.tokenizer import comparable_rows, exported_tokenizer, tokenizer_input
from westofn.models.card import Canary
from westofn.models.reward import Scorer
from westofn.models.scoring import score_rows
from westofn.networks.encoder_only import last_linear

PAD = "<|pad|>"
TOLERANCE = 1e-5  # absolute, and relative for rewards above 1


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
    rows = comparable_rows(encoder, canaries)
    prompts, responses = [row.prompt for row in rows], [row.response for row in rows]
    rewards = score_rows(scorer, prompts, responses)[:, 0]
    tokenizer = exported_tokenizer(encoder, (encoder.eos_id,), _segment_of_responses(scorer))
    if tokenizer.pad_token_id == encoder.eos_id and encoder.template.family == "causal":
        tokenizer.add_special_tokens({"pad_token": PAD})
    _classifier(scorer, tokenizer).save_pretrained(place)
    tokenizer.save_pretrained(place)
    loaded = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    texts = [tokenizer_input(encoder, loaded, prompt) for prompt in prompts]
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


def _segment_of_responses(scorer: Scorer) -> int:
    """Return the token type of responses: 1 if the model has token types for segments, else 0."""
    token_types = int(getattr(scorer.model.backbone.config, "type_vocab_size", 0))
    return int(scorer.encoder.template.family == "encoder" and token_types > 1)


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
