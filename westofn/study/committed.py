"""A run's metrics.json beside the committed one: which numbers differ, and by more than noise?

Another kind of CPU rounds otherwise, and a training that rounds otherwise ends elsewhere. A
difference is therefore compared with the one between two seeds of the study.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from westofn.core.intervals import mean_interval
from westofn.report.console import MEASURES
from westofn.report.plots import arm_name
from westofn.study.parts import Part
from westofn.study.records import Run

Arms = Mapping[str, Mapping[str, Any]]

STUDY_ARMS = {"hf50": "hf50", "hf100": "hf100", "k1": "west", "prior": "prior"}
"""The study's name of an arm of metrics.json."""


@dataclass(frozen=True)
class Comparison:
    """A headline number beside the committed one.

    Attributes:
        name: Arm and measure, as the summary's tables name them.
        here: The number of this run, as the tables write it.
        committed: The committed number.
        is_equal: Whether the two are equal, to all digits of the file.
        beyond: How far two seeds of the study differ in 95 % of cases, where this difference is
            larger; None where it is not, or where the study has no such arm.
    """

    name: str
    here: str
    committed: str
    is_equal: bool
    beyond: str | None


def committed_content(path: Path) -> bytes | None:
    """Return a file's content in the last commit; None without git, a commit or the file."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    try:
        shown = subprocess.run(
            command, cwd=path.absolute().parent, capture_output=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout if shown.returncode == 0 else None


def compare(metrics: Arms, committed: Arms, runs: Sequence[Run]) -> list[Comparison]:
    """Compare the headline numbers that both files have.

    Args:
        metrics: metrics.json of this run.
        committed: The committed metrics.json.
        runs: Seeds of the study in the same world; the noise is unknown with fewer than two.
    """
    comparisons = []
    for arm in sorted(metrics.keys() & committed.keys()):
        for key, head, write in MEASURES:
            here, there = metrics[arm].get(key), committed[arm].get(key)
            if not isinstance(here, float) or not isinstance(there, float):
                continue
            noise = seed_noise(runs, arm, key)
            beyond = noise is not None and abs(here - there) > noise
            comparisons.append(
                Comparison(
                    f"{arm_name(arm)}, {' '.join(head.split())}",
                    write(here),
                    write(there),
                    here == there,
                    write(noise) if beyond and noise is not None else None,
                )
            )
    return comparisons


def seed_noise(runs: Sequence[Run], arm: str, key: str) -> float | None:
    """Return what two trainings with different seeds differ by in 95 % of cases.

    It is t s √2 with s the standard deviation over seeds. Seeds also draw other data, so the noise
    of training alone is smaller.

    Args:
        runs: Seeds of the study.
        arm: Name of an arm in metrics.json.
        key: Name of a measure.

    Returns:
        The difference, in the measure's unit; None where fewer than two seeds have it.
    """
    arms = (run["arms"].get(Part.BASELINES, {}) for run in runs)
    records = (arms_of_run.get(STUDY_ARMS.get(arm), {}) for arms_of_run in arms)
    values = [record[key] for record in records if key in record]
    if len(values) < 2:
        return None
    return mean_interval(values).half * math.sqrt(2 * len(values))


def comparison_lines(path: Path, metrics: Arms, runs: Sequence[Run]) -> Iterator[str]:
    """Yield what the summary says about the committed numbers; nothing without any.

    Args:
        path: metrics.json of this run, in a git repository.
        metrics: Its content.
        runs: Seeds of the study in the same world.
    """
    content = committed_content(path)
    try:
        committed = json.loads(content) if content else None
    except ValueError:
        committed = None
    if not isinstance(committed, dict) or not all(
        isinstance(arm, dict) for arm in committed.values()
    ):
        return
    comparisons = compare(metrics, committed, runs)
    if not comparisons:
        return
    changed = [comparison for comparison in comparisons if not comparison.is_equal]
    if not changed:
        yield f"The {len(comparisons)} headline numbers equal the committed ones."
        return
    line = f"{len(changed)} of {len(comparisons)} headline numbers differ from the committed ones"
    beyond = [comparison for comparison in changed if comparison.beyond]
    if not runs:
        yield f"{line}; `dvc metrics diff` shows them."
    elif not beyond:
        yield f"{line}, none by more than two seeds of the study do (95 %): noise of training."
    else:
        yield f"{line}, {len(beyond)} by more than two seeds of the study do (95 %):"
        for comparison in beyond:
            yield (
                f"  {comparison.name}: {comparison.here}, committed {comparison.committed}; "
                f"two seeds differ by up to {comparison.beyond}"
            )
