"""Tiny models of a small vocabulary, for tests that look at numbers and not at quality."""

from __future__ import annotations

from typing import Any

import torch
from transformers import T5ForConditionalGeneration

from westofn.models.policy import Policy
from westofn.models.reward import RewardModel, Scorer
from westofn.networks.encoder_decoder import build_scratch
from westofn.params.comparator import ComparatorName
from westofn.params.lora import AdapterParams, LoraParams
from westofn.params.network import ModelSize, Readout
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams, ScratchEncoder
from westofn.params.rlhf import RlhfParams
from westofn.params.sft import ScratchModel, SftParams
from westofn.text.encoding import Encoder

VOCABULARY = [
    "the",
    "a",
    "cat",
    "dog",
    "sun",
    "moon",
    "sat",
    "ran",
    "hid",
    "on",
    "red",
    "blue",
    "good",
    "bad",
    "so",
    "long",
]
PROMPTS = ["the cat sat", "a dog ran on the red moon", "sun", "so long a blue cat hid on the sun"]
RESPONSES = ["good", "bad dog", "a red cat sat on the moon", "so so long"]
READOUTS: tuple[Readout, ...] = ("mean", "last")
ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.98, "adam_epsilon": 1e-8, "max_gradient_norm": 1.0}
OPTIMISER = {**ADAM, "schedule": "cosine"}
NO_LORA = LoraParams(rank=0, alpha=16.0, targets="all-linear", dropout=0.0)
TINY = ModelSize(width=16, layers=2, heads=2, feed_forward=32, dropout=0.0)
COMPARATORS: tuple[ComparatorName, ...] = ("embedding", "joint", "pointwise")


def texts() -> list[str]:
    """Every word with and without the space before it, which the word tokenizer keeps."""
    return [f"{word} {word}" for word in VOCABULARY]


def tiny_backbone(
    encoder: Encoder, seed: int = 0, vocabulary: int | None = None, **size: Any
) -> T5ForConditionalGeneration:
    """Two layers of width 16, without dropout, in evaluation mode."""
    torch.manual_seed(seed)
    model: T5ForConditionalGeneration = build_scratch(
        TINY.model_copy(update=size),
        vocabulary=vocabulary or len(encoder.tokenizer),
        pad_id=encoder.pad_id,
        eos_id=encoder.eos_id,
    ).eval()
    return model


def tiny_policy(encoder: Encoder, seed: int = 0, **options: Any) -> Policy:
    return Policy(tiny_backbone(encoder, seed, **options), encoder)


def tiny_scorer(
    encoder: Encoder, comparator: ComparatorName, seed: int = 0, readout: Readout = "mean"
) -> Scorer:
    """An untrained reward model whose outputs are some units wide."""
    model = RewardModel(tiny_backbone(encoder, seed), comparator, 2, readout)
    torch.nn.init.normal_(model.head.weight, std=0.7)  # its own start says nothing, see ADR 17
    return Scorer(model.eval(), encoder)


def sft_params(**changes: Any) -> SftParams:
    settings: dict[str, Any] = {
        **OPTIMISER,
        "model": "scratch",
        "chat_template": "none",
        "scratch": ScratchModel(
            family="encoder_decoder",
            width=16,
            layers=2,
            heads=2,
            feed_forward=32,
            dropout=0.0,
            tokenizer="words",
            vocabulary=64,
        ),
        "precision": "fp32",
        "lora": NO_LORA,
        "max_prompt_tokens": 12,
        "max_response_tokens": 8,
        "steps": 6,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_fraction": 0.0,
        "weight_decay": 0.01,
        "evaluations": 5,
        "validation_rows": 512,
    }
    return SftParams(**(settings | changes))


def reward_params(**changes: Any) -> RewardModelParams:
    settings: dict[str, Any] = {
        **OPTIMISER,
        "lora": NO_LORA,
        "steps": 6,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_fraction": 0.0,
        "weight_decay": 0.01,
        "learner": "network",
        "head_start": "zero",
        "loss": "bradley_terry",
        "loss_margin": 1.0,
        "label_smoothing": 0.1,
        "dropout": 0.0,
        "readout": "mean",
        "average_decay": 0.0,
        "runs": 1,
        "evaluations": 3,
        "validation_pairs": 512,
        "centering": 0.01,
    }
    return RewardModelParams(**(settings | changes))


def start_params(model: str = "policy") -> RewardStartParams:
    size = ScratchEncoder(width=16, layers=2, heads=2, feed_forward=32, dropout=0.0)
    return RewardStartParams(model=model, scratch=size)


def rlhf_params(**changes: Any) -> RlhfParams:
    settings: dict[str, Any] = {
        **ADAM,
        "adam_beta2": 0.95,
        "algorithm": "ppo",
        "lora": AdapterParams(rank=0, alpha=16.0, targets="all-linear"),
        "steps": 6,
        "batch_size": 16,
        "samples_per_prompt": 2,
        "learning_rate": 1e-2,
        "warmup_fraction": 0.0,
        "kl_weight": 0.0,
        "missing_end_penalty": 0.0,
        "temperature": 0.7,
        "epochs": 1,
        "minibatches": 2,
        "clip": 0.2,
        "value_warmup_steps": 2,
        "value_clip": 0.5,
        "discount": 1.0,
        "gae_lambda": 0.95,
        "evaluations": 3,
    }
    return RlhfParams(**(settings | changes))
