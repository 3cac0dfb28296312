"""Where every reward model starts: the SFT policy, another pretrained model, or random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from westofn.core.comparators import COMPARATORS
from westofn.core.seeds import derive_seed
from westofn.models.card import read_card
from westofn.models.folder import load_encoder
from westofn.models.policy import load_policy
from westofn.networks.encoder_only import build_scratch_encoder
from westofn.networks.limits import require_room
from westofn.networks.precision import precision_of
from westofn.networks.pretrained import load_pretrained
from westofn.params.comparator import ComparatorName
from westofn.params.network import Precision
from westofn.params.reward_start import RewardStartParams
from westofn.text.encoding import Encoder


@dataclass(frozen=True)
class Start:
    """What a reward model begins with.

    Attributes:
        model: The weights.
        encoder: How it reads text.
        precision: What it is trained and saved in: the policy's.
    """

    model: PreTrainedModel
    encoder: Encoder
    precision: Precision


def reward_start(
    params: RewardStartParams,
    policy: Path,
    comparator: ComparatorName,
    seed: int,
    *,
    adapted: bool = False,
) -> Start:
    """What `reward_start.model` names; equal for all arms of a run.

    Args:
        params: The section `reward_start`.
        policy: Folder of the SFT policy, whose limits of prompt and response, and use of a chat
            template, hold for any start.
        comparator: Its rows must have room; a joint row holds two responses.
        seed: Of what is random: all of `scratch`, or the layers that a pretrained encoder lacks
            between its last states and the head.
        adapted: Whether adapters alone will learn: what is frozen is loaded in its own precision.

    Raises:
        ModelError: The policy or the named model cannot be loaded, or its positions end too early.
    """
    responses = COMPARATORS[comparator].responses_a_row
    if params.model == "policy":
        start = load_policy(policy)
        require_room(start.network, start.encoder, str(policy), "sft.model", responses)
        return Start(start.model, start.encoder, precision_of(start.model))
    card = read_card(policy, "policy")
    texts = load_encoder(policy, card)
    prompt = texts.template.max_prompt_tokens
    response = texts.template.max_response_tokens
    torch.manual_seed(derive_seed(seed, "reward", "start") % 2**32)
    if params.model != "scratch":
        model, encoder = load_pretrained(
            params.model,
            "reward_start.model",
            max_prompt_tokens=prompt,
            max_response_tokens=response,
            responses=responses,
            chat=texts.chat is not None,
            precision=card.precision if adapted else "fp32",
        )
        return Start(model, encoder, card.precision)
    encoder = Encoder(texts.tokenizer, prompt, response, "encoder", ends=True)
    model = build_scratch_encoder(
        params.scratch,
        vocabulary=len(encoder.tokenizer),
        max_tokens=prompt + responses * (response + 1),
        pad_id=encoder.pad_id,
        end_id=encoder.eos_id,
    )
    return Start(model, encoder, card.precision)
