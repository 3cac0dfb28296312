"""Encoder-only models (BERT, RoBERTa, DistilBERT, ELECTRA, DeBERTa, ModernBERT) as reward models.

Every token attends to every other, so the states of a prompt depend on the response. Responses
cannot share the prompt's states; each row contains prompt and response.

The backbone is the family's sequence classifier with one label. Its last linear layer is zero and
not used; the reward head takes its place. Copying the head's weight into this layer therefore turns
a pointwise model with read-out `last` into a plain sequence classifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from westofn.errors import ModelError
from westofn.networks.network import Network
from westofn.params.network import ModelSize, Readout
from westofn.text.encoding import Padded

LAST_LINEAR = {
    "bert": "classifier",
    "deberta-v2": "classifier",
    "distilbert": "classifier",
    "electra": "classifier.out_proj",
    "modernbert": "classifier",
    "roberta": "classifier.out_proj",
}
"""`model_type` -> layer of its sequence classifier that computes the logits."""


@dataclass(frozen=True)
class PromptTokens:
    """Token ids of P prompts, which are read with every response.

    Attributes:
        ids: (P, S) long, right-padded token ids.
        mask: (P, S) bool, True at real tokens.
    """

    ids: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> PromptTokens:
        """Return the prompts at the given rows."""
        return PromptTokens(self.ids[rows], self.mask[rows])


@dataclass(frozen=True)
class Rows:
    """Right-padded rows of prompt and response.

    Attributes:
        ids: (R, L) long, token ids.
        mask: (R, L) bool, True at real tokens.
        response: (R, L) bool, True at the response's tokens, including the end token.
    """

    ids: Tensor
    mask: Tensor
    response: Tensor


class EncoderNetwork(Network[PromptTokens]):
    """Runs a bidirectional encoder on [prompt, response] rows; it has no weights of its own."""

    family = "encoder"

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.body: Any = model.base_model
        # RoBERTa's positions start after the padding position, those of other models at 0.
        table = getattr(getattr(self.body, "embeddings", None), "position_embeddings", None)
        self.padding_position: int | None = getattr(table, "padding_idx", None)
        self.max_tokens = _positions(model.config, self.padding_position)

    @property
    def made_for(self) -> int | None:
        """Largest number of tokens in a row; None for a DeBERTa without absolute positions."""
        return self.max_tokens

    @property
    def width(self) -> int:
        """Width of the last hidden states and of the input of the classifier's last layer."""
        return int(self.model.config.hidden_size)

    @property
    def fresh(self) -> frozenset[str]:
        """Names of the weights between the last hidden states and the logits."""
        return frozenset(_after_the_states(self.model))

    def freeze_unread(self, readout: Readout) -> None:
        """Freeze unused weights: the last layer; for `mean`, all after the last hidden states."""
        last_linear(self.model).requires_grad_(False)
        if readout == "mean":
            for weight in _after_the_states(self.model).values():
                weight.requires_grad_(False)

    def read_bytes(self, prompts: int, prompt: int, rows: int, response: int) -> int:
        """See `Network.read_bytes`; every row has prompt and response."""
        count, tokens = prompts * rows, prompt + response
        return count * tokens * self.token_bytes + self.score_bytes(count, tokens)

    def prompt_states(self, ids: Tensor, mask: Tensor) -> PromptTokens:
        """Return the prompts; see `Network.prompt_states`."""
        return PromptTokens(ids, mask)

    def read_out(self, states: PromptTokens, responses: Padded, readout: Readout) -> Tensor:
        """Compute one state for every response.

        Args:
            states: P prompts.
            responses: (P, K, T), right-padded token ids with the end token, and their mask.
            readout: `mean`: mean of the last hidden states over the response. `last`: input of the
                last layer of the family's sequence classifier, such as BERT's pooled [CLS].

        Returns:
            (P, K, d) fp32, states.

        Raises:
            ModelError: A row is longer than the model's positions allow.
        """
        prompts, per_prompt, _ = responses.ids.shape
        rows = join(states, responses)
        row = rows.ids.shape[1]
        self.require_positions(
            row,
            f"a prompt and its response have {row} tokens",
            ", and responses are not trimmed; lower sft.max_prompt_tokens, or give "
            "reward_start.model a model with more positions",
        )
        return self._read(rows, readout).view(prompts, per_prompt, -1)

    def _read(self, rows: Rows, readout: Readout) -> Tensor:
        """Compute the read-out of rows, (R, d)."""
        inputs = self._inputs(rows)
        if readout == "last":
            with _input_of(last_linear(self.model)) as captured:
                self.model(**inputs)
            return captured[0].float()
        hidden: Tensor = self.body(**inputs).last_hidden_state.float()
        weight = rows.response.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)

    def _inputs(self, rows: Rows) -> dict[str, Tensor]:
        inputs = {"input_ids": rows.ids, "attention_mask": rows.mask.long()}
        if getattr(self.model.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = rows.response.long()
        if self.padding_position is not None:
            # The model's own count treats real tokens with the padding id as padding.
            count = rows.mask.long().cumsum(-1) * rows.mask
            inputs["position_ids"] = count + self.padding_position
        return inputs


def join(prompts: PromptTokens, responses: Padded) -> Rows:
    """Append each of P·K responses to its prompt, with padding only on the right.

    Args:
        prompts: (P, S), prompts.
        responses: (P, K, T), responses and their mask.
    """
    count, per_prompt, longest = responses.ids.shape
    begin = prompts.mask.sum(-1)[:, None].expand(count, per_prompt).reshape(-1, 1)
    end = begin + responses.mask.sum(-1).view(-1, 1)
    position = torch.arange(int(end.max()), device=begin.device)
    width = prompts.ids.shape[1]
    source = torch.where(position < begin, position, position - begin + width)
    joined = torch.cat(
        [prompts.ids[:, None].expand(count, per_prompt, width), responses.ids], dim=-1
    ).view(count * per_prompt, width + longest)
    ids = joined.gather(1, source.clamp_max(width + longest - 1))
    return Rows(ids, position < end, (position >= begin) & (position < end))


def last_linear(model: PreTrainedModel) -> nn.Linear:
    """Return the layer that computes a sequence classifier's logits."""
    layer = model.get_submodule(LAST_LINEAR[model.config.model_type])
    assert isinstance(layer, nn.Linear)
    return layer


@contextmanager
def _input_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Capture the inputs of a layer while the context is open."""
    captured: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    try:
        yield captured
    finally:
        handle.remove()


def _positions(config: PretrainedConfig, padding_position: int | None) -> int | None:
    """Return the largest number of tokens in a row; None for a DeBERTa with relative positions."""
    if not getattr(config, "position_biased_input", True):
        return None
    reserved = 0 if padding_position is None else padding_position + 1
    return int(config.max_position_embeddings) - reserved


def _after_the_states(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Return name -> weight, for weights between the last hidden states and the logits."""
    body = f"{model.base_model_prefix}."
    return {
        name: weight
        for name, weight in model.named_parameters()
        if not name.startswith(body) or name.startswith(f"{body}pooler.")
    }


def load_classifier(name: str, local: bool, dtype: torch.dtype) -> PreTrainedModel:
    """Load an encoder from a folder or the hub as a sequence classifier with one label.

    Weights between the last states and the logits that a plain pretrained encoder lacks are random;
    the caller seeds torch. The layer of the logits is set to zero.

    Raises:
        ModelError: Weights of the encoder itself are missing.
        OSError: transformers raised it, or ValueError, RuntimeError or SafetensorError.
    """
    auto: Any = AutoModelForSequenceClassification
    model: PreTrainedModel
    model, loading_info = auto.from_pretrained(
        name,
        num_labels=1,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=local,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # allows classifiers with more labels; checked below
        output_loading_info=True,
    )
    mismatched = {entry[0] for entry in loading_info["mismatched_keys"]}
    last_layer_prefix = f"{LAST_LINEAR[model.config.model_type]}."
    missing = set(loading_info["missing_keys"]) - set(_after_the_states(model))
    missing |= {key for key in mismatched if not key.startswith(last_layer_prefix)}
    if missing:
        raise ModelError(
            f"weights of {name!r} lack {len(missing)} that the model needs, such as "
            f"{min(missing)}; give the complete folder of an encoder, or rerun its stage"
        )
    clear_last_linear(model)
    return model


@torch.no_grad()
def clear_last_linear(model: PreTrainedModel) -> None:
    """Set the weight and bias of the layer of the logits to zero."""
    layer = last_linear(model)
    layer.weight.zero_()
    if layer.bias is not None:
        layer.bias.zero_()


def build_scratch_encoder(
    size: ModelSize, *, vocabulary: int, max_tokens: int, pad_id: int, end_id: int
) -> PreTrainedModel:
    """Build a ModernBERT with random weights; the caller seeds torch.

    Every layer uses full attention, because rows are short.
    """
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.feed_forward,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": max_tokens,
        "layer_types": ["full_attention"] * size.layers,
        "embedding_dropout": size.dropout,
        "attention_dropout": size.dropout,
        "mlp_dropout": size.dropout,
        "pad_token_id": pad_id,
        "bos_token_id": end_id,
        "eos_token_id": end_id,
        "cls_token_id": end_id,
        "sep_token_id": end_id,
        "num_labels": 1,
    }
    auto: Any = AutoModelForSequenceClassification
    model: PreTrainedModel = auto.from_config(ModernBertConfig(**settings))
    clear_last_linear(model)
    return model
