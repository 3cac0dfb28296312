"""Sharding on its own; tests/training/test_several.py trains with it in two processes."""

from __future__ import annotations

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tests.small_models import PROMPTS, tiny_backbone
from westofn.errors import ModelError
from westofn.networks.sharding import fill, hollow_copy, shard
from westofn.text.encoding import Encoder, pad


def test_a_model_without_marked_layers_is_refused() -> None:
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2, "vocab_size": 4}
    model = T5ForConditionalGeneration(T5Config(num_layers=0, num_decoder_layers=0, **sizes))
    with pytest.raises(
        ModelError, match=r"strategy is fsdp, .* of a t5 model; set strategy to ddp"
    ):
        shard(model, torch.device("cpu"))


def test_a_filled_copy_computes_what_the_model_does(small_encoder: Encoder) -> None:
    model = tiny_backbone(small_encoder, seed=2)
    copied = hollow_copy(model)
    assert all(weight.is_meta for weight in copied.parameters())
    fill(copied, model.state_dict())
    assert copied.encoder.embed_tokens.weight is copied.shared.weight
    rows = pad(small_encoder.prompts(PROMPTS), small_encoder.pad_id)
    read = [m.encoder(rows.ids, rows.mask.long()).last_hidden_state for m in (model, copied)]
    assert torch.equal(*read)
