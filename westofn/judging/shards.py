"""Verdicts in committed shards: a killed run goes on, and nothing is paid for twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from westofn.artifacts.verdicts import VERDICTS
from westofn.errors import DataError
from westofn.execution.job import Job
from westofn.execution.shards import shard_files
from westofn.judging.protocol import PreferenceJudge, judge_pairs

PAIRS_A_SHARD = 64
PAIR = ("prompt_id", "prompt", "first", "second")
_KEY = ["prompt_id", "first", "second"]


@dataclass(frozen=True)
class SavedJudge:
    """A judge that is loaded where `executor` of runtime.toml says.

    Attributes:
        name: The judge's.
        load: Loads it in any process; pickle copies this function there.
    """

    name: str
    load: Callable[[], PreferenceJudge]


def judge_in_shards(
    judge: PreferenceJudge | SavedJudge,
    pairs: pl.DataFrame,
    folder: Path,
    size: int = PAIRS_A_SHARD,
    description: str = "judge",
) -> pl.DataFrame:
    """Table verdicts: both orders of every pair.

    Args:
        judge: It answers both orders of every pair.
        pairs: Columns prompt_id, prompt, first, second; others are not read.
        folder: Scratch folder of exactly these pairs and this judge with the same settings;
            shards that are there are kept.
        size: Pairs in a shard; what a killed run may lose.
        description: Shown beside the progress bar.

    Raises:
        DataError: A column is missing or null, a pair is there twice, or the folder holds verdicts
            of other pairs or of another judge.
        WestofnError: Whatever the judge cannot do, see there.
    """
    rows = _checked(pairs)
    files = shard_files(
        rows.rows(),
        Job(judge.load, _shard) if isinstance(judge, SavedJudge) else partial(_shard, judge),
        table=VERDICTS,
        folder=folder,
        size=size,
        description=description,
        unit="pairs",
    )
    frame = pl.concat(map(VERDICTS.read, files))
    if not frame.select(_KEY).equals(rows.select(_KEY)) or set(frame["judge"]) != {judge.name}:
        raise DataError(
            f"{folder} holds verdicts of other pairs or of another judge than {judge.name}; "
            "remove that folder and run again"
        )
    return frame


def _checked(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs in the order of the table, or a refusal before anything is asked."""
    if missing := [name for name in PAIR if name not in pairs.columns]:
        raise DataError(f"judge: pairs have no column {missing[0]}, needs {', '.join(PAIR)}")
    rows = pairs.select(PAIR).sort(_KEY)
    if not rows.height or sum(rows.null_count().row(0)):
        raise DataError("judge: there are no pairs, or a text is null; needs texts to compare")
    repeated = rows.filter(pl.struct(_KEY).is_duplicated())
    if repeated.height:
        raise DataError(
            f"judge: {repeated.height} rows are pairs that repeat, first of prompt "
            f"{repeated['prompt_id'][0]}; needs each pair once"
        )
    return rows


def _shard(judge: PreferenceJudge, rows: Sequence[tuple[str, str, str, str]]) -> pl.DataFrame:
    prompt_ids, prompts, first, second = (list(column) for column in zip(*rows, strict=True))
    verdicts = judge_pairs(judge, prompt_ids, prompts, first, second)
    return VERDICTS.frame(
        {
            "prompt_id": prompt_ids,
            "first": first,
            "second": second,
            "p_forward": verdicts.p_forward.astype(np.float32),
            "p_backward": verdicts.p_backward.astype(np.float32),
            "unanswered": verdicts.unanswered,
            "judge": [judge.name] * len(rows),
        }
    )
