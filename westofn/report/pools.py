"""The pools behind the pairs of the page: all candidates, in the teacher's order and in others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from westofn.errors import DataError
from westofn.report.inputs import Iteration, ReportInputs
from westofn.sources.world.gold import Gold

POOL_COLUMNS = (
    "response",
    "count",
    "rank",
    "margin",
    "logprob_per_token",
    "tokens",
    "fault",
    "gold",
    "gold_rank",
    "human",
    "human_rank",
    "marks",
)
DIGITS = {"margin": 3, "logprob_per_token": 3, "gold": 3, "human": 3}
_GOLD_DIGITS = 9  # responses of equal worth must tie, in whatever order their terms were added


def pool_rows(
    inputs: ReportInputs, iteration: str, prompt_ids: Sequence[str]
) -> dict[str, list[list[Any]]]:
    """The pools of these prompts, each as rows of `POOL_COLUMNS`, best mean margin first.

    - count: candidates with this text, which are one row; one that the limit of tokens cut is
      another than one that ended.
    - rank, gold_rank, human_rank: 1 for the best; equal values share the first of their ranks.
    - gold: the gold annotator's reward, null outside the embedded world.
    - human: share of the human comparisons of this prompt that the text won, null without any.
    - marks: best and worst by mean margin among the candidates that may form a pair; chosen and
      rejected by the selector.

    Raises:
        DataError: A candidate or a prompt of the pools is not there.
    """
    source = inputs.iterations[iteration]
    frame = _joined(source, iteration, prompt_ids)
    frame = frame.with_columns(gold=_gold(inputs.world, frame)).join(
        _won(inputs.human, prompt_ids), on=["prompt_id", "response"], how="left"
    )
    frame = _collapsed(frame.with_columns(_rank("margin"), _rank("gold"), _rank("human")))
    frame = frame.rename({"margin_rank": "rank"}).with_columns(marks=_marks())
    frame = frame.with_columns(pl.col(name).round(digits) for name, digits in DIGITS.items())
    pools: dict[str, list[list[Any]]] = {}
    for prompt_id, *row in frame.select("prompt_id", *POOL_COLUMNS).iter_rows():
        pools.setdefault(prompt_id, []).append(row)
    return pools


def _joined(iteration: Iteration, name: str, prompt_ids: Sequence[str]) -> pl.DataFrame:
    """The candidates with their margins and the indices of their pool's pair."""
    frame = iteration.margins.filter(pl.col("prompt_id").is_in(list(prompt_ids))).join(
        iteration.candidates, on=["prompt_id", "candidate_index"], how="left"
    )
    lost = frame.filter(pl.col("response").is_null())
    if lost.height:
        raise DataError(
            f"report: {name} has {lost.height} rows of pool_margins.parquet without a row in "
            f"candidates.parquet, first prompt_id {lost['prompt_id'][0]!r}; rerun the stages from "
            "sample on"
        )
    pairs = iteration.pairs.select("prompt_id", "chosen_index", "rejected_index")
    return frame.join(pairs, on="prompt_id")


def _gold(world: pl.DataFrame, frame: pl.DataFrame) -> pl.Series:
    if not world.height:
        return pl.Series([None] * frame.height, dtype=pl.Float64)
    gold = Gold.from_frame(world)
    rewards = gold.rewards(frame["prompt_id"].to_list(), frame["response"].to_list())
    return pl.Series(rewards.round(_GOLD_DIGITS))


def _won(human: pl.DataFrame, prompt_ids: Sequence[str]) -> pl.DataFrame:
    """The share of the human comparisons that each text of these prompts won."""
    pairs = human.filter(pl.col("prompt_id").is_in(list(prompt_ids)))
    sides = [
        pairs.select("prompt_id", response=side, human=pl.lit(won))
        for side, won in (("chosen", 1.0), ("rejected", 0.0))
    ]
    return pl.concat(sides).group_by("prompt_id", "response").agg(pl.col("human").mean())


def _rank(column: str) -> pl.Expr:
    ranks = pl.col(column).rank("min", descending=True)
    return ranks.over("prompt_id").alias(f"{column}_rank")


def _collapsed(frame: pl.DataFrame) -> pl.DataFrame:
    """One row for equal texts, the teacher's order."""
    index = pl.col("candidate_index")
    return (
        frame.sort("prompt_id", "candidate_index")
        .group_by("prompt_id", "response", "fault", maintain_order=True)
        .agg(
            pl.len().alias("count"),
            (index == pl.col("chosen_index")).any().alias("is_chosen"),
            (index == pl.col("rejected_index")).any().alias("is_rejected"),
            (pl.col("logprob") / pl.col("n_tokens")).first().alias("logprob_per_token"),
            pl.col("n_tokens").first().alias("tokens"),
            pl.col("margin").max().cast(pl.Float64),
            pl.col("margin_rank").min(),
            pl.col("gold", "gold_rank", "human", "human_rank").first(),
        )
        .sort("prompt_id", pl.col("margin"), descending=[False, True], maintain_order=True)
    )


def _marks() -> pl.Expr:
    """The names of a row, as one text.

    In a pool of which fewer than two candidates are without fault, all may form the pair.
    """
    sound = pl.col("fault").is_null()
    may = sound | ((sound * pl.col("count")).sum().over("prompt_id") < 2)
    margin = pl.when(may).then(pl.col("margin"))
    conditions = {
        "best": may & (pl.col("margin") == margin.max().over("prompt_id")),
        "worst": may & (pl.col("margin") == margin.min().over("prompt_id")),
        "chosen": pl.col("is_chosen"),
        "rejected": pl.col("is_rejected"),
    }
    names = [pl.when(holds).then(pl.lit(name)) for name, holds in conditions.items()]
    return pl.concat_str(names, separator=" ", ignore_nulls=True)
