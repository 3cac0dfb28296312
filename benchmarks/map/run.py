"""Runs the map, a world after the other, and keeps what every world measured."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from rich.console import Console

from benchmarks.map.features import (
    PoolFeatures,
    draw_labels,
    judged_pools,
    read_pairs,
    read_pools,
)
from benchmarks.map.linear import differences_to, linear_arms
from benchmarks.map.networks import ARMS, Cell, network_arms
from benchmarks.map.settings import (
    DRAWS,
    FORECAST_DRAWS,
    KAPPA_RESAMPLES,
    LABELS,
    NETWORK_PLACES,
    NETWORK_RUNS,
    OFF_POLICYNESSES,
    SAMPLES_FOR_FORECAST,
    SFT_STEPS,
    SIZES_AT,
    TEST_PAIRS,
    TRAIN_PAIRS,
    Place,
)
from benchmarks.map.worlds import World, one_thread
from westofn.artifacts.json_file import read_json, write_json, write_rows
from westofn.core.forecast import Forecast, forecast
from westofn.core.forecast_terms import Option
from westofn.core.seeds import derive_seed
from westofn.models.features import FeatureReader
from westofn.params.whole import Params, load_params

N_CANDIDATES = 64
SCRATCH = Path(".scratch/map")
Kind = Literal["linear", "networks"]
Record = dict[str, Any]
DIGITS = 5


@dataclass(frozen=True)
class Task:
    """One world of the map: all its places with linear heads, or those with networks."""

    kind: Kind
    alignment: float
    seed: int

    @property
    def path(self) -> Path:
        """Where its records are kept."""
        return SCRATCH / "records" / f"{self.kind}-a{self.alignment:g}-s{self.seed}.json"


def run_map(tasks: Sequence[Task], jobs: int, console: Console) -> list[Record]:
    """Run the tasks side by side, one thread each; finished ones are read back.

    Args:
        tasks: In the order in which they may start.
        jobs: Processes.
        console: For progress.

    Returns:
        A record for every place and seed.
    """
    waiting = [task for task in tasks if not task.path.exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = {pool.submit(run_task, task): task for task in waiting}
        try:
            for done, future in enumerate(as_completed(running), start=1):
                future.result()
                task = running[future]
                console.print(
                    f"{task.kind} {task.alignment:g}, seed {task.seed}: {done}/{len(waiting)}"
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [record for task in tasks for record in read_json(task.path)["records"]]


def write_map(records: Sequence[Record], path: Path) -> None:
    """Write benchmarks/map.json: a record a line, rounded, so that nine seeds stay below 1 MiB."""
    write_rows({"records": _rounded(list(records))}, path, depth=2)


def run_task(task: Task) -> None:
    """Measure one world and write its records."""
    one_thread()
    world = World(
        map_params(), task.alignment, task.seed, SCRATCH / f"a{task.alignment:g}-s{task.seed}"
    )
    records = _linear(world) if task.kind == "linear" else _networks(world)
    write_json({"records": json.loads(json.dumps(records))}, task.path)


def map_params() -> Params:
    """params.yaml with the map's own steps and runs."""
    params = load_params()
    runs = {"runs": NETWORK_RUNS}
    world = params.prepare.world.model_copy(update={"test_pairs": TEST_PAIRS})
    return params.model_copy(
        update={
            "prepare": params.prepare.model_copy(update={"world": world}),
            "sft": params.sft.model_copy(update={"steps": SFT_STEPS}),
            "base_rm": params.base_rm.model_copy(update=runs),
            "student_rm": params.student_rm.model_copy(update=runs),
        }
    )


def _linear(world: World) -> list[Record]:
    reader = FeatureReader(world.policy.model, world.policy.encoder, "mean")
    ones = torch.ones(reader.width, dtype=torch.float64)
    pools = [
        read_pools(world, reader, split, N_CANDIDATES, ones) for split in ("unlabeled", "test")
    ]
    records = []
    for off in OFF_POLICYNESSES:
        pairs = read_pairs(reader, world.data(off, TRAIN_PAIRS))
        scaled = [replace(pool, features=pool.features * pairs.scale) for pool in pools]
        for labels in LABELS:
            place = Place(world.alignment, off, labels)
            drawn = [
                linear_arms(
                    draw_labels(pairs.train, labels, derive_seed(world.seed, "labels", draw)),
                    pairs,
                    *scaled,
                    sizes=place == SIZES_AT,
                    seed=derive_seed(world.seed, "random", draw),
                )
                for draw in range(DRAWS)
            ]
            first = draw_labels(pairs.train, labels, derive_seed(world.seed, "labels", 0))
            foreseen = _forecast(first[: labels // 2], pairs.validation, scaled[0], world.seed)
            records.append(
                {
                    "kind": "linear",
                    **asdict(place),
                    "seed": world.seed,
                    "hf50": _mean([draw["hf50"] for draw in drawn]),
                    "gains": _mean_gains(drawn),
                    "label_accuracy": float(np.mean([d["west"]["label_accuracy"] for d in drawn])),
                    "powers": [draw["prior"]["power"] for draw in drawn],
                    "first_draw": _rounded(differences_to("hf50", drawn[0])),
                    "forecast": _forecast_record(foreseen),
                }
            )
    return records


def _forecast(
    labeled: torch.Tensor, validation: torch.Tensor, unlabeled: PoolFeatures, seed: int
) -> Forecast:
    """What the forecast says of one draw of labels, from a few random samples a prompt."""
    return forecast(
        labeled,
        validation,
        unlabeled.features[: len(labeled), :SAMPLES_FOR_FORECAST],
        seed=seed,
        options=(Option(N_CANDIDATES, 1),),
        draws=FORECAST_DRAWS,
        resamples=KAPPA_RESAMPLES,
    )


def _forecast_record(foreseen: Forecast) -> Record:
    return {
        "kappa": None if foreseen.kappa is None else asdict(foreseen.kappa),
        "powers": {f"{power:g}": share for power, share in foreseen.powers.items()},
        "gains": {
            arm: {metric: asdict(gain) for metric, gain in gains.items()}
            for arm, gains in foreseen.gains.items()
        },
    }


def _networks(world: World) -> list[Record]:
    pools, gold = judged_pools(world, "unlabeled", N_CANDIDATES)
    test, test_gold = judged_pools(world, "test", N_CANDIDATES)
    records = []
    for place in (p for p in NETWORK_PLACES if p.alignment == world.alignment):
        half = place.labels // 2
        data = world.data(place.off_policyness, TRAIN_PAIRS)
        cell = Cell(
            params=world.params,
            policy=world.policy_folder,
            data=data,
            labels=data.preferences.filter(pl.col("split") == "train").head(place.labels),
            unlabeled=pools.head(half),
            unlabeled_gold=gold[:half],
            test=test,
            test_gold=test_gold,
            seed=world.seed,
            scratch=world.folder / "networks-scratch",
        )
        arms = network_arms(cell, ARMS)
        records.append(
            {
                "kind": "networks",
                **asdict(place),
                "seed": world.seed,
                "hf50": _rounded(arms["hf50"]),
                "gains": _rounded(differences_to("hf50", arms)),
                "label_accuracy": arms["west"]["label_accuracy"],
            }
        )
    return records


def _mean(records: Sequence[dict[str, float]]) -> dict[str, float]:
    keys = records[0]
    return {key: round(float(np.mean([r[key] for r in records])), DIGITS) for key in keys}


def _mean_gains(drawn: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Every arm's differences to HF50, averaged over the draws of labels."""
    gains = [differences_to("hf50", records) for records in drawn]
    return {arm: _mean([gain[arm] for gain in gains]) for arm in gains[0]}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value
