"""The card beside every saved model: what it is, how it reads text, and what it must answer.

Canaries are outputs on a few fixed inputs, stored at save and recomputed at load: a head that was
lost, a tokenizer that was swapped, or weights of another run are found before anything uses them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from westofn.core.comparators import COMPARATORS
from westofn.errors import ModelError
from westofn.params.network import Precision

FORMAT = 1
CARD = "card.json"
ENSEMBLE = "ensemble.json"
# Other hardware sums in another order, and in bf16 rounds to 3 digits on the way.
CANARY_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2}


@dataclass(frozen=True)
class Canary:
    """An input and what the model answered at save: log π(y|x), or the head's outputs."""

    prompt: str
    response: str
    output: list[float]


@dataclass(frozen=True)
class Card:
    """Contents of card.json.

    Attributes:
        role: What the model is for.
        family: Of its network, see `encoding.Family`.
        comparator: A reward model's comparator, a name in `westofn.core.comparators.COMPARATORS`.
        planes: Of the embedding comparator's skew-symmetric part.
        readout: Of a reward model: mean or last.
        template: The encoder's identity, see `encoding.Template`.
        reward_mean: Of a pointwise model over its human training pairs, both responses.
        reward_std: The same.
        precision: Of the weights: fp32 or bf16.
        canaries: See the module.
        training: What made it: counts, best step, validation accuracy.
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
        comparator = COMPARATORS.get(self.comparator or "")
        return comparator is not None and comparator.gives_rewards

    def write(self, folder: Path) -> None:
        """Write card.json into the model's folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path, role: Literal["policy", "reward_model"]) -> Card:
    """The card of a saved model.

    Raises:
        ModelError: No such folder, no card, another format, or another role than asked for.
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
    """What the cards of a reward model say of it; where members differ, a value each.

    Raises:
        ModelError: As `read_card`, of the model or of a member.
    """
    members = member_folders(folder)
    cards = [read_card(member, "reward_model") for member in members]
    facts = {"members": str(len(members))} if len(members) > 1 else {}
    said = [{"family": c.family, "comparator": c.comparator, **c.training} for c in cards]
    return facts | {key: str(value) for key, value in in_one(said).items()}


def in_one(members: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """What the members of an ensemble say of themselves; where they differ, a value each.

    >>> in_one([{"steps": 8, "best_step": 4}, {"steps": 8, "best_step": 6}])
    {'steps': 8, 'best_step': '4, 6'}
    """
    values: dict[str, list[object]] = {}
    for member in members:
        for key, value in member.items():
            values.setdefault(key, []).append(value)
    return {
        key: several[0] if len(set(several)) == 1 else ", ".join(map(str, several))
        for key, several in values.items()
    }


def member_folder(folder: Path, index: int) -> Path:
    """Where an ensemble keeps its member of this index, from 0."""
    return folder / f"member-{index}"


def member_folders(folder: Path) -> list[Path]:
    """The folders of an ensemble's members in order; of a single model the folder itself.

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
    """Say in ensemble.json that a folder holds this many members."""
    (folder / ENSEMBLE).write_text(f'{{"members": {count}}}\n', encoding="utf-8")


def check_template(folder: Path, card: Card, template: dict[str, int | str]) -> None:
    """Refuse a model whose tokenizer or limits are not those of its card."""
    for key, needed in card.template.items():
        if template.get(key) != needed:
            raise ModelError(
                f"{folder}: {key} of the tokenizer is {template.get(key)!r}, the card says "
                f"{needed!r}; the model's files do not belong together, rerun its stage"
            )


def check_family(folder: Path, card: Card, family: str) -> None:
    """Refuse a model whose configuration is of another family than its card."""
    if family != card.family:
        raise ModelError(
            f"{folder}: config.json is of a model of family {family}, the card says {card.family}; "
            "the model's files do not belong together, rerun its stage"
        )


def check_canaries(
    folder: Path, card: Card, recompute: Callable[[list[str], list[str]], Sequence[Sequence[float]]]
) -> None:
    """Refuse a model that no longer answers as it did when it was saved."""
    if not card.canaries:
        return
    tolerance = CANARY_TOLERANCE[card.precision]
    outputs = recompute([c.prompt for c in card.canaries], [c.response for c in card.canaries])
    for canary, output in zip(card.canaries, outputs, strict=True):
        for now, then in zip(output, canary.output, strict=True):
            if abs(now - then) > tolerance * max(1.0, abs(then)):
                raise ModelError(
                    f"{folder}: a canary gives {now:.5f}, at save it gave {then:.5f}; weights, "
                    "head or tokenizer were changed, rerun the stage that writes this model"
                )
