"""The estimate as a table that fits 80 columns, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from westofn.planning.estimate import Estimate


def plan_record(stages: Mapping[str, Estimate], jobs: int, together: float) -> dict[str, Any]:
    """Return the estimate as JSON: stages by name, and the totals.

    Args:
        stages: Estimates by stage.
        jobs: Stages that the run has at a time.
        together: Seconds that all stages take so.
    """
    return {
        "stages": {name: asdict(stage) for name, stage in stages.items()},
        "jobs": jobs,
        "seconds": together,
        "seconds_one_at_a_time": sum(stage.seconds for stage in stages.values()),
        "memory": _most_memory(stages, jobs),
        "device_memory": max(stage.device_memory for stage in stages.values()),
        "size": sum(stage.size for stage in stages.values()),
    }


def print_plan(record: Mapping[str, Any], console: Console) -> None:
    """Print the estimate of each stage and the totals."""
    on_gpu = record["device_memory"] > 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    heads = ["responses", "time", "memory", *(["GPU memory"] if on_gpu else []), "outputs"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, stage in record["stages"].items():
        device = [_bytes(stage["device_memory"])] if on_gpu else []
        table.add_row(
            name,
            f"{stage['work']:,.0f}" if stage["work"] else "–",
            duration(stage["seconds"]),
            _bytes(stage["memory"]),
            *device,
            _bytes(stage["size"]),
        )
    console.print(table)
    jobs, in_turn = record["jobs"], duration(record["seconds_one_at_a_time"])
    together = f"; {jobs} stages at a time: {duration(record['seconds'])}" if jobs > 1 else ""
    console.print(f"Time: {in_turn}{together}, and some 2 s a stage for DVC", highlight=False)
    console.print(f"Memory: {_bytes(record['memory'])} at the peak", highlight=False)
    console.print(
        f"Disk: {_bytes(record['size'])} of outputs, and as much in DVC's cache unless it links",
        highlight=False,
    )
    console.print(
        "Not in it: prepare and report. A response that is trained on counts as 3 responses, in RL "
        "as 9.",
        highlight=False,
    )


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it.

    >>> duration(4.21), duration(250), duration(8000), duration(500000)
    ('4.2 s', '4:10 min', '2.2 h', '5.8 days')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        whole = round(seconds)
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB" if count < 1000 else f"{count / 1024:.1f} TiB"


def _most_memory(stages: Mapping[str, Estimate], jobs: int) -> int:
    return sum(sorted((stage.memory for stage in stages.values()), reverse=True)[:jobs])
