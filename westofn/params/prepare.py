"""The section `prepare`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from westofn.errors import ParameterError
from westofn.params.base import EXAMPLES, Count, DataPath, Positive, Section, Share
from westofn.sources.columns import Columns


def _as_text(value: object) -> object:
    """Return a number or truth value, as YAML and command lines read `1` or `true`, as text."""
    return str(value).lower() if isinstance(value, bool | int | float) else value


ColumnPath = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]


class WorldParams(Section):
    """Where the embedded world lies on the map, and how much it writes and labels.

    Attributes:
        alignment: How much of what annotators like is what the policy's samples vary in.
        off_policyness: How much the human pairs vary in ways of their own.
        sft_examples: Rows, as all numbers below; all prompts differ.
        train_pairs: HF100.
        validation_pairs: Human pairs that pick checkpoints.
        test_pairs: Human pairs for accuracy.
        test_prompts: Prompts for best-of-n and RL.
        extra_prompts: Prompts of D_U beside those of the unlabeled half of the train pairs.
        annotator_temperature: Temperature of the Bradley-Terry labels, in units of the gold reward.
    """

    alignment: Share
    off_policyness: Share
    sft_examples: Annotated[int, Field(ge=20)]
    train_pairs: Annotated[int, Field(ge=8)]
    validation_pairs: Annotated[int, Field(ge=4)]
    test_pairs: Annotated[int, Field(ge=4)]
    test_prompts: Annotated[int, Field(ge=4)]
    extra_prompts: Annotated[int, Field(ge=0)]
    annotator_temperature: Positive


def _off_or_share(value: object) -> float | str:
    """Check near_duplicates; YAML 1.1 reads `off` as false."""
    if value is False or value == "off":
        return "off"
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise PydanticCustomError("near_duplicates", "off or a number above 0 and at most 1")


class FilesParams(Section):
    """How preferences from files are split; fractions are of prompt groups.

    Attributes:
        near_duplicates: Token 5-gram Jaccard similarity from which two prompts are one group; off:
            only prompts of equal text or of one dialogue are.
    """

    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    test_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    autorater_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    near_duplicates: Annotated[Literal["off"] | float, BeforeValidator(_off_or_share)]
    limit: Annotated[int, Field(ge=0)]
    subset: Annotated[str, Field(min_length=1)]
    max_test_prompts: Count

    @model_validator(mode="after")
    def _train_pairs_are_left(self) -> Self:
        parts = ("validation_fraction", "test_fraction", "autorater_fraction")
        total = sum(getattr(self, part) for part in parts)
        if total >= 1:
            raise ValueError(
                f"{', '.join(parts)} are {total:g} together, which leaves nothing to train on; "
                "needs less than 1"
            )
        return self

    @property
    def jaccard(self) -> float | None:
        """The similarity of near duplicates; None: they are not joined."""
        return None if self.near_duplicates == "off" else self.near_duplicates

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets to read; empty means all of them."""
        return () if self.subset == "all" else tuple(self.subset.split(","))


class HubParams(Section):
    """A data set on the hub; `none` stands for what is not there.

    Attributes:
        name: Such as Anthropic/hh-rlhf; none: `prepare.path` is read.
        revision: A commit's hash or a tag.
        config: One of the data set's configurations.
        folder: One of its folders.
        split: Names with commas between, or all.
    """

    name: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)]
    config: Annotated[str, Field(min_length=1)]
    folder: Annotated[str, Field(min_length=1)]
    split: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _revision_is_pinned(self) -> Self:
        if self.name != "none" and self.revision in ("none", "main"):
            raise ValueError(
                f"revision is {self.revision}, which does not pin {self.name}; needs a commit's "
                "hash or a tag, since DVC cannot see that a branch moved"
            )
        return self


class ColumnsParams(Section):
    """Mapping of columns to read; `none` stands for what is not there, see `Columns`.

    If all are none, the columns are recognised by their names.
    """

    prompt: ColumnPath
    system: ColumnPath
    history: ColumnPath
    context: ColumnPath
    input: ColumnPath
    chosen: ColumnPath
    rejected: ColumnPath
    chosen_score: ColumnPath
    rejected_score: ColumnPath
    response_a: ColumnPath
    response_b: ColumnPath
    label: ColumnPath
    label_a: ColumnPath
    label_b: ColumnPath
    label_tie: ColumnPath
    score_a: ColumnPath
    score_b: ColumnPath
    response: ColumnPath
    score: ColumnPath
    responses: ColumnPath
    scores: ColumnPath
    order: Literal["higher", "lower"]
    subset: ColumnPath
    id: ColumnPath

    @property
    def mapping(self) -> Columns | None:
        """The mapping; None if no column is named.

        Raises:
            ParameterError: the columns have no form, or several, see `Columns.form`.
        """
        named = {name: value for name, value in self if value != "none"}
        if set(named) == {"order"}:
            return None
        columns = Columns(**named)
        assert columns.form
        return columns

    @model_validator(mode="after")
    def _has_a_form(self) -> Self:
        try:
            assert self.mapping is None or self.mapping.form
        except ParameterError as error:
            raise ValueError(str(error)) from None
        return self


class PrepareParams(Section):
    """Where preferences, demonstrations and prompts come from.

    Attributes:
        bad_rows: Whether a row that cannot be read is an error, or is dropped and counted.
        bad_rows_limit: Largest share of rows that may be dropped as bad.
    """

    key: ClassVar[str] = "prepare"

    source: Literal["world", "tldr", "hh", "ultrafeedback", "files"]
    path: DataPath
    sft: Literal["chosen", "file"]
    sft_path: DataPath
    unlabeled: Literal["half", "file", "both"]
    unlabeled_path: DataPath
    answers: Literal["none", "file"]
    answers_path: DataPath
    columns: ColumnsParams
    bad_rows: Literal["refuse", "drop"]
    bad_rows_limit: Share
    hub: HubParams
    world: WorldParams
    files: FilesParams

    @model_validator(mode="after")
    def _files_are_named(self) -> Self:
        wanted = {
            "sft": (self.sft, self.sft_path),
            "unlabeled": (self.unlabeled, self.unlabeled_path),
            "answers": (self.answers, self.answers_path),
        }
        for key, (choice, path) in wanted.items():
            if choice in ("file", "both") and path.startswith(EXAMPLES):
                raise ValueError(
                    f"{key} is {choice}, and {key}_path is the example {path}; give a file or "
                    f"folder of your own"
                )
        reads_path = self.source != "world" and self.hub.name == "none"
        if reads_path and self.path.startswith(EXAMPLES):
            raise ValueError(
                f"source is {self.source}, and path is the example {self.path}; give a file or "
                "folder of your own"
            )
        return self

    @model_validator(mode="after")
    def _world_is_whole(self) -> Self:
        given = {"sft": self.sft != "chosen", "unlabeled": self.unlabeled != "half"}
        given["hub.name"] = self.hub.name != "none"
        if self.source == "world" and (asked := [key for key, is_set in given.items() if is_set]):
            raise ValueError(
                f"source world writes all of its data, so {', '.join(asked)} cannot be set; use "
                "source files"
            )
        return self
