"""Every task and seed -> records; what was finished before is read, not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.human.baselines import baselines
from benchmarks.human.corpus import Corpus, Features
from benchmarks.human.data import HumanTexts, conditions_of, read_texts
from benchmarks.human.gold import Stance, label_correctness, stances_of
from benchmarks.human.linear import (
    KAPPA_DRAWS,
    Labels,
    LinearJudge,
    draw_labels,
    fit_arms,
    measure_arms,
    measure_directions,
    measure_forecast,
    measure_margins,
)
from benchmarks.human.networks import Recipe, network_arms
from benchmarks.human.records import Measured, Run, finished_runs, rounded, run_of, write_runs
from benchmarks.human.settings import (
    ALL,
    ALL_TASKS,
    NETWORK_DRAW,
    Task,
    recorded_task,
    reward_of,
    sft_of,
    start_of,
    task_files,
)
from benchmarks.kept import recorded
from westofn.artifacts.json_file import read_json, write_json
from westofn.evaluation.records import Record
from westofn.params.whole import Params


@dataclass(frozen=True)
class Benchmark:
    """What is run, and where it is kept.

    Attributes:
        params: All of params.yaml, from which settings differ.
        data: Folder of the tasks' folders.
        folder: Where policies, samples, features and finished runs are kept.
    """

    params: Params
    data: Path
    folder: Path

    def run(self, name: str, task: Task, seed: int) -> Run:
        """One task with one seed; read where it was finished with the same settings and data."""
        folder = self.folder / f"{name}-{seed}-{digest(self.settings(task))}"
        path = folder / "run.json"
        if path.exists():
            return run_of(read_json(path))
        folder.mkdir(parents=True, exist_ok=True)
        texts = read_texts(task, self.data, seed, self.params)
        corpus = self._corpus(task, texts, seed, folder)
        run = measure_task(name, corpus, self._recipe(task))
        write_json(rounded(asdict(run)), path)
        return run_of(read_json(path))

    def settings(self, task: Task) -> dict[str, Any]:
        """Every setting that decides a task's numbers, and a hash of its files."""
        paths = [path for place in task_files(task, self.data) for path in _files(place)]
        content = [hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest() for path in paths]
        settings = settings_of(task, self.params) | {"data": digest(content)}
        plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))  # as a file has them
        return plain

    def _corpus(self, task: Task, texts: HumanTexts, seed: int, folder: Path) -> Corpus:
        sft = sft_of(task, self.params)
        sample = self.params.sample
        made_of = {
            "sft": recorded(sft.model_dump()),
            "seed": seed,
            "demonstrations": [asdict(examples) for examples in texts.demonstrations],
            "unlabeled": texts.unlabeled.rows(),
            "sample": [task.n_candidates, sample.temperature],
        }
        shared = self.folder / f"policy-{seed}-{digest(made_of)}"
        shared.mkdir(parents=True, exist_ok=True)
        readout, start = self.params.student_rm.readout, start_of(task, self.params)
        return Corpus(task, texts, sft, start, readout, sample.temperature, seed, shared, folder)

    def _recipe(self, task: Task) -> Recipe:
        base = reward_of(task, self.params.base_rm)
        student = reward_of(task, self.params.student_rm)
        return Recipe(base, student, start_of(task, self.params))


def settings_of(task: Task, params: Params) -> dict[str, Any]:
    """Every setting that decides a task's numbers."""
    return {
        "task": recorded_task(task),
        "sft": recorded(sft_of(task, params).model_dump()),
        "base_rm": recorded(reward_of(task, params.base_rm).model_dump()),
        "student_rm": recorded(reward_of(task, params.student_rm).model_dump()),
        "temperature": params.sample.temperature,
    }


def digest(*values: object) -> str:
    """A name of some settings."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())


def run_benchmark(
    benchmark: Benchmark,
    tasks: Mapping[str, Task],
    seeds: Sequence[int],
    jobs: int,
    out: Path,
    console: Console,
) -> list[Run]:
    """Run every task with every seed, seed by seed, and write the records after each.

    Args:
        benchmark: See the class.
        tasks: By name.
        seeds: Values of the seed.
        jobs: Processes at a time, a thread each.
        out: Where the records go.
        console: For progress.

    Returns:
        The runs, task by task, seeds ascending; with those that `out` has from earlier, if their
        settings and data are the same, and those of tasks that are not asked for.
    """
    asked = {name: benchmark.settings(task) for name, task in tasks.items()}
    settings, runs = finished_runs(asked, out)
    finished = {(run.task, run.seed) for run in runs}
    # Tasks of one folder may share a policy, so one process runs them one after the other.
    groups: dict[tuple[int, str], list[str]] = {}
    for seed in seeds:
        for name, task in tasks.items():
            if (name, seed) not in finished:
                groups.setdefault((seed, task.folder), []).append(name)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        todo = {
            pool.submit(_run_group, benchmark, {name: tasks[name] for name in names}, seed): names
            for (seed, _), names in groups.items()
        }
        try:
            for done in as_completed(todo):
                runs += done.result()
                runs.sort(key=lambda run: (list(ALL_TASKS).index(run.task), run.seed))
                write_runs(runs, settings, out)
                console.print(f"{', '.join(todo[done])}: {len(runs)} runs in {out}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return runs


def _run_group(benchmark: Benchmark, tasks: Mapping[str, Task], seed: int) -> list[Run]:
    torch.set_num_threads(1)  # a process a core is faster than threads that share a small model
    return [benchmark.run(name, task, seed) for name, task in tasks.items()]


def measure_task(name: str, corpus: Corpus, recipe: Recipe) -> Run:
    """All cells and baselines of one run."""
    features, task, texts = corpus.features(), corpus.task, corpus.texts
    judge = LinearJudge.fit(features)
    stances = stances_of(texts.stances, texts.pairs["test"])
    lab = _Measures(corpus, features, judge, stances, recipe)
    cells = [
        lab.cell(ALL, labels, networks=labels in task.network_labels) for labels in task.labels
    ]
    cells += [
        lab.cell(condition, task.condition_labels, networks=False) for condition in task.conditions
    ]
    baseline_records, gold = _baselines(texts, features, stances, corpus.seed)
    model = Path(task.model).name
    counts = {**texts.counts, **_samples(corpus)}
    return Run(name, model, corpus.seed, counts, cells, baseline_records, gold)


def _samples(corpus: Corpus) -> dict[str, int]:
    """Samples in the pools of a reduced task, and those among them that the limit cut."""
    if corpus.task.sizes is None or corpus.pools.unfinished is None:
        return {}
    cut = corpus.pools.unfinished
    return {"samples": cut.size, "cut_samples": int(cut.sum())}


@dataclass(frozen=True)
class _Measures:
    corpus: Corpus
    features: Features
    judge: LinearJudge | None
    stances: Sequence[Stance]
    recipe: Recipe

    def cell(self, condition: str, labels: int, *, networks: bool) -> Measured:
        """One number of labels under one condition: heads on every draw, networks on one."""
        draws = [self._draw(condition, labels, draw) for draw in range(self.corpus.task.draws)]
        measured, gold, directions = [], [], []
        for number, drawn in enumerate(draws):
            arms = fit_arms(self.features, drawn, self.corpus.seed)
            measured.append(measure_arms(arms, self.features, self.judge))
            weights = {name: reward.weights for name, reward in arms.items()}
            gold.append(self._gold(weights))
            if number < KAPPA_DRAWS:
                directions.append(
                    measure_directions(
                        self.features.train[drawn.half],
                        self.features.pools,
                        arms["hf50"].penalty,
                        self.corpus.seed,
                    )
                )
        first = draws[NETWORK_DRAW]
        trained = (
            network_arms(self.corpus, self.features, first, self.recipe, self.judge)
            if networks
            else {}
        )
        return Measured(
            condition=condition,
            labels=labels,
            pairs=(len(first.half), len(first.full)),
            directions=_together(directions, median),
            forecast=measure_forecast(
                self.features.train[first.half],
                self.features,
                self.corpus.task.n_candidates,
                self.corpus.seed,
            ),
            heads={arm: _together([one[arm] for one in measured], mean) for arm in measured[0]},
            networks=trained,
            gold={arm: _curve([one[arm] for one in gold]) for arm in gold[0]},
        )

    def _draw(self, condition: str, labels: int, draw: int) -> Labels:
        train = self.corpus.texts.pairs["train"]
        labeled = torch.tensor(train["labeled"].to_list(), dtype=torch.bool)
        allowed = torch.ones_like(labeled)
        if condition != ALL:
            allowed = conditions_of(train, self.features.train_nearness)[condition]
        return draw_labels(labeled, allowed, labels, self.corpus.seed, draw)

    def _gold(self, weights: Mapping[str, Tensor]) -> dict[str, list[Record]]:
        if not self.stances:
            return {}
        sizes = [len(stance.texts) for stance in self.stances]
        texts = torch.split(self.features.stances, sizes)
        return {
            arm: label_correctness(self.stances, [x @ w for x in texts], self.corpus.seed)
            for arm, w in weights.items()
        }


def _together(records: Sequence[Record], how: Any) -> Record:
    """The mean or median of every number over the records that have it."""
    keys = dict.fromkeys(key for record in records for key in record)
    return {key: float(how([record[key] for record in records if key in record])) for key in keys}


def _curve(curves: Sequence[Sequence[Record]]) -> list[Record]:
    """The means of several draws, size by size."""
    return [
        {"n": points[0]["n"], **_together([_without_n(point) for point in points], mean)}
        for points in zip(*curves, strict=True)
    ]


def _without_n(point: Record) -> Record:
    return {key: value for key, value in point.items() if key != "n"}


def _baselines(
    texts: HumanTexts, features: Features, stances: Sequence[Stance], seed: int
) -> tuple[dict[str, Record], dict[str, list[Record]]]:
    """What needs no reward model, on the same test pairs and the same pools of human texts."""
    train, test = texts.pairs["train"], texts.pairs["test"]
    records: dict[str, Record] = {}
    gold: dict[str, list[Record]] = {}
    for name, baseline in baselines(train, texts.pairs["validation"], test).items():
        records[name] = {**measure_margins(baseline.margins, features), **baseline.facts}
        if stances:
            scores = [baseline.scores(list(stance.texts)) for stance in stances]
            gold[name] = label_correctness(stances, scores, seed)
    return records, gold
