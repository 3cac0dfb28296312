"""What the benchmark runs: tasks, models, numbers of labels, and what differs from params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from westofn.errors import DataError, ParameterError
from westofn.params.prepare import FilesParams, PrepareParams
from westofn.params.reward import RewardModelParams
from westofn.params.reward_start import RewardStartParams
from westofn.params.sft import SftParams
from westofn.params.whole import Params

P = TypeVar("P", bound=RewardModelParams)

DEVELOPMENT_SEED = 100
"""For trials of settings, so it is no result. Today's settings were chosen for their time alone."""

SCRATCH = "scratch"
"""The model that is made here; another one is a path or name, as `sft.model` takes it."""

POLICY = "policy"
"""Reward models that start from the policy; another start is as `reward_start.model` takes it."""

ALL = "all"
"""The human pairs of a cell: every train pair, or one of CONDITIONS."""

CONDITIONS: Mapping[str, str] = {
    "near": "the half of the pairs that the policy finds likelier",
    "far": "the half of the pairs that the policy finds less likely",
    "spaced": "pairs with a text that has a space before a full stop or a comma",
    "lower": "pairs with a text without a capital letter",
    "plain": "pairs of texts with neither mark",
}
"""Human pairs of some systems: name -> what they are; see `data.conditions_of`."""


@dataclass(frozen=True)
class Sizes:
    """What a large model reads of a task, so that a seed takes minutes on one core.

    Attributes:
        words: A pair with a prompt or response of more words is left out, before pairs are counted.
        train: Pairs, half of them labeled where the task has others, at most.
        validation: Pairs, at most.
        test: Pairs, at most.
        pools: Pools of D_U that are read, and candidates of each.
        nearness: Whether the policy's likelihood of test pairs is measured.
    """

    words: int
    train: int
    validation: int
    test: int
    pools: tuple[int, int]
    nearness: bool = True


@dataclass(frozen=True)
class Task:
    """Human preferences of one kind.

    Attributes:
        title: As shown.
        folder: Inside the folder of `--data`.
        pairs: File of preferences in it, or "" for all of its files.
        kind: `pairs`: the policy's own samples are the pools of D_U | `pools`: human texts are.
        subsets: Names of the files' subsets; empty takes all.
        demonstrations: File of demonstrations and unlabeled prompts; empty: the chosen responses of
            train pairs, and the prompts of half of them.
        labels: Pairs in HF50; HF100 has twice as many. A number beyond what there is becomes all.
        conditions: Names in CONDITIONS, each measured with `condition_labels` pairs in HF50.
        condition_labels: See conditions.
        network_labels: Numbers of labels at which networks are trained, too.
        sft: What differs from the section `sft`.
        scratch: The same of `sft.scratch`.
        reward: The same of `base_rm` and `student_rm`.
        fractions: The same of `prepare.files`.
        n_candidates: N of the pools.
        unlabeled_prompts: Prompts of D_U, at most.
        test_prompts: Prompts of best-of-N, at most.
        draws: Draws of the labels a seed; linear heads are fitted on each, their mean is kept.
        model: The policy's start: SCRATCH, or a pretrained model's path.
        start: What linear heads read and networks start from: POLICY, or a model's path.
        sizes: What is read of the task; None reads all. Such a task has no judge.
        teacher: What judges pools for networks. `own`: a network of the section `base_rm` |
            `hf50`: the network of HF50.
    """

    title: str
    folder: str
    pairs: str
    labels: tuple[int, ...]
    kind: Literal["pairs", "pools"] = "pairs"
    subsets: tuple[str, ...] = ()
    demonstrations: tuple[str, str] | None = None
    conditions: tuple[str, ...] = ()
    condition_labels: int = 0
    network_labels: tuple[int, ...] = ()
    sft: Mapping[str, Any] = field(default_factory=dict)
    scratch: Mapping[str, Any] = field(default_factory=dict)
    reward: Mapping[str, Any] = field(default_factory=dict)
    fractions: Mapping[str, float] = field(default_factory=dict)
    n_candidates: int = 32
    unlabeled_prompts: int = 200
    test_prompts: int = 100
    draws: int = 4
    model: str = SCRATCH
    start: str = POLICY
    sizes: Sizes | None = None
    teacher: Literal["own", "hf50"] = "own"


# Two layers from scratch are what a core trains in a minute or two.
_E2E_SFT = {
    "max_prompt_tokens": 96,
    "max_response_tokens": 96,
    "steps": 800,
    "batch_size": 32,
    "learning_rate": 3e-3,
}
_E2E_SCRATCH = {"width": 96, "heads": 4, "feed_forward": 192, "tokenizer": "bytes"}
_E2E_FRACTIONS = {"validation_fraction": 0.1, "test_fraction": 0.2, "autorater_fraction": 0.12}

_HH_SFT = {
    "max_prompt_tokens": 96,
    "max_response_tokens": 128,
    "steps": 400,
    "batch_size": 16,
    "learning_rate": 2e-3,
}
_HH_SCRATCH = {
    "width": 96,
    "heads": 4,
    "feed_forward": 192,
    "tokenizer": "bytes",
    "vocabulary": 2000,
}
# One run each and few steps; rates from trials with a larger policy on the development seed.
_HH_REWARD = {
    "steps": 120,
    "batch_size": 16,
    "learning_rate": 5e-4,
    "average_decay": 0.98,
    "evaluations": 6,
    "runs": 1,
}
_HH_FRACTIONS = {"validation_fraction": 0.15, "test_fraction": 0.2, "autorater_fraction": 0.1}

TASKS: Mapping[str, Task] = {
    "e2e-quality": Task(
        title="E2E, quality",
        folder="e2e-ratings",
        pairs="quality.jsonl.gz",
        demonstrations=("demonstrations.jsonl.gz", "prompts.jsonl.gz"),
        labels=(50, 200, 800, 2400),
        conditions=("near", "far", "spaced", "lower", "plain"),
        condition_labels=200,
        network_labels=(50,),
        sft=_E2E_SFT,
        scratch=_E2E_SCRATCH,
        fractions=_E2E_FRACTIONS,
    ),
    "e2e-naturalness": Task(
        title="E2E, naturalness",
        folder="e2e-ratings",
        pairs="naturalness.jsonl.gz",
        demonstrations=("demonstrations.jsonl.gz", "prompts.jsonl.gz"),
        labels=(50, 200, 800, 2400),
        sft=_E2E_SFT,
        scratch=_E2E_SCRATCH,
        fractions=_E2E_FRACTIONS,
    ),
    "ukp-convarg": Task(
        title="UKPConvArg, which argument convinces",
        folder="ukp-convarg",
        pairs="pairs.jsonl.gz",
        kind="pools",
        labels=(100, 400, 2000),
        sft={
            **_HH_SFT,
            "max_prompt_tokens": 48,
            "max_response_tokens": 192,
            "steps": 300,
            "batch_size": 8,
        },
        scratch=_HH_SCRATCH,
        n_candidates=16,
    ),
    "hh-helpful": Task(
        title="HH, helpful",
        folder="hh-rlhf-8k",
        pairs="",
        subsets=("helpful-base", "helpful-rejection-sampled"),
        labels=(100, 400, 1400),
        network_labels=(1400,),
        sft=_HH_SFT,
        scratch=_HH_SCRATCH,
        reward=_HH_REWARD,
        fractions=_HH_FRACTIONS,
        n_candidates=16,
        unlabeled_prompts=200,
    ),
    "hh-harmless": Task(
        title="HH, harmless",
        folder="hh-rlhf-8k",
        pairs="",
        subsets=("harmless-base",),
        labels=(100, 400, 650),
        network_labels=(650,),
        sft=_HH_SFT,
        scratch=_HH_SCRATCH,
        reward=_HH_REWARD,
        fractions=_HH_FRACTIONS,
        n_candidates=16,
        unlabeled_prompts=200,
    ),
}
"""By name, in the order of the page. HH's are never mixed: one rewards what the other punishes."""


_MINILM_REWARD = {
    "steps": 20,
    "batch_size": 8,
    "learning_rate": 5e-5,
    "head_start": "linear_head",
    "average_decay": 0.8,
    "evaluations": 1,
    "runs": 1,
    "dropout": 0.1,
}


def _from_minilm(name: str, title: str, labels: tuple[int, int]) -> Task:
    """A task whose reward models start from MiniLM, on the pools of the task's own policy."""
    return replace(
        TASKS[name],
        title=f"{title}, reward models from MiniLM",
        labels=labels,
        conditions=(),
        network_labels=labels[-1:],
        reward=_MINILM_REWARD,
        start="models/minilm",
        sizes=Sizes(words=60, train=2 * labels[-1], validation=64, test=180, pools=(32, 8)),
        teacher="hf50",
    )


PRETRAINED_TASKS: Mapping[str, Task] = {
    "e2e-quality-minilm": _from_minilm("e2e-quality", "E2E, quality", (50, 150)),
    "hh-helpful-minilm": _from_minilm("hh-helpful", "HH, helpful", (50, 150)),
    "hh-harmless-minilm": _from_minilm("hh-harmless", "HH, harmless", (50, 150)),
    "hh-helpful-smollm2": replace(
        TASKS["hh-helpful"],
        title="HH, helpful, SmolLM2 as policy",
        labels=(30, 60),
        network_labels=(),
        sft={
            "chat_template": "model",
            "max_prompt_tokens": 96,
            "max_response_tokens": 48,
            "steps": 4,
            "batch_size": 8,
            "learning_rate": 2e-4,
            "evaluations": 1,
            "validation_rows": 16,
            "lora": {"rank": 8, "alpha": 16.0, "targets": "all-linear", "dropout": 0.0},
        },
        n_candidates=8,
        unlabeled_prompts=32,
        model="models/smollm2",
        sizes=Sizes(words=60, train=120, validation=64, test=120, pools=(32, 8), nearness=False),
    ),
}
"""With models that `make models` brings, on fewer and shorter texts: by name, as TASKS."""

ALL_TASKS: Mapping[str, Task] = {**TASKS, **PRETRAINED_TASKS}

NETWORK_DRAW = 0
"""The draw whose labels train networks."""
MAX_VALIDATION_PAIRS = 400
"""Human pairs that choose penalties, powers and checkpoints; the same for all arms."""
POOL_SIZES = (2, 4, 8, 16)
"""N of the label correctness among human texts, beside all texts of a stance."""
POOL_DRAWS = 40
"""Random pools of N texts a stance."""
SUBSETS_A_STANCE = 20
"""Pools of `n_candidates` texts of every stance of D_U, in tasks of kind `pools`."""


def tasks_of(names: str) -> dict[str, Task]:
    """The tasks of a command line: all from scratch, all pretrained, or names with commas between.

    Raises:
        ParameterError: A name is none.

    >>> list(tasks_of("hh-helpful,e2e-quality"))
    ['e2e-quality', 'hh-helpful']
    """
    if names in (groups := {"all": TASKS, "pretrained": PRETRAINED_TASKS}):
        return dict(groups[names])
    asked = names.split(",")
    if unknown := [name for name in asked if name not in ALL_TASKS]:
        raise ParameterError(
            f"--task: {unknown[0]} is no task; needs all, pretrained, or some of "
            f"{', '.join(ALL_TASKS)}"
        )
    return {name: task for name, task in ALL_TASKS.items() if name in asked}


def check_data(tasks: Mapping[str, Task], data: Path) -> None:
    """Refuse a folder that lacks what a task reads, before the first one starts.

    Raises:
        DataError: Which file or model is missing, and for which task.
    """
    for name, task in tasks.items():
        for model in {task.model, task.start} - {SCRATCH, POLICY}:
            if not Path(model).is_dir():
                raise DataError(
                    f"--task: {name} needs {model}, which is not there; run make models, or leave "
                    "the task out"
                )
        for path in task_files(task, data):
            if not path.exists():
                raise DataError(
                    f"--data {data}: task {name} needs {path.relative_to(data)}, which is not "
                    f"there; give the folder that holds it, or leave the task out with --task"
                )


def task_files(task: Task, data: Path) -> list[Path]:
    """What a task reads: files, or a folder."""
    names = (task.pairs, *(task.demonstrations or ()))
    extra = ("pools.jsonl.gz",) if task.kind == "pools" else ()
    return [data / task.folder / name for name in (*names, *extra)]


def sft_of(task: Task, params: Params) -> SftParams:
    """The section `sft` of a task."""
    values = params.sft.model_dump()
    scratch = {**values["scratch"], **task.scratch}
    return SftParams.model_validate({**values, **task.sft, "model": task.model, "scratch": scratch})


def reward_of(task: Task, section: P) -> P:
    """The section `base_rm` or `student_rm` of a task."""
    return type(section).model_validate({**section.model_dump(), **task.reward})


def start_of(task: Task, params: Params) -> RewardStartParams:
    """The section `reward_start` of a task."""
    return params.reward_start.model_copy(update={"model": task.start})


_LATER_FIELDS = {"model": SCRATCH, "start": POLICY, "sizes": None, "teacher": "own"}
"""Fields of a task that came after the first records -> the value that means what came before."""


def recorded_task(task: Task) -> dict[str, Any]:
    """A task as records have it: without the title, and later fields only where they are set."""
    values = {**asdict(task), "title": ""}
    return {k: v for k, v in values.items() if k not in _LATER_FIELDS or v != _LATER_FIELDS[k]}


def prepare_of(task: Task, data: Path, params: Params) -> PrepareParams:
    """The section `prepare` of a task of kind `pairs`."""
    files = {
        **params.prepare.files.model_dump(),
        **task.fractions,
        "subset": ",".join(task.subsets) or "all",
        "max_test_prompts": task.test_prompts,
    }
    changes: dict[str, Any] = {
        "source": "files",
        "path": str(data / task.folder / task.pairs),
        "files": FilesParams.model_validate(files).model_dump(),
    }
    if task.demonstrations is not None:
        demonstrations, prompts = (str(data / task.folder / name) for name in task.demonstrations)
        changes |= {"sft": "file", "sft_path": demonstrations}
        changes |= {"unlabeled": "file", "unlabeled_path": prompts}
    return PrepareParams.model_validate({**params.prepare.model_dump(), **changes})
