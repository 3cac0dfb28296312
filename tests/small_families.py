"""Tiny models of every type that transformers knows and this project reads."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from westofn.text.encoding import Encoder
from westofn.text.model_files import FAMILY_OF

_ROPE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "attention_dropout": 0.0,
}
# A window of 4 is shorter than most prompts here.
_WINDOW = {"sliding_window": 4}
_MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
_SETTINGS: dict[str, dict[str, Any]] = {
    "llama": _ROPE,
    "qwen2": _ROPE | _WINDOW | {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": _ROPE,
    "mistral": _ROPE | _WINDOW,
    "gemma": _ROPE,
    "gemma2": _ROPE
    | _WINDOW
    | _MIXED
    | {"query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5},
    "gemma3_text": _ROPE | _WINDOW | _MIXED | {"query_pre_attn_scalar": 8},
    "phi3": _ROPE | _WINDOW | {"resid_pdrop": 0.0, "embd_pdrop": 0.0},
    "gpt2": {
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
    "t5": {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 2,
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
    },
}
CAUSAL = [name for name, family in FAMILY_OF.items() if family == "causal"]
GENERATORS = list(_SETTINGS)


def tiny_model(model_type: str, encoder: Encoder, seed: int = 0, **options: Any) -> PreTrainedModel:
    """Two layers of width 16 in evaluation mode, with weights large enough to tell texts apart."""
    ids = {"pad_token_id": encoder.pad_id, "eos_token_id": encoder.eos_id}
    ids["bos_token_id"] = ids["eos_token_id"]
    settings = {"vocab_size": len(encoder.tokenizer)} | _SETTINGS[model_type] | ids | options
    config = AutoConfig.for_model(model_type, **settings)
    torch.manual_seed(seed)
    kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model: PreTrainedModel = kind.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2 and model_type != "t5":
                weight.normal_(std=0.3)
    return model
