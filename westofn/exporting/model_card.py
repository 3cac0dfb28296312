"""The model card of an exported reward model: what it is, what made it, what it was measured at."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from westofn.artifacts.json_file import read_json
from westofn.exporting.cards import PAPER, parameters, table, versions
from westofn.exporting.lineage import Lineage, dvc_digest, recorded_stages
from westofn.models.card import Card, in_one, member_folders, read_card

MEASURES = (
    ("accuracy", "held-out preferences, accuracy"),
    ("high_confidence_accuracy", "the same where the judge is sure"),
    ("longest_accuracy", "the rule “the longer is better” on them, accuracy"),
    ("length_correlation", "correlation of margin and difference in length"),
    ("ece", "expected calibration error"),
    ("on_policy_accuracy", "pairs of the policy's own responses, accuracy"),
    ("best_of_n_win_rate", "best of N, win rate over another sample"),
    ("best_of_n_gold", "best of N, gold reward"),
)
"""Keys of eval's metrics.json, and what a card calls them."""

METRICS = "metrics.json"
FACTS = (
    ("test_pairs", "held-out pairs"),
    ("high_confidence_pairs", "of which the judge is sure"),
    ("n_candidates", "candidates a prompt"),
    ("judge", "judged by"),
)


@dataclass(frozen=True)
class About:
    """What a card is made of.

    Attributes:
        name: Of the exported folder.
        cards: Of the model, or of an ensemble's members.
        lineage: How it was made.
        metrics: `metrics.json` of eval; None where it was not measured.
    """

    name: str
    cards: Sequence[Card]
    lineage: Lineage
    metrics: Mapping[str, Any] | None

    @property
    def card(self) -> Card:
        """Of the first member; members differ in what training reached alone."""
        return self.cards[0]


def about_model(
    model: Path, name: str, lineage: Lineage, metrics: Path | None, lock: Path
) -> About:
    """Gather what is known of a model.

    Args:
        model: Its folder.
        name: Of the exported folder.
        lineage: How it was made.
        metrics: `metrics.json` of eval; None takes what dvc.lock says was measured of this content.
        lock: DVC's record of the run.

    Raises:
        ModelError: The folder holds no reward model.
        DataError: `metrics` cannot be read.
    """
    cards = [read_card(member, "reward_model") for member in member_folders(model)]
    path = metrics or _measured(lineage.digest, lock)
    return About(name, cards, lineage, read_json(path, "eval") if path else None)


def _measured(digest: str, lock: Path) -> Path | None:
    """Where eval's metrics of a model of this content lie, unless they have changed since."""
    for name, stage in recorded_stages(lock).items():
        if not name.startswith(("eval@", "eval_reference@")):
            continue
        if _evaluated(stage) != digest:
            continue
        for out in stage.get("outs", []):
            folder = lock.parent / str(out["path"])
            if folder.is_dir() and dvc_digest(folder) == out.get("md5"):
                return folder / METRICS
    return None


def _evaluated(stage: Mapping[str, Any]) -> str | None:
    """The content of the model that a stage evaluated: what its command names by `--rm`.

    It reads other reward models too: the base model, whose labels it judges, and the autorater.
    """
    words = shlex.split(str(stage.get("cmd", "")))
    model = next((value for word, value in pairwise(words) if word == "--rm"), None)
    return next((dep.get("md5") for dep in stage.get("deps", []) if dep["path"] == model), None)


def header(tags: Iterable[str] = (), **more: object) -> dict[str, object]:
    """What a hub reads."""
    return {"tags": ["reward-model", "west-of-n", *tags], **more}


def body(about: About, use: Iterable[str]) -> list[str]:
    """The card's paragraphs.

    Args:
        about: What is known of the model.
        use: Paragraphs on how to load it.
    """
    card = about.card
    several = f", an ensemble of {len(about.cards)}" if len(about.cards) > 1 else ""
    human = card.training.get("human_pairs")
    synthetic = card.training.get("synthetic_pairs")
    data = f"Trained on {human:,} human and {synthetic or 0:,} synthetic pairs. " if human else ""
    return [
        f"# {about.name}",
        f"Reward model: {card.comparator} comparator, {card.family.replace('_', '–')}{several}. "
        f"{data}{PAPER if synthetic else ''}".strip(),
        "## Use",
        *use,
        "## What it reads",
        table(
            ("", "value"),
            [
                ("comparator", card.comparator),
                *([("planes", card.planes)] if card.planes else []),
                ("read-out", card.readout),
                *sorted(card.template.items()),
            ],
        ),
        "`layout` has the ids of the special tokens around a prompt x and after a response y; "
        "`vocabulary` and `chat` are digests of tokenizer and chat template. In training a prompt "
        "that was too long lost its beginning, and a response was never cut.",
        "Rewards are raw scalars: differences mean something, a sign does not."
        + (
            f" Over the human training pairs their mean is {card.reward_mean:.4g}, their standard "
            f"deviation {card.reward_std:.4g}."
            if card.gives_rewards
            else ""
        ),
        "## Training",
        table(("", "value"), in_one([one.training for one in about.cards]).items()),
        "## Measured",
        _measures(about.metrics),
        "## Parameters",
        parameters(about.lineage),
        versions(),
    ]


def _measures(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "Nothing is on record for this content."
    rows: list[tuple[str, object]] = []
    for key, name in MEASURES:
        if key in metrics:
            low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
            interval = "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"
            rows.append((name, f"{metrics[key]:.4f}{interval}"))
    facts = [
        f"{metrics[key]:,} {what}" if isinstance(metrics[key], int) else f"{what} {metrics[key]}"
        for key, what in FACTS
        if key in metrics
    ]
    return f"{', '.join(facts)}; in brackets 95 % intervals over prompts.\n\n" + table(
        ("measure", "value"), rows
    )
