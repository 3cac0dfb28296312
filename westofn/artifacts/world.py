"""`world`: the facts about each prompt that the gold annotator of the embedded world needs.

written by  prepare (0 rows where the source has no gold annotator)
read by     eval, rlhf (metrics only), report; no stage that trains
"""

from __future__ import annotations

import json

import polars as pl

from westofn.artifacts.table import Check, Column, Table


def _not_json_object(facts: pl.Series) -> pl.Series:
    return pl.Series([text is not None and not _is_json_object(text) for text in facts])


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


WORLD = Table(
    name="world",
    description="One prompt's facts, which the gold annotator uses to reward responses.",
    written_by=("prepare",),
    read_by=("rlhf", "eval", "report"),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "facts": Column(pl.String(), "JSON object with the facts for the gold annotator"),
    },
    key=("prompt_id",),
    checks=(
        Check(
            "facts is a JSON object",
            pl.col("facts").map_batches(_not_json_object, return_dtype=pl.Boolean()),
            ("facts",),
        ),
    ),
    may_be_empty=True,
)
