"""Saved reward models: backbone, head, tokenizer and card in one folder, checked when loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from westofn.errors import ModelError
from westofn.models.card import (
    CARD,
    Card,
    TemplateFacts,
    check_canaries,
    check_family,
    read_card,
)
from westofn.models.folder import load_encoder, write_model
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import score_rows
from westofn.networks.families import load_backbone
from westofn.networks.precision import DTYPES, precision_of
from westofn.params.comparator import ComparatorName

HEAD = "head.safetensors"


def save_reward_model(
    scorer: Scorer,
    folder: Path,
    canaries: Sequence[tuple[str, str]],
    training: dict[str, float | int | str],
    curve: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write backbone, head, tokenizer, card and curve; the folder appears only when it is whole."""
    model = scorer.model

    def write_weights(place: Path) -> None:
        model.backbone.save_pretrained(place)
        save_file({"weight": model.head.weight.detach().cpu().contiguous()}, place / HEAD)

    card = Card(
        role="reward_model",
        family=model.network.family,
        template=cast(TemplateFacts, scorer.encoder.template.to_json()),
        comparator=cast(ComparatorName, model.comparator.name),
        planes=model.planes,
        readout=model.readout,
        reward_mean=scorer.reward_mean,
        reward_std=scorer.reward_std,
        precision=precision_of(model.backbone),
        training=training,
    )
    write_model(
        folder,
        card,
        tokenizer=scorer.tokenizer,
        canaries=canaries,
        answer=partial(_answer, scorer),
        write_weights=write_weights,
        curve=curve,
    )


def load_reward_model(folder: Path, device: torch.device | str = "cpu") -> Scorer:
    """A reward model that `save_reward_model` wrote, checked against its card.

    Raises:
        ModelError: The folder is missing or incomplete, or its parts do not belong together.
    """
    _refuse_plain(folder)
    card = read_card(folder, "reward_model")
    encoder = load_encoder(folder, card)
    assert card.comparator is not None  # which `Card` validates
    assert card.readout is not None
    backbone = load_backbone(str(folder), dtype=DTYPES[card.precision])
    model = RewardModel(backbone, card.comparator, card.planes, card.readout)
    check_family(folder, card, model.network.family)
    try:
        model.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{folder / HEAD} cannot be loaded: {reason}; rerun the stage that writes this model"
        ) from None
    model.to(device).eval()
    scorer = Scorer(model, encoder, card.reward_mean, card.reward_std)
    check_canaries(folder, card, partial(_answer, scorer))
    return scorer


def _refuse_plain(folder: Path) -> None:
    """Refuse a folder for transformers alone, which has neither card nor head.

    Raises:
        ModelError: The folder is for transformers alone.
    """
    ours = any((folder / name).exists() for name in (CARD, HEAD))
    if (folder / "config.json").is_file() and not ours:
        raise ModelError(
            f"{folder} has config.json but no {CARD}: it is a model for plain transformers, such "
            "as `export rm` writes of causal and encoder-only models; load it with "
            "AutoModelForSequenceClassification, or give the folder that it was exported from, "
            "such as data/loop/k1/rm"
        )


def _answer(scorer: Scorer, prompts: list[str], responses: list[str]) -> list[list[float]]:
    """The head's outputs of rows, for canaries."""
    outputs: list[list[float]] = score_rows(scorer, prompts, responses).tolist()
    return outputs
