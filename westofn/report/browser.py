"""The synthetic pairs that the page embeds for its browser, as JSON that cannot become markup."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from westofn.errors import DataError
from westofn.plain_text import visible_json
from westofn.report.inputs import Iteration, ReportInputs

MAX_PAIRS = 5_000
MAX_JSON_BYTES = 3_500_000
"""With the drawing library (0.9 MB) the page stays below 5 MB."""

COLUMNS = (
    "iteration",
    "prompt",
    "chosen",
    "rejected",
    "status",
    "p_chosen",
    "margin",
    "chosen_logprob_per_token",
    "rejected_logprob_per_token",
    "chosen_tokens",
    "rejected_tokens",
)
DIGITS = {
    "p_chosen": 5,
    "margin": 3,
    "chosen_logprob_per_token": 3,
    "rejected_logprob_per_token": 3,
}
KEPT = "kept"
CLOSEST_TO_CERTAIN = 2.0**-24
"""Half the gap between 1 and the next smaller float32: the margin of p_chosen = 1 stays finite."""

ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
}


@dataclass(frozen=True)
class EmbeddedPairs:
    """The pairs in the page: their JSON, how many they are, and of how many."""

    json: str
    shown: int
    total: int


def embed_pairs(
    inputs: ReportInputs, *, max_pairs: int = MAX_PAIRS, max_bytes: int = MAX_JSON_BYTES
) -> EmbeddedPairs:
    """The pairs as escaped JSON `{"columns": [...], "rows": [[...], ...]}`.

    More than `max_pairs`, or text above `max_bytes`, is sampled evenly over the pairs in order of
    iteration and prompt_id.

    Raises:
        DataError: A pair names a candidate or prompt that is not there, or has no decision.
    """
    frame = pair_rows(inputs)
    total = frame.height
    shown = min(total, max_pairs)
    text = _json(_evenly(frame, shown))
    while len(text.encode()) > max_bytes and shown > 1:
        shown = max(1, min(shown - 1, int(shown * max_bytes / len(text.encode()))))
        text = _json(_evenly(frame, shown))
    return EmbeddedPairs(text, shown, total)


def pair_rows(inputs: ReportInputs) -> pl.DataFrame:
    """All pairs with their text, `COLUMNS` wide, sorted by iteration and prompt_id."""
    frames = [
        _iteration_rows(name, iteration, inputs.prompts)
        for name, iteration in inputs.iterations.items()
    ]
    return pl.concat(frames).select(COLUMNS) if frames else pl.DataFrame(schema=list(COLUMNS))


def escape(value: object) -> str:
    r"""JSON that may stand inside a script element: no character of it can end or open one.

    >>> escape("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = visible_json(text)
    for character, escaped in ESCAPES.items():
        text = text.replace(character, escaped)
    return text


def _iteration_rows(name: str, iteration: Iteration, prompts: pl.DataFrame) -> pl.DataFrame:
    rows = (
        iteration.pairs.join(prompts.select("prompt_id", "prompt"), on="prompt_id", how="left")
        .join(iteration.decisions, on="prompt_id", how="left")
        .join(_side(iteration, "chosen"), on=["prompt_id", "chosen_index"], how="left")
        .join(_side(iteration, "rejected"), on=["prompt_id", "rejected_index"], how="left")
        .sort("prompt_id")
    )
    _require_joined(rows, name)
    return rows.with_columns(
        iteration=pl.lit(name),
        status=pl.coalesce("dropped_by", pl.lit(KEPT)),
        margin=_margin(),
    )


def _side(iteration: Iteration, side: str) -> pl.DataFrame:
    return iteration.candidates.select(
        "prompt_id",
        pl.col("candidate_index").alias(f"{side}_index"),
        pl.col("response").alias(side),
        (pl.col("logprob") / pl.col("n_tokens")).alias(f"{side}_logprob_per_token"),
        pl.col("n_tokens").alias(f"{side}_tokens"),
    )


def _require_joined(rows: pl.DataFrame, name: str) -> None:
    origins = {
        "prompt": "prompts.parquet",
        "kept": "decisions.parquet",
        "chosen": "candidates.parquet",
        "rejected": "candidates.parquet",
    }
    for column, file in origins.items():
        lost = rows.filter(pl.col(column).is_null())
        if lost.height:
            raise DataError(
                f"report: {name} has {lost.height} pairs without a row in {file}, first prompt_id "
                f"{lost['prompt_id'][0]!r} (column {column}); rerun the stages from sample on"
            )


def _margin() -> pl.Expr:
    """logit(p_chosen), which is the margin of which p_chosen is the sigmoid."""
    p = pl.col("p_chosen").cast(pl.Float64).clip(CLOSEST_TO_CERTAIN, 1 - CLOSEST_TO_CERTAIN)
    return (p / (1 - p)).log()


def _evenly(frame: pl.DataFrame, count: int) -> pl.DataFrame:
    """`count` rows at equal distances, the first and the last among them."""
    if count >= frame.height:
        return frame
    return frame[np.linspace(0, frame.height - 1, count).round().astype(np.int64)]


def _json(frame: pl.DataFrame) -> str:
    rows = [
        [_short(column, value) for column, value in zip(COLUMNS, row, strict=True)]
        for row in frame.iter_rows()
    ]
    return escape({"columns": COLUMNS, "rows": rows})


def _short(column: str, value: Any) -> Any:
    return round(value, DIGITS[column]) if column in DIGITS else value
