"""The model card of an exported reward model: description, training, metrics, parameters."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from westofn.artifacts.json_file import read_json
from westofn.exporting.cards import PAPER, TAG, parameters, table, versions
from westofn.exporting.lineage import Lineage, dvc_digest, recorded_stages
from westofn.exporting.metadata import model_header
from westofn.models.card import Card, in_one, member_folders, read_card

MEASURES = (
    ("accuracy", "held-out preferences, accuracy"),
    ("high_confidence_accuracy", "held-out pairs with a confident judge, accuracy"),
    ("longest_accuracy", "baseline that prefers the longer response, accuracy"),
    ("length_correlation", "correlation of margin and difference in length"),
    ("ece", "expected calibration error"),
    ("on_policy_accuracy", "pairs of the policy's own responses, accuracy"),
    ("best_of_n_win_rate", "best of N, win rate over another sample"),
    ("best_of_n_gold", "best of N, gold reward"),
)
"""Keys of eval's metrics.json and their names in the card."""

METRICS = "metrics.json"
FACTS = (
    ("test_pairs", "held-out pairs"),
    ("high_confidence_pairs", "with a confident judge"),
    ("n_candidates", "candidates per prompt"),
    ("judge", "judged by"),
)


@dataclass(frozen=True)
class About:
    """Information about a model for its card.

    Attributes:
        name: Name of the exported folder.
        cards: Card of the model, or cards of an ensemble's members.
        lineage: Parameters that produced the model.
        metrics: Content of eval's `metrics.json`; None if the model was not evaluated.
        license: License that the user names; None: only what is known without.
    """

    name: str
    cards: Sequence[Card]
    lineage: Lineage
    metrics: Mapping[str, Any] | None
    license: str | None

    @property
    def card(self) -> Card:
        """Card of the first member; members differ only in their training results."""
        return self.cards[0]


def about_model(
    model: Path,
    name: str,
    lineage: Lineage,
    metrics: Path | None,
    license: str | None,  # noqa: A002 (the name of the field in the card)
    lock: Path,
) -> About:
    """Collect the information about a model.

    Args:
        model: Folder of the model.
        name: Name of the exported folder.
        lineage: Parameters that produced the model.
        metrics: Path of eval's `metrics.json`; None: look up the evaluation of this model in
            dvc.lock.
        license: License that the user names.
        lock: Path of dvc.lock.

    Raises:
        ModelError: The folder does not contain a reward model.
        DataError: `metrics` cannot be read.
    """
    cards = [read_card(member, "reward_model") for member in member_folders(model)]
    path = metrics or _measured(lineage.digest, lock)
    return About(name, cards, lineage, read_json(path, "eval") if path else None, license)


def _measured(digest: str, lock: Path) -> Path | None:
    """Find eval's metrics of the model with this hash; None if they are missing or have changed."""
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
    """Return the hash of the model that a stage evaluated, the option `--rm` of its command.

    The stage's other reward models are the base model, whose labels it evaluates, and the
    autorater.
    """
    words = shlex.split(str(stage.get("cmd", "")))
    model = next((value for word, value in pairwise(words) if word == "--rm"), None)
    return next((dep.get("md5") for dep in stage.get("deps", []) if dep["path"] == model), None)


def header(about: About, tags: Iterable[str] = (), **more: str) -> dict[str, Any]:
    """Return the YAML header for hubs."""
    return model_header(
        about.name,
        about.lineage.params,
        role="reward_model",
        license=about.license,
        tags=["reward-model", TAG, *tags],
        metrics=about.metrics,
        **more,
    )


def body(about: About, use: Iterable[str]) -> list[str]:
    """Return the card's paragraphs.

    Args:
        about: Information about the model.
        use: Paragraphs on how to load the model.
    """
    card = about.card
    ensemble = f", an ensemble of {len(about.cards)}" if len(about.cards) > 1 else ""
    human = card.training.get("human_pairs")
    synthetic = card.training.get("synthetic_pairs")
    data = f"Trained on {human:,} human and {synthetic or 0:,} synthetic pairs. " if human else ""
    return [
        f"# {about.name}",
        f"Reward model: {card.comparator} comparator, {card.family.replace('_', '–')}{ensemble}. "
        f"{data}{PAPER if synthetic else ''}".strip(),
        "## Use",
        *use,
        "## Input",
        table(
            ("", "value"),
            [
                ("comparator", card.comparator),
                *([("planes", card.planes)] if card.planes else []),
                ("read-out", card.readout),
                *sorted(card.template.items()),
            ],
        ),
        "`layout` holds the ids of the special tokens around a prompt x and after a response y; "
        "`vocabulary` and `chat` are hashes of the tokenizer and the chat template. In training, "
        "prompts that were too long were trimmed from the left, and responses were not trimmed.",
        "Rewards are raw scalars: only differences between responses to a prompt are meaningful."
        + (
            f" Over the human training pairs the mean is {card.reward_mean:.4g} and the standard "
            f"deviation is {card.reward_std:.4g}."
            if card.gives_rewards
            else ""
        ),
        "## Training",
        table(("", "value"), in_one([member.training for member in about.cards]).items()),
        "## Metrics",
        _measures(about.metrics),
        "## Parameters",
        parameters(about.lineage),
        versions(),
    ]


def _measures(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "No evaluation of this model is recorded."
    rows: list[tuple[str, object]] = []
    for key, name in MEASURES:
        if key in metrics:
            low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
            interval = "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"
            rows.append((name, f"{metrics[key]:.4f}{interval}"))
    facts = [
        f"{metrics[key]:,} {name}" if isinstance(metrics[key], int) else f"{name} {metrics[key]}"
        for key, name in FACTS
        if key in metrics
    ]
    return f"{', '.join(facts)}; brackets: 95 % intervals over prompts.\n\n" + table(
        ("metric", "value"), rows
    )
