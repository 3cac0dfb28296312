"""Which pairs teach: pool size, selectors, several pairs a prompt, filters, targets, mixing.

All arms share HF50, the base model and the pools of k1, so they differ in the pairs alone. The
pools are nested: N = 8 is the first eight of the same 64.
"""

from __future__ import annotations

import numpy as np

from westofn.artifacts.candidates import CANDIDATES
from westofn.core.filtering import filter_pairs
from westofn.core.selection import (
    BestWorst,
    default_sizes,
    exact_best_worst,
    nested_best_worst,
    random_pairs,
    select_pairs,
    top_bottom_pairs,
    uncertain_pair,
)
from westofn.pairing.select import Pools
from westofn.study.inputs import StudyInputs
from westofn.study.lab import Lab
from westofn.study.synthetic import from_selection, selector_draws

SELECTORS = ("best_median", "best_below", "quartiles")
PAIRS_A_PROMPT = (4, 16)
CONFIDENCES = (0.75, 0.9)
FILTERS = ((0.25, None), (0.5, None), (0.75, None), (None, 0.25), (None, 0.5), (0.25, 0.25))
FRACTIONS = (0.25, 0.75)


def run(lab: Lab) -> None:
    """Every way to make and use pairs of the same pools."""
    inputs, hf50 = lab.inputs, lab.labeled
    pools = inputs.unlabeled
    margins = inputs.base_margins
    west = exact_best_worst(margins)
    pairs = from_selection(pools, west)
    for n, chosen in nested_best_worst(margins, default_sizes(pools.n_candidates)).items():
        lab.student(f"n{n}", hf50, from_selection(pools, chosen), note={"n": n})
    for selector in SELECTORS:
        lab.student(selector, hf50, from_selection(pools, select_pairs(margins, selector)))
    for p in CONFIDENCES:
        lab.student(
            f"confidence{round(100 * p)}", hf50, from_selection(pools, uncertain_pair(margins, p))
        )
    sizes = [k for k in PAIRS_A_PROMPT if 2 * k <= pools.n_candidates]
    for k in sizes:
        lab.student(f"top_bottom{k}", hf50, from_selection(pools, top_bottom_pairs(margins, k)))
    many = max(sizes, default=1)
    draws = selector_draws(inputs.seed, pools.prompt_ids, 2 * many)
    random = from_selection(pools, random_pairs(margins, many, draws))
    lab.student(f"random{many}", hf50, random)
    lab.student(f"distil{many}", hf50, random.soft())
    for confidence, likelihood in FILTERS:
        kept = _kept(inputs, pools, west, confidence, likelihood)
        name = "filter" + "".join(
            f"_{letter}{round(100 * q)}"
            for letter, q in (("c", confidence), ("l", likelihood))
            if q
        )
        lab.student(name, hf50, pairs.of(kept))
    lab.student("soft", hf50, pairs.soft())
    for fraction in FRACTIONS:
        lab.student(f"mix{round(100 * fraction)}", hf50, pairs, fraction=fraction)
    lab.student("synthetic_only", pairs.preferences)


def _kept(
    inputs: StudyInputs,
    pools: Pools,
    west: BestWorst,
    confidence: float | None,
    likelihood: float | None,
) -> set[str]:
    """The prompts whose pair the filter keeps; likelihood is per token."""
    candidates = CANDIDATES.read(inputs.data / "loop" / "k1" / "candidates.parquet")
    candidates = candidates.sort("prompt_id", "candidate_index")
    per_token = (candidates["logprob"] / candidates["n_tokens"]).to_numpy()
    table = per_token.reshape(len(pools.prompt_ids), -1)
    rows = np.arange(len(table))
    result = filter_pairs(
        west.p_best.double().numpy(),
        table[rows, west.best.numpy()],
        table[rows, west.worst.numpy()],
        confidence,
        likelihood,
    )
    return {pools.prompt_ids[row] for row in np.flatnonzero(result.kept)}
