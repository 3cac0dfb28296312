"""The card of every saved model: its type, its text template, and its canaries.

Canaries are outputs on a few fixed inputs, stored on save and recomputed on load. They detect a
missing head, a different tokenizer, or weights of another run before the model is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from westofn.errors import ModelError
from westofn.params.network import Precision

FORMAT = 1
CARD = "card.json"
ENSEMBLE = "ensemble.json"
# Other hardware sums in another order; bf16 also rounds to 3 digits.
CANARY_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2}


@dataclass(frozen=True)
class Canary:
    """An input and the model's output on save: log π(y|x), or the head's outputs."""

    prompt: str
    response: str
    output: list[float]


@dataclass(frozen=True)
class Card:
    """Contents of card.json.

    Attributes:
        role: Purpose of the model.
        family: Family of the network, see `encoding.Family`.
        template: Identity of the encoder, see `encoding.Template`.
        comparator: Comparator of a reward model, a name in `westofn.core.comparators.COMPARATORS`.
        planes: Number of planes of the embedding comparator.
        readout: Read-out of a reward model: mean or last.
        reward_mean: Mean reward of a pointwise model over both responses of its human training
            pairs.
        reward_std: Standard deviation of these rewards.
        precision: Precision of the weights: fp32 or bf16.
        canaries: Inputs and outputs that are checked on load.
        training: Facts about training: counts, best step, validation accuracy.
        format: Version of the file format.
    """

    role: Literal["policy", "reward_model"]
    family: str
    template: dict[str, int | str]
    comparator: str | None = None
    planes: int = 0
    readout: str | None = None
    reward_mean: float = 0.0
    reward_std: float = 1.0
    precision: Precision = "fp32"
    canaries: list[Canary] = field(default_factory=list)
    training: dict[str, float | int | str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def gives_rewards(self) -> bool:
        """Whether the model gives a reward to one response, and not only margins to pairs."""
        from westofn.core.comparators import COMPARATORS  # imports torch, which the report spares

        comparator = COMPARATORS.get(self.comparator or "")
        return comparator is not None and comparator.gives_rewards

    def write(self, folder: Path) -> None:
        """Write card.json into the model's folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path, role: Literal["policy", "reward_model"]) -> Card:
    """Read the card of a saved model.

    Raises:
        ModelError: The folder or the card is missing, or it has another format or role.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise ModelError(f"{folder} is missing; run `dvc repro` for the stage that writes it")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        raw["canaries"] = [Canary(**item) for item in raw["canaries"]]
        card = Card(**raw)
    except FileNotFoundError:
        raise ModelError(
            f"{folder} has no {CARD}; it was not written by this project: rerun the stage that does"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is damaged ({error}); rerun the stage that writes it") from None
    if card.format != FORMAT:
        raise ModelError(
            f"{path} has format {card.format}, this version reads {FORMAT}; rerun the stage that "
            "writes it"
        )
    if card.precision not in CANARY_TOLERANCE:
        raise ModelError(
            f"{path}: precision is {card.precision!r}, needs {' or '.join(CANARY_TOLERANCE)}; "
            "rerun the stage that writes it"
        )
    if card.role != role:
        raise ModelError(
            f"{folder} holds a {card.role}, needs a {role}; give another folder, or rerun the "
            "stage that writes this one"
        )
    return card


def describe_model(folder: Path) -> dict[str, str]:
    """Return facts from the cards of a reward model; members that differ have one value each.

    Raises:
        ModelError: `read_card` refuses the model or a member.
    """
    members = member_folders(folder)
    cards = [read_card(member, "reward_model") for member in members]
    facts = {"members": str(len(members))} if len(members) > 1 else {}
    members_facts = [{"family": c.family, "comparator": c.comparator, **c.training} for c in cards]
    return facts | {key: str(value) for key, value in in_one(members_facts).items()}


def in_one(members: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Merge facts of an ensemble's members; different values are joined by commas.

    >>> in_one([{"steps": 8, "best_step": 4}, {"steps": 8, "best_step": 6}])
    {'steps': 8, 'best_step': '4, 6'}
    """
    values: dict[str, list[object]] = {}
    for member in members:
        for key, value in member.items():
            values.setdefault(key, []).append(value)
    return {
        key: member_values[0]
        if len(set(member_values)) == 1
        else ", ".join(map(str, member_values))
        for key, member_values in values.items()
    }


def member_folder(folder: Path, index: int) -> Path:
    """Return the folder of an ensemble's member; indices start at 0."""
    return folder / f"member-{index}"


def member_folders(folder: Path) -> list[Path]:
    """Return the folders of an ensemble's members in order, or the folder of a single model.

    Raises:
        ModelError: ensemble.json is damaged.
    """
    path = folder / ENSEMBLE
    if not path.is_file():
        return [folder]
    try:
        count = json.loads(path.read_text(encoding="utf-8"))["members"]
        if not isinstance(count, int) or count < 2:
            raise ValueError(f"members is {count!r}, needs a whole number from 2")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); rerun the stage that writes it") from None
    return [member_folder(folder, index) for index in range(count)]


def write_ensemble(folder: Path, count: int) -> None:
    """Write the number of members to ensemble.json."""
    (folder / ENSEMBLE).write_text(f'{{"members": {count}}}\n', encoding="utf-8")


def check_template(folder: Path, card: Card, template: dict[str, int | str]) -> None:
    """Refuse a model whose tokenizer or limits differ from its card."""
    for key, needed in card.template.items():
        if template.get(key) != needed:
            raise ModelError(
                f"{folder}: {key} of the tokenizer is {template.get(key)!r}, the card says "
                f"{needed!r}; the model's files do not belong together, rerun its stage"
            )


def check_family(folder: Path, card: Card, family: str) -> None:
    """Refuse a model whose configuration has another family than its card."""
    if family != card.family:
        raise ModelError(
            f"{folder}: config.json is of a model of family {family}, the card says {card.family}; "
            "the model's files do not belong together, rerun its stage"
        )


def check_canaries(
    folder: Path, card: Card, recompute: Callable[[list[str], list[str]], Sequence[Sequence[float]]]
) -> None:
    """Refuse a model whose outputs differ from its outputs on save."""
    if not card.canaries:
        return
    tolerance = CANARY_TOLERANCE[card.precision]
    outputs = recompute([c.prompt for c in card.canaries], [c.response for c in card.canaries])
    for canary, output in zip(card.canaries, outputs, strict=True):
        for actual, saved in zip(output, canary.output, strict=True):
            if abs(actual - saved) > tolerance * max(1.0, abs(saved)):
                raise ModelError(
                    f"{folder}: a canary gives {actual:.5f}, at save it gave {saved:.5f}; weights, "
                    "head or tokenizer were changed, rerun the stage that writes this model"
                )
