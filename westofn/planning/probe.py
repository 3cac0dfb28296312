"""Run every stage on a few prompts and with a few steps, in a folder of its own.

The policy of a probe has hardly learned, so its responses would go on to the limit of tokens. It
draws responses of the demonstrations' mean length instead, and they count as ended.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from ruamel.yaml import YAML

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.errors import WestofnError
from westofn.execution.children import run_group
from westofn.execution.graph import run_graph
from westofn.execution.scratch import ROOT as SCRATCH
from westofn.execution.side_by_side import PipelineStage
from westofn.models.card import read_card
from westofn.params.file import PARAMS_FILE
from westofn.params.whole import Params
from westofn.planning.work import Counts, kind_of, work_of
from westofn.sources.data import labeled_half

PREPARED, WORLD = Path("data/prepared"), Path("data/world")
POLICY, SHORT = "data/loop/k0/policy", "data/loop/k0/short"
NOTES = Path("runs/stages.jsonl")
UNPROBED = ("code", "check", "prepare", "report")
"""Stages that no model runs in; they take seconds."""
DRAWING = ("sample", "eval_pool", "rlhf")
"""Stages in which the policy draws responses."""
_OWN = {".dvc", ".git", ".scratch", "data", "dvclive", "runs", "dvc.lock"}
"""Entries of the repository that a probe does not share."""
_ROWS_A_PROMPT = {"test": 8, "validation": 4, "autorater": 2}
"""Human pairs of a split in a probe, for every prompt of D_U."""
_STEPS_A_PROMPT = {"sft": 1.0, "base_rm": 0.25, "student_rm": 0.25, "rlhf": 0.25}


class ProbeError(WestofnError):
    """A stage failed in a probe."""


@dataclass(frozen=True)
class Probed:
    """A stage in a probe.

    Attributes:
        work: Its work, see `westofn.planning.work`.
        seconds: Its duration; of processor time where one thread of a CPU does the work.
        memory: Its peak memory, in bytes.
        device_memory: Its peak memory on a GPU, in bytes; 0 without one.
        size: Bytes of its outputs.
    """

    work: float
    seconds: float
    memory: int
    device_memory: int
    size: int


def probe(
    params: Params,
    stages: Mapping[str, PipelineStage],
    prompts: int,
    jobs: int,
    read: Callable[[Path], Params],
    say: Callable[[str], None],
) -> dict[str, Probed]:
    """Run stages of the first round on a few prompts; needs the outputs of `prepare`.

    Args:
        params: All parameters, of ./params.yaml.
        stages: Stages to run, by name.
        prompts: Prompts of D_U, and test prompts; rows and steps follow from it.
        jobs: Stages at a time.
        read: Reads the parameters of a probe from their file.
        say: Called with a stage's name when it begins, from several threads.

    Returns:
        Stage -> what it took.

    Raises:
        ProbeError: A stage failed; the message has its last lines.
        DataError: What `prepare` wrote is damaged.
    """
    with _folder(params, prompts) as root:
        shrunk = read(root / PARAMS_FILE)
        counts = Counts.read(root / PREPARED)

        def run(name: str) -> Probed:
            say(name)
            facts = _run(name, stages[name], root)
            size = sum(_size(root / out) for out in stages[name].outs)
            _adapt(name, root)
            return Probed(
                work_of(name, shrunk, counts),
                _seconds(facts),
                facts["peak_memory_mib"] * 2**20,
                facts.get("device_memory_mib", 0) * 2**20,
                size,
            )

        probed: dict[str, Probed] = {}
        graph = {name: stage.needs & stages.keys() for name, stage in stages.items()}
        run_graph(graph, jobs, run, probed.__setitem__)
    return probed


@contextmanager
def _folder(params: Params, prompts: int) -> Iterator[Path]:
    """Yield a root like this repository's with small data and few steps."""
    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="plan-", dir=SCRATCH) as name:
        root = Path(name).resolve()
        for entry in Path.cwd().iterdir():
            if entry.name not in _OWN | {PARAMS_FILE.name, "metrics.json", "headlines.json"}:
                (root / entry.name).symlink_to(entry)
        _write_params(params, prompts, root / PARAMS_FILE)
        (root / PREPARED).mkdir(parents=True)
        (root / WORLD).symlink_to(WORLD.resolve())
        _write_prepared(prompts, root / PREPARED)
        yield root


def _write_params(params: Params, prompts: int, path: Path) -> None:
    yaml = YAML()
    content: dict[str, Any] = yaml.load(PARAMS_FILE)
    for section, share in _STEPS_A_PROMPT.items():
        recipe = getattr(params, section)
        steps = min(recipe.steps, max(2, round(share * prompts)))
        content[section] |= {"steps": steps}
    content["rlhf"]["value_warmup_steps"] = min(params.rlhf.value_warmup_steps, 1)
    content["sft"]["validation_rows"] = min(
        params.sft.validation_rows, _ROWS_A_PROMPT["validation"] * prompts
    )
    content["loop"] = {"k1": {"prev": "k0"}}
    with path.open("w", encoding="utf-8") as handle:
        yaml.dump(content, handle)


def _write_prepared(prompts: int, folder: Path) -> None:
    """Write a part of what `prepare` wrote: so many prompts of each split, and their pairs."""
    preferences = PREFERENCES.read(PREPARED / "preferences.parquet")
    all_prompts = PROMPTS.read(PREPARED / "prompts.parquet")
    parts = [_few(part, prompts) for _, part in all_prompts.group_by("split", maintain_order=True)]
    kept = pl.concat(parts)
    human = labeled_half(preferences, all_prompts)
    train = preferences.filter(pl.col("split") == "train")
    pairs = [_few(human, prompts), train.join(kept, on="prompt_id", how="semi")]
    pairs += [
        _few(preferences.filter(pl.col("split") == split), rows * prompts)
        for split, rows in _ROWS_A_PROMPT.items()
    ]
    PROMPTS.write(kept.sort("prompt_id"), folder / "prompts.parquet")
    PREFERENCES.write(pl.concat(pairs).sort("pair_id"), folder / "preferences.parquet")
    SFT.write(SFT.read(PREPARED / "sft.parquet"), folder / "sft.parquet")


def _few(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    return frame.sample(min(rows, frame.height), seed=0)


def _run(name: str, stage: PipelineStage, root: Path) -> dict[str, Any]:
    """Run a stage's command in the probe's folder and return the facts that it noted."""
    arguments = shlex.split(stage.command)[1:]  # after `python`
    if kind_of(name) in DRAWING:
        arguments = [SHORT if argument == POLICY else argument for argument in arguments]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = run_group([sys.executable, *arguments], environment, folder=root)
    if done.returncode:
        lines = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise ProbeError(f"plan: stage {name} failed in a small run; its last lines:\n{lines}")
    for line in reversed((root / NOTES).read_text("utf-8").splitlines()):
        facts: dict[str, Any] = json.loads(line)
        if facts["arguments"] == arguments[2:]:
            return facts
    raise ProbeError(f"plan: stage {name} left no note in {NOTES}; see the warning above")


def _seconds(facts: Mapping[str, Any]) -> float:
    """Return processor time where a stage used a CPU alone: another process does not change it."""
    on_gpu = "device_memory_mib" in facts
    return float(facts["seconds"] if on_gpu else min(facts["seconds"], facts["cpu_seconds"]))


def _adapt(name: str, root: Path) -> None:
    """Let the policy draw short responses, and let them count as ended."""
    kind = kind_of(name)
    if kind == "sft":
        _write_short_policy(root)
    elif kind in ("sample", "eval_pool"):
        for path in root.glob("data/*/**/candidates.parquet"):
            ended = pl.lit("stop").alias("finish_reason")
            CANDIDATES.write(CANDIDATES.read(path).with_columns(ended), path)


def _write_short_policy(root: Path) -> None:
    from tokenizers import Tokenizer

    shutil.copytree(root / POLICY, root / SHORT)
    tokenizer = Tokenizer.from_file(str(root / SHORT / "tokenizer.json"))
    responses = _few(SFT.read(root / PREPARED / "sft.parquet"), 1000)["response"].to_list()
    lengths = [len(row.ids) for row in tokenizer.encode_batch(responses, add_special_tokens=False)]
    card = read_card(root / SHORT, "policy")
    limit = int(card.template["max_response_tokens"])
    within = [length + 1 for length in lengths if length < limit]  # and the end token
    mean = max(2, round(sum(within) / max(1, len(within))))
    template = {**card.template, "max_response_tokens": mean}
    card.model_copy(update={"template": template}).write(root / SHORT)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else 0
