"""Encoder-only models (BERT, RoBERTa, DistilBERT, ELECTRA, DeBERTa, ModernBERT) as reward models.

Every token sees every other, so a prompt's states depend on the response beside it: nothing of a
prompt can be shared by its responses, and each row is read whole, prompt and response.

The backbone is the family's model for sequence classification with one label. Its last linear
layer is held at zero and not read: the reward head stands in for it. So a pointwise model with
read-out `last` becomes a plain model for sequence classification by putting the head's weight
there.
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
"""`model_type` -> the layer of its sequence classifier that gives the logits."""

TOKENS_A_PASS = 2**15  # without gradient; what one layer makes of more would fill the memory


@dataclass(frozen=True)
class PromptTokens:
    """P prompts as they are, to be read with every response.

    Attributes:
        ids: (P, S) long, right-padded.
        mask: (P, S) bool, True at real tokens.
    """

    ids: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> PromptTokens:
        """Some of the prompts."""
        return PromptTokens(self.ids[rows], self.mask[rows])


@dataclass(frozen=True)
class Rows:
    """Prompt and response in one row, right-padded.

    Attributes:
        ids: (R, L) long.
        mask: (R, L) bool, True at real tokens.
        response: (R, L) bool, True at the response's tokens, of which the last is its end.
    """

    ids: Tensor
    mask: Tensor
    response: Tensor

    def chunks(self, rows: int) -> Iterator[Rows]:
        """Consecutive parts of at most so many rows."""
        for start in range(0, len(self.ids), rows):
            some = slice(start, start + rows)
            yield Rows(self.ids[some], self.mask[some], self.response[some])


class EncoderNetwork(Network[PromptTokens]):
    """A bidirectional encoder over [prompt, response] rows; holds no weights of its own."""

    family = "encoder"

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.body: Any = model.base_model
        # RoBERTa counts positions from behind that of padding, the others from 0.
        table = getattr(getattr(self.body, "embeddings", None), "position_embeddings", None)
        self.padding_position: int | None = getattr(table, "padding_idx", None)
        self.max_tokens = _positions(model.config, self.padding_position)

    @property
    def made_for(self) -> int | None:
        """What its positions allow; a DeBERTa without absolute ones reads rows of any length."""
        return self.max_tokens

    @property
    def width(self) -> int:
        """Of the last hidden states, and of what the classifier's last layer reads."""
        return int(self.model.config.hidden_size)

    @property
    def fresh(self) -> frozenset[str]:
        """What stands between the last hidden states and the logits."""
        return frozenset(_after_the_states(self.model))

    def freeze_unread(self, readout: Readout) -> None:
        """The classifier's last layer; for `mean` all that follows the last hidden states."""
        last_linear(self.model).requires_grad_(False)
        if readout == "mean":
            for weight in _after_the_states(self.model).values():
                weight.requires_grad_(False)

    def prompt_states(self, ids: Tensor, mask: Tensor) -> PromptTokens:
        """See `Network.prompt_states`; nothing is computed yet."""
        return PromptTokens(ids, mask)

    def read_out(self, states: PromptTokens, responses: Padded, readout: Readout) -> Tensor:
        """One state for every response.

        Args:
            states: Of P prompts.
            responses: (P, K, T) ids that end with the end token, right-padded, and their mask.
            readout: `mean` of the last hidden states over the response; `last`: what the last
                layer of the family's sequence classifier reads, such as BERT's pooled [CLS].

        Returns:
            (P, K, d) fp32.

        Raises:
            ModelError: A row is longer than the model's positions allow.
        """
        prompts, per_prompt, _ = responses.ids.shape
        rows = join(states, responses)
        row = rows.ids.shape[1]
        self.require_positions(
            row,
            f"a prompt and its response have {row} tokens",
            ", and a response is never cut; lower sft.max_prompt_tokens, or give "
            "reward_start.model a model with more positions",
        )
        size = len(rows.ids)
        if not torch.is_grad_enabled():
            size = max(1, TOKENS_A_PASS // row)
        read = torch.cat([self._read(some, readout) for some in rows.chunks(size)])
        return read.view(prompts, per_prompt, -1)

    def _read(self, rows: Rows, readout: Readout) -> Tensor:
        """(R, d)."""
        inputs = self._inputs(rows)
        if readout == "last":
            with _input_of(last_linear(self.model)) as seen:
                self.model(**inputs)
            return seen[0].float()
        hidden: Tensor = self.body(**inputs).last_hidden_state.float()
        weight = rows.response.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)

    def _inputs(self, rows: Rows) -> dict[str, Tensor]:
        inputs = {"input_ids": rows.ids, "attention_mask": rows.mask.long()}
        if getattr(self.model.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = rows.response.long()
        if self.padding_position is not None:
            # Its own count would take every token whose id is that of padding for padding.
            count = rows.mask.long().cumsum(-1) * rows.mask
            inputs["position_ids"] = count + self.padding_position
        return inputs


def join(prompts: PromptTokens, responses: Padded) -> Rows:
    """Each of P·K responses behind its prompt, padding moved to the right.

    Args:
        prompts: P of them, (P, S).
        responses: (P, K, T).
    """
    count, per_prompt, longest = responses.ids.shape
    begin = prompts.mask.sum(-1)[:, None].expand(count, per_prompt).reshape(-1, 1)
    end = begin + responses.mask.sum(-1).view(-1, 1)
    position = torch.arange(int(end.max()), device=begin.device)
    width = prompts.ids.shape[1]
    source = torch.where(position < begin, position, position - begin + width)
    both = torch.cat(
        [prompts.ids[:, None].expand(count, per_prompt, width), responses.ids], dim=-1
    ).view(count * per_prompt, width + longest)
    ids = both.gather(1, source.clamp_max(width + longest - 1))
    return Rows(ids, position < end, (position >= begin) & (position < end))


def last_linear(model: PreTrainedModel) -> nn.Linear:
    """The layer that gives a sequence classifier's logits."""
    layer = model.get_submodule(LAST_LINEAR[model.config.model_type])
    assert isinstance(layer, nn.Linear)
    return layer


@contextmanager
def _input_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What the layer is given while the context is open."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


def _positions(config: PretrainedConfig, padding_position: int | None) -> int | None:
    """The longest row; None for DeBERTa without absolute positions."""
    if not getattr(config, "position_biased_input", True):
        return None
    used = 0 if padding_position is None else padding_position + 1
    return int(config.max_position_embeddings) - used


def _after_the_states(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Weights between the last hidden states and the logits, by name."""
    body = f"{model.base_model_prefix}."
    return {
        name: weight
        for name, weight in model.named_parameters()
        if not name.startswith(body) or name.startswith(f"{body}pooler.")
    }


def load_classifier(name: str, local: bool, dtype: torch.dtype) -> PreTrainedModel:
    """An encoder from a folder or a hub name as a sequence classifier of one label.

    What a plain pretrained encoder has no weights for, between its last states and the logits, is
    random: the caller seeds torch. The layer of the logits is zero.

    Raises:
        ModelError: The folder lacks weights of the encoder itself.
        OSError: As transformers raises it, and ValueError, RuntimeError, SafetensorError.
    """
    auto: Any = AutoModelForSequenceClassification
    model: PreTrainedModel
    model, found = auto.from_pretrained(
        name,
        num_labels=1,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=local,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # a classifier of more labels; looked at below
        output_loading_info=True,
    )
    mismatched = {entry[0] for entry in found["mismatched_keys"]}
    own = f"{LAST_LINEAR[model.config.model_type]}."
    absent = set(found["missing_keys"]) - set(_after_the_states(model))
    absent |= {key for key in mismatched if not key.startswith(own)}
    if absent:
        raise ModelError(
            f"weights of {name!r} lack {len(absent)} that the model needs, such as "
            f"{min(absent)}; give the whole folder of an encoder, or rerun the stage that writes it"
        )
    clear_last_linear(model)
    return model


@torch.no_grad()
def clear_last_linear(model: PreTrainedModel) -> None:
    """Set the layer of the logits to zero, so that a head's weight is all that it needs."""
    layer = last_linear(model)
    layer.weight.zero_()
    if layer.bias is not None:
        layer.bias.zero_()


def build_scratch_encoder(
    size: ModelSize, *, vocabulary: int, max_tokens: int, pad_id: int, end_id: int
) -> PreTrainedModel:
    """A ModernBERT from random weights; the caller seeds torch.

    Every layer attends to the whole row, which is short.
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
