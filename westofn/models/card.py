"""The card of every saved model: its type, its text template, its checksums, and its canaries.

The card names the SHA-256 of every other file in the folder and of its own content, so a file that
was changed or cut short is noticed when the model is loaded.

Canaries are outputs on a few fixed inputs, stored on save and recomputed on load. They detect a
library or a device that computes another function from the same files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator, with_config
from typing_extensions import TypedDict

from westofn.artifacts.integrity import SEAL, difference, read_sealed, write_sealed
from westofn.artifacts.json_file import read_json
from westofn.artifacts.table import show
from westofn.errors import DataError, ModelError
from westofn.params.comparator import ComparatorName
from westofn.params.network import Precision, Readout

FORMAT: Final = 2
CARD = "card.json"
ENSEMBLE = "ensemble.json"
# Other hardware sums in another order; bf16 also rounds to 3 digits.
CANARY_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2}

Limit = Annotated[int, Field(ge=1)]
FileName = Annotated[str, Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Content = TypeVar("Content", bound=BaseModel)
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@with_config(ConfigDict(extra="forbid", strict=True))
class TemplateFacts(TypedDict):
    """What `encoding.Template` stores of an encoder."""

    max_prompt_tokens: Limit
    max_response_tokens: Limit
    vocabulary: str
    family: str
    layout: str
    chat: str
    trim: str
    version: int


class Canary(BaseModel):
    """An input and the model's output on save: log π(y|x), or the head's outputs."""

    model_config = _STRICT

    prompt: str
    response: str
    output: list[float]


class Card(BaseModel):
    """Contents of card.json: strict types, no unknown keys.

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
        canaries: Inputs and outputs that are checked on load, at least one in a file.
        files: SHA-256 of every other file of the folder, at least one in a file.
        training: Facts about training: counts, best step, validation accuracy.
        format: Version of the file format.
    """

    model_config = _STRICT

    role: Literal["policy", "reward_model"]
    family: Literal["encoder_decoder", "causal", "encoder"]
    template: TemplateFacts
    comparator: ComparatorName | None = None
    planes: Annotated[int, Field(ge=0)] = 0
    readout: Readout | None = None
    reward_mean: float = 0.0
    reward_std: Annotated[float, Field(gt=0)] = 1.0
    precision: Precision = "fp32"
    canaries: list[Canary] = []
    files: dict[FileName, Sha256] = {}
    training: dict[str, float | int | str] = {}
    format: Literal[2] = FORMAT

    @model_validator(mode="after")
    def _a_reward_model_says_how_it_compares(self) -> Self:
        if self.role == "reward_model" and None in (self.comparator, self.readout):
            raise ValueError("a reward_model needs comparator and readout")
        return self

    @property
    def gives_rewards(self) -> bool:
        """Whether the model gives a reward to one response, and not only margins to pairs."""
        from westofn.core.comparators import COMPARATORS  # imports torch, which the report spares

        comparator = COMPARATORS.get(self.comparator or "")
        return comparator is not None and comparator.gives_rewards

    def write(self, folder: Path) -> None:
        """Write card.json into the model's folder.

        Raises:
            DataError: A fact of training is NaN or infinite, or the disk refuses the file.
        """
        write_sealed(self.model_dump(), folder / CARD)


class _Ensemble(BaseModel):
    """Contents of ensemble.json."""

    model_config = _STRICT

    members: Annotated[int, Field(ge=2)]


def read_card(folder: Path, role: Literal["policy", "reward_model"]) -> Card:
    """Read the card of a saved model; the folder's other files are not read, see `check_files`.

    Raises:
        ModelError: The folder or the card is missing, or the card is damaged or has another format
            or role.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise ModelError(f"{folder} is missing; run `dvc repro` for the stage that writes it")
    if not path.exists():
        raise ModelError(
            f"{folder} has no {CARD}; it was not written by this project: rerun the stage that does"
        )
    raw = _read(path)
    if "format" not in raw:
        raise _damaged(path, "format is missing")
    if raw["format"] != FORMAT:
        raise ModelError(
            f"{path} has format {show(raw['format'])}, this version reads {FORMAT}; rerun the "
            "stage that writes it"
        )
    raw.pop(SEAL, None)
    card = _validated(Card, raw, path)
    for key in ("canaries", "files"):
        if not getattr(card, key):
            raise _damaged(path, f"{key} is empty, needs at least 1")
    try:
        read_sealed(path)
    except DataError as error:
        raise ModelError(f"{error}") from None
    if card.role != role:
        raise ModelError(
            f"{folder} holds a {card.role}, needs a {role}; give another folder, or rerun the "
            "stage that writes this one"
        )
    return card


def _read(path: Path) -> dict[str, object]:
    try:
        return read_json(path)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}").lstrip(": ").partition(";")[0]
        raise _damaged(path, reason) from None


def _validated(kind: type[Content], raw: Mapping[str, object], path: Path) -> Content:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            fault = f"{key} is missing"
        elif first["type"] == "extra_forbidden":
            fault = f"{show(key)} is not one of its keys"
        else:
            needed = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            fault = f"{key} is {show(first['input'])}, needs {needed}" if key else needed
        raise _damaged(path, fault) from None


def _damaged(path: Path, fault: str) -> ModelError:
    return ModelError(f"{path} is damaged ({fault}); rerun the stage that writes it")


def check_files(folder: Path, card: Card) -> None:
    """Refuse a model one of whose files differs from the file on save.

    Raises:
        ModelError: A file that the card names is missing, damaged or changed.
    """
    if fault := difference(folder, card.files):
        raise ModelError(
            f"{fault}; the file was damaged or changed: rerun the stage that writes this model, or "
            "copy the folder again"
        )


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
        ModelError: ensemble.json is damaged, or names another number of members than there are.
    """
    path = folder / ENSEMBLE
    if not path.exists():
        return [folder]
    count = _validated(_Ensemble, _read(path), path).members
    present = len(list(folder.glob("member-*")))
    if count != present:
        raise _damaged(path, f"members is {count}, the folder holds {present} of member-*")
    return [member_folder(folder, index) for index in range(count)]


def model_files(folder: Path) -> list[Path]:
    """Return the files of a reward model or an ensemble, relative to its folder.

    A file that no card names is none of the model's: its content has no checksum.

    Raises:
        ModelError: `read_card` refuses the model or a member.
    """
    files = [] if member_folders(folder) == [folder] else [Path(ENSEMBLE)]
    for member in member_folders(folder):
        names = [CARD, *read_card(member, "reward_model").files]
        files += [(member / name).relative_to(folder) for name in names]
    return files


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
    """Refuse a model whose outputs differ from its outputs on save, or are not finite."""
    tolerance = CANARY_TOLERANCE[card.precision]
    outputs = recompute([c.prompt for c in card.canaries], [c.response for c in card.canaries])
    for canary, output in zip(card.canaries, outputs, strict=True):
        if len(output) != len(canary.output):
            raise ModelError(
                f"{folder}: a canary gives {len(output)} outputs, at save it gave "
                f"{len(canary.output)}; rerun the stage that writes this model"
            )
        for actual, saved in zip(output, canary.output, strict=True):
            # NaN is within no tolerance.
            if not abs(actual - saved) <= tolerance * max(1.0, abs(saved)):
                raise ModelError(
                    f"{folder}: a canary gives {actual:.5f}, at save it gave {saved:.5f}; the "
                    "libraries or the device compute something else, or the card was changed: "
                    "rerun the stage that writes this model"
                )


def require_finite_canaries(folder: Path, canaries: Sequence[Canary]) -> None:
    """Refuse to save a model that gives NaN or an infinite output, or that has no canary."""
    if not canaries:
        raise ModelError(f"{folder}: not written: no canary, needs at least 1")
    for index, canary in enumerate(canaries):
        for value in canary.output:
            if not math.isfinite(value):
                raise ModelError(
                    f"{folder}: not written: canary {index} gives {value}, needs a finite output; "
                    "lower the learning_rate of the stage in params.yaml"
                )
