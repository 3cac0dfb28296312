"""Table PROMPT_MEASURES: a measure's rows gathered by prompt."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from westofn.artifacts.prompt_measures import PROMPT_MEASURES
from westofn.evaluation.judges import FloatArray


def by_prompt(
    model: str, measure: str, prompt_ids: Sequence[str], values: FloatArray
) -> pl.DataFrame:
    """Means of a measure by prompt, in the order in which prompts come first.

    Args:
        model: Its name.
        measure: One of MEASURES.
        prompt_ids: The prompt of each row.
        values: (rows,), at least one.
    """
    rows = pl.DataFrame({"prompt_id": list(prompt_ids), "value": values})
    means = rows.group_by("prompt_id", maintain_order=True).agg(
        pl.col("value").mean(), pl.len().cast(pl.Int32).alias("rows")
    )
    return PROMPT_MEASURES.frame(
        {
            "prompt_id": means["prompt_id"].to_list(),
            "measure": [measure] * means.height,
            "model": [model] * means.height,
            "value": means["value"].to_list(),
            "rows": means["rows"].to_list(),
        }
    )
