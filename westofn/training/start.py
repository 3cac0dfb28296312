"""Where every reward model starts: the SFT policy, another pretrained model, or random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from westofn.core.seeds import derive_seed
from westofn.models.card import read_card
from westofn.models.encoder_only import build_scratch_encoder
from westofn.models.encoding import Encoder
from westofn.models.folder import load_encoder
from westofn.models.policy import load_policy
from westofn.models.precision import DTYPES, precision_of
from westofn.models.pretrained import load_pretrained
from westofn.params import Precision, RewardStartParams


@dataclass(frozen=True)
class Start:
    """Weights and encoder of text that a reward model begins with, and the precision it keeps."""

    model: PreTrainedModel
    encoder: Encoder
    precision: Precision


def reward_start(params: RewardStartParams, policy: Path, seed: int, adapted: bool) -> Start:
    """What `reward_start.model` names; equal for all arms of a run.

    Args:
        params: The section `reward_start`.
        policy: Folder of the SFT policy, whose limits, precision and use of a chat template hold
            for any start.
        seed: Of what is random: all of `scratch`, or the layers that a pretrained encoder lacks
            between its last states and the head.
        adapted: Whether adapters learn and the weights do not, which then stay as they are saved.

    Raises:
        ModelError: The policy or the named model cannot be loaded, or its positions end too early.
    """
    if params.model == "policy":
        start = load_policy(policy)
        return Start(start.model, start.encoder, precision_of(start.model))
    card = read_card(policy, "policy")
    texts = load_encoder(policy, card)
    limits = texts.template.max_prompt_tokens, texts.template.max_response_tokens
    torch.manual_seed(derive_seed(seed, "reward", "start") % 2**32)
    if params.model != "scratch":
        model, encoder = load_pretrained(
            params.model,
            "reward_start.model",
            max_prompt_tokens=limits[0],
            max_response_tokens=limits[1],
            dtype=DTYPES[card.precision if adapted else "fp32"],
            chat=texts.chat is not None,
        )
        return Start(model, encoder, card.precision)
    encoder = Encoder(texts.tokenizer, *limits, "encoder")
    model = build_scratch_encoder(
        vocabulary=len(encoder.tokenizer),
        width=params.scratch.width,
        layers=params.scratch.layers,
        heads=params.scratch.heads,
        feed_forward=params.scratch.feed_forward,
        dropout=params.scratch.dropout,
        max_tokens=encoder.max_tokens,
        pad_id=encoder.pad_id,
        end_id=encoder.eos_id,
    )
    return Start(model, encoder, card.precision)
