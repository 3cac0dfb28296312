"""Which pairs teach: pool size, selectors, several pairs a prompt, filters, targets, mixing.

All arms share HF50, the base model and the pools of k1, so they differ in the pairs alone. The
pools are nested: N = 8 is the first eight of the same 64.
"""

from __future__ import annotations

import polars as pl
import torch

from westofn.core.selection import (
    default_sizes,
    nested_best_worst,
    random_pairs,
    top_bottom_pairs,
    uncertain_pair,
)
from westofn.errors import DataError
from westofn.pairing.filters import filter_frames
from westofn.pairing.frames import pair_indices, with_faults
from westofn.params.filter import FilterParams
from westofn.study.inputs import StudyInputs
from westofn.study.lab import Lab
from westofn.study.synthetic import Pairs, from_selection, selector_draws

SELECTORS = ("best_median", "best_below", "quartiles")
PAIRS_A_PROMPT = (4, 16)
CONFIDENCES = (0.75, 0.9)
FILTERS = ((0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (0.0, 0.25), (0.0, 0.5), (0.25, 0.25))
"""Quantiles of confidence and of likelihood."""
FRACTIONS = (0.25, 0.75)


def run(lab: Lab) -> None:
    """Every way to make and use pairs of the same pools."""
    inputs, hf50 = lab.inputs, lab.labeled
    pools = inputs.unlabeled
    margins = inputs.base_margins
    pairs = inputs.west
    usable = torch.from_numpy(inputs.faults.usable)
    sizes = default_sizes(pools.n_candidates)
    for n, chosen in nested_best_worst(margins, sizes, usable).items():
        lab.student(f"n{n}", hf50, from_selection(pools, chosen), note={"n": n})
    for selector in SELECTORS:
        lab.student(selector, hf50, inputs.selected(selector))
    for p in CONFIDENCES:
        lab.student(
            f"confidence{round(100 * p)}", hf50, from_selection(pools, uncertain_pair(margins, p))
        )
    several = [k for k in PAIRS_A_PROMPT if 2 * k <= pools.n_candidates]
    for k in several:
        lab.student(f"top_bottom{k}", hf50, from_selection(pools, top_bottom_pairs(margins, k)))
    many = max(several, default=1)
    draws = selector_draws(inputs.seed, pools.prompt_ids, 2 * many)
    random = from_selection(pools, random_pairs(margins, many, draws))
    lab.student(f"random{many}", hf50, random)
    lab.student(f"distil{many}", hf50, random.soft())
    for confidence, likelihood in FILTERS:
        name = "filter" + "".join(
            f"_{letter}{round(100 * q)}"
            for letter, q in (("c", confidence), ("l", likelihood))
            if q
        )
        lab.student(name, hf50, filtered(inputs, confidence, likelihood))
    lab.student("soft", hf50, pairs.soft())
    for fraction in FRACTIONS:
        lab.student(f"mix{round(100 * fraction)}", hf50, pairs, fraction=fraction)
    lab.student("synthetic_only", pairs.preferences)


def filtered(inputs: StudyInputs, confidence: float, likelihood: float) -> Pairs:
    """The West-of-N pairs that the stage `filter` keeps with these quantiles; 0 keeps all.

    Raises:
        DataError: It keeps none.
    """
    params = FilterParams(
        quantile=confidence,
        likelihood_quantile=likelihood,
        likelihood_normalisation=inputs.params.filter.likelihood_normalisation,
    )
    chosen = inputs.chosen_by("west")
    pairs = with_faults(pair_indices(inputs.unlabeled.prompt_ids, chosen), chosen, inputs.faults)
    try:
        decisions = filter_frames(pairs, [inputs.unlabeled.as_rows()], params).decisions
    except DataError as error:
        raise DataError(
            f"study: the arm with quantiles {confidence:g} of confidence and {likelihood:g} of "
            f"likelihood keeps no pair ({str(error).partition(';')[0]}); the study needs more "
            "prompts of D_U (prepare.world.extra_prompts, or prepare.unlabeled both)"
        ) from None
    return inputs.west.of(set(decisions.filter(pl.col("kept"))["prompt_id"]))
