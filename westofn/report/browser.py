"""The synthetic pairs and their pools that the page embeds, as JSON that cannot become markup."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from westofn.artifacts.pool_margins import MAX_POOLS, evenly
from westofn.errors import DataError
from westofn.plain_text import visible_json
from westofn.report.inputs import Iteration, ReportInputs
from westofn.report.pools import POOL_COLUMNS, pool_rows

MAX_PAIRS = MAX_POOLS
MAX_JSON_BYTES = 2_500_000
MAX_POOL_BYTES = 1_000_000
"""With the pairs and the drawing library (0.9 MB) the page stays below 5 MB."""
MAX_SHOWN_POOLS = 500

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
    """The pairs in the page.

    Attributes:
        json: Escaped JSON `{"columns": [...], "rows": [[...], ...]}`.
        shown: How many they are.
        total: How many were selected.
        pools: Escaped JSON `{"columns": [...], "pools": {row: [[...], ...]}}`, of rows of `json`.
        pools_shown: How many pools these are.
        pools_known: Whether the teacher's order of any pool is known.
    """

    json: str
    shown: int
    total: int
    pools: str
    pools_shown: int
    pools_known: bool


def embed_pairs(
    inputs: ReportInputs,
    *,
    max_pairs: int = MAX_PAIRS,
    max_bytes: int = MAX_JSON_BYTES,
    max_pool_bytes: int = MAX_POOL_BYTES,
) -> EmbeddedPairs:
    """The pairs and the pools that they were chosen from.

    More than `max_pairs`, or text above `max_bytes`, is sampled evenly over the pairs in order of
    iteration and prompt_id; of more than `max_pairs`, those whose pools are known. Pools are
    sampled likewise over the pairs that are shown.

    Raises:
        DataError: A pair names a candidate or prompt that is not there, or has no decision.
    """
    frame = pair_rows(inputs)
    total = frame.height
    if total > max_pairs:
        known = pl.col("has_pool")
        frame = frame.filter(known | ~known.any().over("iteration"))
    text, shown = _fitting(
        lambda count: _json(_evenly(frame, count)), min(frame.height, max_pairs), max_bytes, least=1
    )
    shown_rows = _evenly(frame, shown).with_row_index("row")
    with_pool = shown_rows.filter("has_pool")
    pools, pools_shown = _fitting(
        lambda count: _pools_json(inputs, _evenly(with_pool, count)),
        min(with_pool.height, MAX_SHOWN_POOLS),
        max_pool_bytes,
    )
    return EmbeddedPairs(text, shown, total, pools, pools_shown, with_pool.height > 0)


def pair_rows(inputs: ReportInputs) -> pl.DataFrame:
    """All pairs with their text, sorted by iteration and prompt_id.

    Columns are `COLUMNS`, prompt_id, and has_pool: whether the margins of its pool are known.
    """
    columns = [*COLUMNS, "prompt_id", "has_pool"]
    frames = [
        _iteration_rows(name, iteration, inputs.prompts)
        for name, iteration in inputs.iterations.items()
    ]
    return pl.concat(frames).select(columns) if frames else pl.DataFrame(schema=columns)


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
        has_pool=pl.col("prompt_id").is_in(iteration.margins["prompt_id"].unique().to_list()),
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
    return frame if count >= frame.height else frame[evenly(frame.height, count)]


def _fitting(
    render: Callable[[int], str], count: int, max_bytes: int, least: int = 0
) -> tuple[str, int]:
    """What so many rows render to, or fewer, so that it fits; and how many they are."""
    text = render(count)
    while len(text.encode()) > max_bytes and count > least:
        count = max(least, min(count - 1, int(count * max_bytes / len(text.encode()))))
        text = render(count)
    return text, count


def _pools_json(inputs: ReportInputs, shown: pl.DataFrame) -> str:
    pools = {}
    for name in inputs.iterations:
        of_iteration = shown.filter(pl.col("iteration") == name)
        rows = pool_rows(inputs, name, of_iteration["prompt_id"].to_list())
        for row, prompt_id in of_iteration.select("row", "prompt_id").iter_rows():
            pools[row] = rows[prompt_id]
    return escape({"columns": POOL_COLUMNS, "pools": pools})


def _json(frame: pl.DataFrame) -> str:
    rows = [
        [_short(column, value) for column, value in zip(COLUMNS, row, strict=True)]
        for row in frame.select(COLUMNS).iter_rows()
    ]
    return escape({"columns": COLUMNS, "rows": rows})


def _short(column: str, value: Any) -> Any:
    return round(value, DIGITS[column]) if column in DIGITS else value
