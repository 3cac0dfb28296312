"""`prompt_measures`: metrics of each reward model for each test prompt.

written by  eval
read by     report, for intervals of paired differences between models
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import at_least, finite, one_of
from westofn.artifacts.table import Column, Table

MEASURES = ("accuracy", "on_policy_accuracy", "best_of_n_gold", "best_of_n_win_rate")

PROMPT_MEASURES = Table(
    name="prompt_measures",
    description="The mean of one metric of one model over the rows of one test prompt.",
    written_by=("eval",),
    read_by=("report",),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "measure": Column(pl.String(), "key of the metric in metrics.json"),
        "model": Column(pl.String(), "name of the reward model"),
        "value": Column(pl.Float64(), "mean over the prompt's rows, in the metric's unit"),
        "rows": Column(pl.Int32(), "number of pairs of the prompt; 1 for best-of-n"),
    },
    key=("measure", "prompt_id", "model"),
    checks=(one_of("measure", MEASURES), finite("value"), at_least("rows", 1)),
)
