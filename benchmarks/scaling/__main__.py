"""How long one iteration takes on 8 to 1,024 GPUs, by a simulation: no GPU was measured.

    python -m benchmarks.scaling

Writes benchmarks/scaling.json, the tables of docs/scaling.md and docs/figures/scaling.svg.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import numpy as np
import typer
import vl_convert

from benchmarks.page import replace_between
from benchmarks.scaling.costs import (
    H100,
    MODELS,
    Device,
    Model,
    Values,
    Work,
    sample_seconds,
    score_seconds,
    training_seconds,
)
from benchmarks.scaling.simulate import Fleet, run_queue
from benchmarks.speed.record import table
from westofn.artifacts.atomic import write_bytes
from westofn.report.figures import PNG_THEME

RECORD, PAGE = Path("benchmarks/scaling.json"), Path("docs/scaling.md")
FIGURE = Path("docs/figures/scaling.svg")
DEVICES = (8, 16, 32, 64, 128, 256, 512, 1024)
SHARD_PROMPTS = (4, 16, 64, 256, 1024)
SEED = 0
START_SECONDS = 60.0
"""Seconds to start an engine, without its weights. An assumption."""
WORKER_LOAD, STORAGE_LOAD = 2e9, 50e9
"""Bytes a second that one worker reads, and that all read together. Assumptions."""
SPEED_SPREAD = 0.03
"""Standard deviation of the logarithm of a worker's speed. An assumption."""
SECONDS_PER_SHARD = 0.5
"""Seconds to hand out a shard and to write it. An assumption."""
TABLE_SECONDS = 117e-6
"""Seconds a prompt with 64 candidates of `won_select` and `filter` in one process, without their
imports: 11.7 s for 10⁵ (docs/performance.md, "Memory")."""
HOUR = 3600


@dataclass(frozen=True)
class Point:
    """One iteration on one number of devices.

    Attributes:
        model: Name of the policy and reward model.
        devices: Number of devices.
        shard_prompts: Prompts of a shard.
        hours: Step -> its hours.
        efficiency: Share of the devices' time on shards that were finished, in sampling.
        faults: Faults in sampling and scoring.
    """

    model: str
    devices: int
    shard_prompts: int
    hours: dict[str, float]
    efficiency: float
    faults: int

    @property
    def total(self) -> float:
        """Hours of all steps."""
        return sum(self.hours.values())


def main(
    out: Annotated[Path, typer.Option(help="where the figures go; replaced")] = RECORD,
    page: Annotated[Path, typer.Option(help="page whose tables are replaced")] = PAGE,
    figure: Annotated[Path, typer.Option(help="figure that is replaced")] = FIGURE,
    prompts: Annotated[int, typer.Option(min=1, help="unlabeled prompts")] = Work.prompts,
    candidates: Annotated[int, typer.Option(min=2, help="responses of a prompt")] = Work.candidates,
    share: Annotated[
        float, typer.Option(min=0.01, max=2, help="times the assumed speed of a device")
    ] = 1.0,
) -> None:
    """Simulate every model, number of devices and shard size; write figures, tables, drawing."""
    work = Work(prompts=prompts, candidates=candidates)
    device = replace(
        H100,
        compute_share=H100.compute_share * share,
        memory_share=H100.memory_share * share,
    )
    lengths = drawn_lengths(work, SEED)
    points = [
        simulated(model, device, work, devices, size, lengths)
        for model in MODELS
        for devices in DEVICES
        for size in SHARD_PROMPTS
    ]
    record = {
        "work": asdict(work),
        "device": asdict(device),
        "models": [asdict(model) for model in MODELS],
        "points": [asdict(point) for point in points],
    }
    write_bytes((json.dumps(record, indent=1) + "\n").encode(), out)
    replace_between(page, "scaling", table(time_rows(points, device)))
    replace_between(page, "shards", table(shard_rows(points)))
    svg = vl_convert.vegalite_to_svg(_drawing(points).to_dict(), config=PNG_THEME)
    write_bytes(svg.encode(), figure)


def drawn_lengths(work: Work, seed: int) -> tuple[Values, Values]:
    """Draw the tokens of all responses of each prompt together, and of its longest response.

    A prompt's responses have geometric lengths around a mean of its own; prompts' means are
    lognormal. The limit cuts what is longer.

    Returns:
        (prompts,) sums and (prompts,) maxima.
    """
    random = np.random.default_rng(seed)
    shift = np.log(work.response_tokens) - work.spread**2 / 2
    means = np.maximum(1, np.exp(random.normal(shift, work.spread, work.prompts)))
    sums, longest = np.empty(work.prompts), np.empty(work.prompts)
    for part in np.array_split(np.arange(work.prompts), max(1, work.prompts // 10_000)):
        drawn = random.geometric(1 / means[part, None], (len(part), work.candidates))
        cut = np.minimum(drawn, work.longest)
        sums[part], longest[part] = cut.sum(1), cut.max(1)
    return sums, longest


def fleet(model: Model, device: Device, devices: int) -> Fleet:
    """Return the workers that sample or score, one copy of the model each."""
    workers = devices // model.devices
    together = min(WORKER_LOAD * workers, STORAGE_LOAD)
    faults = device.hours_between_faults * HOUR / model.devices
    return Fleet(
        workers=workers,
        start_seconds=START_SECONDS + model.weight_bytes * workers / together,
        restart_seconds=START_SECONDS + model.weight_bytes / WORKER_LOAD,
        seconds_between_faults=faults,
        speed_spread=SPEED_SPREAD,
        seconds_per_shard=SECONDS_PER_SHARD,
    )


def simulated(
    model: Model,
    device: Device,
    work: Work,
    devices: int,
    size: int,
    lengths: tuple[Values, Values],
) -> Point:
    """Simulate one iteration with shards of one size, of what `drawn_lengths` returned."""
    workers = fleet(model, device, devices)
    starts = np.arange(0, work.prompts, size)
    tokens = np.add.reduceat(lengths[0], starts)
    longest = np.maximum.reduceat(lengths[1], starts)
    sampled = run_queue(sample_seconds(model, device, work, tokens, longest, size), workers, SEED)
    scored = run_queue(score_seconds(model, device, work, tokens, size), workers, SEED + 1)
    hours = {
        "sample": sampled.seconds / HOUR,
        "score": scored.seconds / HOUR,
        "tables": work.prompts * work.candidates / 64 * TABLE_SECONDS / HOUR,
        "student": training_seconds(model, device, work, devices) / HOUR,
    }
    return Point(
        model=model.name,
        devices=devices,
        shard_prompts=size,
        hours={step: round(value, 4) for step, value in hours.items()},
        efficiency=round(sampled.efficiency(workers.workers), 4),
        faults=sampled.faults + scored.faults,
    )


def fastest(points: Sequence[Point]) -> list[Point]:
    """Return the point of the best shard size of every model and number of devices."""
    best: dict[tuple[str, int], Point] = {}
    for point in points:
        key = point.model, point.devices
        if key not in best or point.total < best[key].total:
            best[key] = point
    return list(best.values())


def time_rows(points: Sequence[Point], device: Device) -> list[list[str]]:
    """Return the rows of the table of times, at the best shard size each."""
    rows = [
        ["model", "GPUs", "sample, h", "score, h", "tables, h", "student, h", "in all, h"],
        ["---", *["---:"] * 6],
    ]
    rows[0] += ["GPU-hours", f"$ at {device.dollars:g} an hour", "speed-up"]
    rows[1] += ["---:"] * 3
    first: dict[str, Point] = {}
    for point in fastest(points):
        start = first.setdefault(point.model, point)
        hours = point.total * point.devices
        speed_up = start.total / point.total * start.devices
        rows.append(
            [
                point.model,
                f"{point.devices:,}",
                *(f"{value:.3g}" for value in point.hours.values()),
                f"{point.total:.3g}",
                f"{hours:,.0f}",
                f"{hours * device.dollars:,.0f}",
                f"{speed_up:.0f}",
            ]
        )
    return rows


def shard_rows(points: Sequence[Point]) -> list[list[str]]:
    """Return the rows of the table of shard sizes: hours of sampling and scoring."""
    rows = [
        ["model", "GPUs", *(f"{size:,} prompts" for size in SHARD_PROMPTS)],
        ["---", *["---:"] * (len(SHARD_PROMPTS) + 1)],
    ]
    hours = {
        (point.model, point.devices, point.shard_prompts): point.hours["sample"]
        + point.hours["score"]
        for point in points
    }
    for model in MODELS:
        for devices in DEVICES[::3]:
            values = [hours[model.name, devices, size] for size in SHARD_PROMPTS]
            rows.append([model.name, f"{devices:,}", *(f"{value:.3g}" for value in values)])
    return rows


def _drawing(points: Sequence[Point]) -> alt.HConcatChart:
    """Hours by step against devices, a panel a model; both scales logarithmic."""
    rows: list[dict[str, Any]] = [
        {"model": point.model, "devices": point.devices, "step": step, "hours": hours}
        for point in fastest(points)
        for step, hours in point.hours.items()
    ]
    return alt.hconcat(*(_panel(rows, model.name) for model in MODELS))


def _panel(rows: Sequence[dict[str, Any]], model: str) -> alt.Chart:
    values = [row for row in rows if row["model"] == model]
    panel: alt.Chart = (
        alt.Chart(alt.InlineData(values=values), title=model)
        .mark_line(point=True)
        .encode(
            x=alt.X("devices:Q", title="GPUs", scale=alt.Scale(type="log", base=2)),
            y=alt.Y("hours:Q", title="hours", scale=alt.Scale(type="log")),
            color=alt.Color("step:N", title=None, legend=alt.Legend(orient="bottom")),
        )
        .properties(width=300, height=220)
    )
    return panel


if __name__ == "__main__":
    typer.run(main)
