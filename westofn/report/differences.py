"""Differences of two models that answered the same test prompts, paired by prompt."""

from __future__ import annotations

import numpy as np
import polars as pl

from westofn.artifacts.prompt_measures import MEASURES
from westofn.core.metrics import paired_bootstrap_difference
from westofn.core.seeds import derive_seed
from westofn.errors import DataError


def difference_key(measure: str) -> str:
    """The key of a difference to HF50; its ends are that and `_low`, `_high`.

    >>> difference_key("accuracy")
    'accuracy_difference'
    """
    return f"{measure}_difference"


def differences(arm: pl.DataFrame, reference: pl.DataFrame, *, seed: int) -> dict[str, float]:
    """Mean differences with 95 % bootstrap intervals over prompts, of what both measured.

    A prompt with more pairs counts more, as in the measures themselves. What makes a prompt hard
    for both models cancels.

    Args:
        arm: Table PROMPT_MEASURES of one model.
        reference: The same of the model that it is compared with.
        seed: The run's seed; all models are resampled alike.

    Returns:
        By `difference_key`, with the ends of each interval.

    Raises:
        DataError: The two models were not measured on the same prompts and rows.
    """
    gains: dict[str, float] = {}
    for measure in MEASURES:
        ours, theirs = (
            frame.filter(pl.col("measure") == measure).sort("prompt_id")
            for frame in (arm, reference)
        )
        if not ours.height or not theirs.height:
            continue
        if not ours.select("prompt_id", "rows").equals(theirs.select("prompt_id", "rows")):
            raise DataError(
                f"data/eval: {ours['model'][0]} and {theirs['model'][0]} have {measure} of other "
                "test prompts, needs the same ones; rerun eval and eval_reference"
            )
        times = ours["rows"].to_numpy()
        interval = paired_bootstrap_difference(
            np.repeat(ours["value"].to_numpy(), times),
            np.repeat(theirs["value"].to_numpy(), times),
            np.repeat(np.arange(len(times)), times),
            seed=derive_seed(seed, "report", "differences"),
        )
        key = difference_key(measure)
        gains |= {key: interval.mean, f"{key}_low": interval.low, f"{key}_high": interval.high}
    return gains
