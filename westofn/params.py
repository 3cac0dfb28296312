"""params.yaml -> strict, frozen pydantic models.

The file is read as YAML 1.2, the way DVC reads it (so `1e-5` is a number), unknown keys are
refused, and every fault is named with its key in one message.
"""

from __future__ import annotations

import difflib
import re
import string
from pathlib import Path
from typing import Annotated, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from westofn.errors import ParameterError

PARAMS_FILE = Path("params.yaml")
EXAMPLES = "docs/examples/"
JUDGE_FIELDS = ("prompt", "first", "second")

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Comparator = Literal["embedding", "joint", "pointwise"]
Readout = Literal["mean", "last"]
Precision = Literal["fp32", "bf16"]
Learner = Literal["network", "linear_head"]

ALL_LINEAR = "all-linear"
"""Adapters on every linear layer but the projection to the vocabulary."""

SCORE_SELECTORS = ("best_below", "best_median", "quartiles")
"""Selectors that rank the candidates of a pool by a score of each."""


LARGEST_POWER = 4.0
"""Of the prior's covariance: variances that differ by 100 are then 1e8 apart."""


def _covariance_power(value: object) -> Literal["validation"] | float:
    if value == "validation":
        return "validation"
    if isinstance(value, int | float) and type(value) is not bool and 0 <= value <= LARGEST_POWER:
        return float(value)
    raise ValueError(f"is {value!r}, needs validation or a number from 0 to {LARGEST_POWER:g}")


CovariancePower = Annotated[Literal["validation"] | float, PlainValidator(_covariance_power)]


class Section(BaseModel):
    """A section of params.yaml: frozen, strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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
        annotator_temperature: Of the Bradley-Terry labels, in units of the gold reward.
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


class FilesParams(Section):
    """How preferences from files are split; fractions are of prompt groups."""

    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    test_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    autorater_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    limit: Annotated[int, Field(ge=0)]
    subset: Annotated[str, Field(min_length=1)]
    max_test_prompts: Count

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


class PrepareParams(Section):
    """Where preferences, demonstrations and prompts come from."""

    source: Literal["world", "tldr", "hh", "ultrafeedback", "files"]
    path: str
    sft: Literal["chosen", "file"]
    sft_path: str
    unlabeled: Literal["half", "file", "both"]
    unlabeled_path: str
    answers: Literal["none", "file"]
    answers_path: str
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


class ModelSize(Section):
    """The size of a transformer that is built from random weights."""

    width: Annotated[int, Field(ge=8, multiple_of=8)]
    layers: Count
    heads: Count
    feed_forward: Count
    dropout: Fraction

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    def require_even_heads(self, kind: str) -> None:
        """Refuse heads of an odd width for a model with rotary positions."""
        if self.width // self.heads % 2:
            raise ValueError(
                f"width {self.width} over heads {self.heads} is {self.width // self.heads}, needs "
                f"an even number: {kind} turns pairs of a head's numbers by their position"
            )


class ScratchModel(ModelSize):
    """The model that is built when `sft.model` is `scratch`: a small T5 or a small Llama."""

    family: Literal["encoder_decoder", "causal"]
    tokenizer: Literal["words", "bytes"]
    vocabulary: Annotated[int, Field(ge=64)]

    @model_validator(mode="after")
    def _positions_turn_pairs(self) -> Self:
        if self.family == "causal":
            self.require_even_heads("a causal model")
        return self


class ScratchEncoder(ModelSize):
    """The ModernBERT that is built when `reward_start.model` is `scratch`."""

    @model_validator(mode="after")
    def _positions_turn_pairs(self) -> Self:
        self.require_even_heads("a ModernBERT")
        return self


class OptimiserParams(Section):
    """AdamW with linear warm-up and cosine decay to zero; the batch is the global one."""

    steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]
    learning_rate: Positive
    warmup_fraction: Fraction
    weight_decay: NonNegative


class AdapterParams(Section):
    """LoRA; rank 0 trains all weights.

    Attributes:
        rank: Of what is added to a weight.
        alpha: What is added is scaled by alpha / rank.
        targets: `all-linear`, or names of linear layers with commas between them.
    """

    rank: Annotated[int, Field(ge=0)]
    alpha: Positive
    targets: Annotated[str, Field(min_length=1)]


class LoraParams(AdapterParams):
    """LoRA with dropout of what an adapter reads."""

    dropout: Fraction


class SftParams(OptimiserParams):
    """The supervised policy; reward models and RL take its precision over."""

    model: str
    chat_template: Literal["none", "model"]
    scratch: ScratchModel
    precision: Precision
    lora: LoraParams
    max_prompt_tokens: Annotated[int, Field(ge=4)]
    max_response_tokens: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _only_pretrained_models_have_chat_templates(self) -> Self:
        if self.chat_template == "model" and self.model == "scratch":
            raise ValueError(
                "chat_template is model, but a model from scratch has no chat template; set "
                "chat_template to none, or model to an instruct model"
            )
        return self

    @model_validator(mode="after")
    def _adapters_have_something_to_adapt(self) -> Self:
        if self.model == "scratch" and self.lora.rank:
            raise ValueError(
                f"lora.rank is {self.lora.rank} and model is scratch, whose random weights have to "
                "learn; give model a pretrained one, or set lora.rank to 0"
            )
        return self


class RewardStartParams(Section):
    """Where every reward model starts, so that arms differ in their data alone.

    Attributes:
        model: `policy`: the SFT policy's weights and tokenizer; `scratch`: an encoder-only model
            that reads the policy's tokenizer; else the path or name of a pretrained model of any
            family, with its own tokenizer.
        scratch: Its size.
    """

    model: Annotated[str, Field(min_length=1)]
    scratch: ScratchEncoder


class RewardModelParams(OptimiserParams):
    """What base_rm, student_rm and reference_rm share: one training function, one recipe."""

    lora: LoraParams
    readout: Readout
    dropout: Fraction
    average_decay: Fraction
    runs: Count
    evaluations: Count
    centering: NonNegative


class BaseRmParams(RewardModelParams):
    """The base preference model (the teacher)."""

    comparator: Comparator
    planes: Count
    members: Count


class StudentRmParams(RewardModelParams):
    """The pointwise student; the references HF50 and HF100 are trained with the same section.

    Attributes:
        learner: What learns: all of a network, or a linear head on the frozen features of the
            weights that it would start from.
        covariance_power: p of the linear head's prior w ~ N(0, s·Σ_π^p), Σ_π the covariance of the
            policy's samples; `validation` tries several. Of references it is 0.
        synthetic_fraction: Of every batch, or of the linear head's loss; 0: human pairs alone.
    """

    learner: Learner
    covariance_power: CovariancePower
    synthetic_fraction: Fraction

    @model_validator(mode="after")
    def _linear_heads_have_no_adapters(self) -> Self:
        if self.learner == "linear_head" and self.lora.rank:
            raise ValueError(
                f"lora.rank is {self.lora.rank} and learner is linear_head, which trains no weight "
                "of the network; set lora.rank to 0, or learner to network"
            )
        return self


class SampleParams(Section):
    """Candidates from the policy, or from a file of pools for the prompts of D_U."""

    engine: Literal["local", "file"]
    path: str
    n_candidates: Annotated[int, Field(ge=2)]
    temperature: Positive

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if self.engine == "file" and self.path.startswith(EXAMPLES):
            raise ValueError(
                f"engine is file, and path is the example {self.path}; give a file or folder of "
                "your own pools"
            )
        return self


class StopParams(Section):
    """What a round after the first must keep to go on; 0 switches a check off.

    Attributes:
        agreement: The smallest share of random pairs that the previous student and the first
            round's base model order alike.
        spread: The smallest spread of the previous student's margins, as a multiple of that in the
            pools of round 1.
        distinct: The smallest share of different responses in a pool.
        length: The largest change of the mean length since round 1, a factor in either direction.
    """

    agreement: Share
    spread: NonNegative
    distinct: Share
    length: NonNegative

    @model_validator(mode="after")
    def _length_is_a_factor(self) -> Self:
        if 0 < self.length < 1:
            raise ValueError(
                f"length is {self.length:g}, a factor of change in either direction: needs at "
                "least 1, or 0 to switch the check off"
            )
        return self


class WonSelectParams(Section):
    """Which two candidates of a pool become a pair, by whose margins, and when the loop stops.

    Attributes:
        anchor: Weight of the first round's base model in the margins of later rounds; the previous
            student has the rest.
    """

    method: Literal["exact", "tournament"]
    selector: Literal[
        "west", "best_random", "random_pair", "best_below", "best_median", "quartiles"
    ]
    pessimism: NonNegative
    anchor: Share
    stop: StopParams

    @model_validator(mode="after")
    def _tournament_finds_best_and_worst(self) -> Self:
        if self.method == "tournament" and self.selector != "west":
            raise ValueError(
                f"method tournament finds the best and the worst only; selector {self.selector} "
                "needs method exact"
            )
        if self.method == "tournament" and self.pessimism:
            raise ValueError(
                f"pessimism is {self.pessimism:g}, which a tournament cannot use: pessimistic "
                "margins are not skew-symmetric; use method exact or pessimism 0"
            )
        return self


class FilterParams(Section):
    """Which pairs the student sees; 0 switches a filter off."""

    quantile: Fraction
    likelihood_quantile: Fraction
    likelihood_normalisation: Literal["sum", "per_token"]


class RlhfParams(Section):
    """Reinforcement learning of the policy against the student's standardised reward."""

    algorithm: Literal["ppo", "rloo"]
    lora: AdapterParams
    steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]
    samples_per_prompt: Count
    learning_rate: Positive
    warmup_fraction: Fraction
    kl_weight: NonNegative
    temperature: Positive
    epochs: Count
    minibatches: Count
    clip: Positive
    value_warmup_steps: Annotated[int, Field(ge=0)]
    value_clip: Positive
    gae_lambda: Annotated[float, Field(ge=0, le=1)]
    evaluations: Annotated[int, Field(ge=2)]

    @property
    def frozen_steps(self) -> int:
        """Steps before the policy learns: value_warmup_steps under ppo, 0 under rloo."""
        return self.value_warmup_steps if self.algorithm == "ppo" else 0

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        unit = self.samples_per_prompt * self.minibatches
        if self.batch_size % unit:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of {unit}: minibatches "
                f"{self.minibatches} × samples_per_prompt {self.samples_per_prompt}"
            )
        if self.algorithm == "rloo" and self.samples_per_prompt < 2:
            raise ValueError("samples_per_prompt is 1, algorithm rloo compares at least 2")
        return self

    @model_validator(mode="after")
    def _policy_thaws(self) -> Self:
        if self.frozen_steps >= self.steps:
            raise ValueError(
                f"value_warmup_steps {self.value_warmup_steps} of steps {self.steps} leave none "
                "in which the policy learns"
            )
        return self


class PromptedJudgeParams(Section):
    """A language model that is asked which of two responses is better.

    Attributes:
        model: `llm`: a folder or hub name; `openai`: the server's name for the model.
        template: The question, with {prompt}, {first} and {second}; `default`: the project's own.
        first_answer: The answer that says that the first response is better.
        second_answer: The answer that says that the second one is.
        max_tokens: `llm`: of question and answer; a longer prompt loses its beginning.
        max_answer_tokens: `openai`: of the reply; an answer that comes later is not seen.
        max_unparsed: `openai`: share of replies without an answer above which work stops; the
            others count as ties.
    """

    model: Annotated[str, Field(min_length=1)]
    template: str
    first_answer: Annotated[str, Field(min_length=1)]
    second_answer: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=16)]
    max_answer_tokens: Count
    max_unparsed: Fraction

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, first and second."""
        return self.first_answer, self.second_answer

    @model_validator(mode="after")
    def _template_and_answers_can_be_used(self) -> Self:
        if self.template != "default" and (fault := template_fault(self.template)):
            raise ValueError(f"template {fault}")
        if fault := answers_fault(self.answers):
            raise ValueError(fault)
        return self


class SimulatedJudgeParams(Section):
    """A judge of the embedded world who errs by design.

    Attributes:
        temperature: Divides the margin, in units of gold reward; smaller is more certain.
        noise: Standard deviation of what it misjudges a pair by, in units of gold reward.
        position_bias: Added for the response shown first, in units of gold reward.
        length_bias: Added for every word more, in units of gold reward a word.
    """

    temperature: Positive
    noise: NonNegative
    position_bias: float
    length_bias: float


class JudgeParams(Section):
    """Who labels pairs for RLAIF: `llm` runs here, `openai` is a server, `simulated` knows gold.

    The server's address is no parameter, see `westofn/runtime.py`.
    """

    kind: Literal["llm", "openai", "simulated"]
    prompted: PromptedJudgeParams
    simulated: SimulatedJudgeParams


def template_fault(template: str) -> str | None:
    """What is wrong with a judge's question; None where all its fields are there.

    >>> template_fault("{prompt} A: {first} B: {second}")
    >>> template_fault("{prompt} A: {first}")
    'has no {second}'
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return f"has unpaired braces ({error}); write {{{{ and }}}} for plain ones"
    names = [name for _, name, _, _ in parts if name is not None]
    if extra := [name for name in names if name not in JUDGE_FIELDS]:
        return f"has a field {{{extra[0]}}}, needs {', '.join(JUDGE_FIELDS)}"
    if any(spec or conversion for _, _, spec, conversion in parts):
        return "has a field with a format, needs the bare name"
    missing = [name for name in JUDGE_FIELDS if name not in names]
    return f"has no {{{missing[0]}}}" if missing else None


def answers_fault(answers: tuple[str, str]) -> str | None:
    """What is wrong with a judge's two answers, white space aside; None where they can be told.

    >>> answers_fault(("A", " A"))
    "answers 'A' and ' A' cannot be told apart; give two of which none begins the other"
    """
    first, second = (answer.strip() for answer in answers)
    if not first or not second or first.startswith(second) or second.startswith(first):
        return (
            f"answers {answers[0]!r} and {answers[1]!r} cannot be told apart; give two of which "
            "none begins the other"
        )
    return None


class StudyParams(Section):
    """What study/dvc.yaml needs beside the pipeline's own parameters."""

    judge: JudgeParams
    positive_affix: Annotated[str, Field(min_length=1)]
    negative_affix: Annotated[str, Field(min_length=1)]
    affix_before_words: Annotated[int, Field(ge=0)]
    deep_candidates: Annotated[int, Field(ge=4)]
    deep_prompts: Count
    rl_steps: Count
    rl_kl_weight: NonNegative
    rl_evaluations: Annotated[int, Field(ge=4)]
    wide: Annotated[int, Field(ge=8, multiple_of=8)]


class LoopItem(Section):
    """One iteration: `prev` names the one whose policy it samples and whose model is its base."""

    prev: str


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    prepare: PrepareParams
    sft: SftParams
    reward_start: RewardStartParams
    base_rm: BaseRmParams
    sample: SampleParams
    won_select: WonSelectParams
    filter: FilterParams
    student_rm: StudentRmParams
    rlhf: RlhfParams
    study: StudyParams
    loop: dict[str, LoopItem]

    @model_validator(mode="after")
    def _loop_is_a_chain_from_k0(self) -> Self:
        if not self.loop:
            raise ValueError("loop is empty; it needs at least `k1: {prev: k0}`")
        for key, item in self.loop.items():
            if not re.fullmatch(r"k[1-9]\d*", key):
                raise ValueError(f"loop.{key} is not an iteration name; use k1, k2, …")
            if item.prev != "k0" and item.prev not in self.loop:
                known = ", ".join(["k0", *self.loop])
                raise ValueError(f"loop.{key}.prev is {item.prev!r}, which is none of {known}")
            seen, here = {key}, item.prev
            while here != "k0":
                if here in seen:
                    raise ValueError(f"loop.{key} leads back to itself; a chain ends at k0")
                seen.add(here)
                here = self.loop[here].prev
        return self

    @model_validator(mode="after")
    def _comparator_allows_the_method(self) -> Self:
        selector = self.won_select.selector
        if self.base_rm.comparator == "joint" and selector in SCORE_SELECTORS:
            raise ValueError(
                f"won_select.selector {selector} needs a score per candidate; base_rm.comparator "
                "joint has none: use embedding or pointwise"
            )
        return self

    @model_validator(mode="after")
    def _reward_model_lends_ppo_its_weights(self) -> Self:
        if self.reward_start.model == "scratch" and self.rlhf.algorithm == "ppo":
            raise ValueError(
                "reward_start.model scratch is encoder-only, rlhf.algorithm ppo needs a reward "
                "model that reads from left to right: set it to rloo, or reward_start.model to "
                "policy"
            )
        return self

    @model_validator(mode="after")
    def _random_weights_learn(self) -> Self:
        ranks = {
            "base_rm.lora.rank": self.base_rm.lora.rank,
            "student_rm.lora.rank": self.student_rm.lora.rank,
        }
        for key, rank in ranks.items():
            if self.reward_start.model == "scratch" and rank:
                raise ValueError(
                    f"{key} is {rank} and reward_start.model is scratch, whose random weights have "
                    f"to learn; set {key} to 0, or reward_start.model to policy or a pretrained one"
                )
        return self

    @model_validator(mode="after")
    def _linear_heads_read_trained_weights(self) -> Self:
        if self.reward_start.model == "scratch" and self.student_rm.learner == "linear_head":
            raise ValueError(
                "student_rm.learner is linear_head and reward_start.model is scratch, whose random "
                "weights have to learn; set learner to network, or reward_start.model to policy or "
                "a pretrained one"
            )
        return self

    @model_validator(mode="after")
    def _pessimism_has_members_to_compare(self) -> Self:
        if self.won_select.pessimism and self.base_rm.members == 1:
            raise ValueError(
                f"won_select.pessimism is {self.won_select.pessimism:g}, which needs an ensemble: "
                "base_rm.members is 1; raise it to at least 2, or set pessimism to 0"
            )
        return self


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate params.yaml.

    Raises:
        ParameterError: The file is missing or is not YAML, or a key or value is wrong; the message
            names every fault.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"{path} is missing; run from the repository root") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} cannot be read: {error}; make it a UTF-8 text file") from None
    except YAMLError as error:
        where = " ".join(str(error).split())
        raise ParameterError(f"{path} is not valid YAML: {where}") from None
    if not isinstance(raw, dict):
        raise ParameterError(f"{path} holds {type(raw).__name__}, needs a mapping of sections")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        faults = [_fault(dict(item)) for item in error.errors()]
        raise ParameterError(f"{path}: " + "; ".join(faults)) from None


def _fault(error: dict[str, object]) -> str:
    """One fault as `key is VALUE, needs WHAT`."""
    location = error["loc"]
    assert isinstance(location, tuple)
    key = ".".join(str(part) for part in location)
    message = str(error["msg"])
    match error["type"]:
        case "extra_forbidden":
            known = list(_fields_at(location[:-1]))
            near = difflib.get_close_matches(str(location[-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            return f"{key} is not a parameter; {hint}"
        case "missing":
            return f"{key} is missing; add it (git diff params.yaml shows what changed)"
        case "value_error":
            text = message.removeprefix("Value error, ")
            return f"{key}: {text}" if key else text
        case _:
            needed = message[0].lower() + message[1:]
            needed = needed.removeprefix("input should be ")
            return f"{key} is {error['input']!r}, needs {needed}"


def _fields_at(location: tuple[object, ...]) -> list[str]:
    """The field names of the section at a location, empty where it is no section."""
    model: type[BaseModel] = Params
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        if annotation is LoopItem or (
            isinstance(annotation, type) and issubclass(annotation, BaseModel)
        ):
            model = annotation
    return list(model.model_fields)
