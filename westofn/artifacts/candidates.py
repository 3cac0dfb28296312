"""`candidates`: the pools G = {y_1 … y_N} that the policy sampled, N candidates for each prompt.

written by  sample (and eval's pool: data/eval_pool)
read by     won_select, filter, eval
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import at_least, finite, one_of
from westofn.artifacts.table import Check, Column, Table

_pool_size = pl.col("candidate_index").len().over("prompt_id")
_index, _largest = pl.col("candidate_index"), pl.col("candidate_index").max()
_full_pools = (
    ((_index == pl.int_range(pl.len()) % (_largest + 1)).all())
    & ((_index == 0) | (pl.col("prompt_id") == pl.col("prompt_id").shift())).all()
    & (pl.len() % (_largest + 1) == 0)
)
"""Whether rows that are sorted by key count from 0 to one number, again and again."""

CANDIDATES = Table(
    name="candidates",
    description="One response that a policy sampled for a prompt.",
    written_by=("sample",),
    read_by=("won_select", "filter", "eval"),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "candidate_index": Column(pl.Int32(), "place in the prompt's pool, 0 to N - 1"),
        "response": Column(pl.String(), "sampled text; may be empty"),
        "logprob": Column(pl.Float32(), "sum over tokens of log π(y|x), nats, temperature 1"),
        "n_tokens": Column(pl.Int32(), "tokens in that sum, with the end token if it was sampled"),
        "finish_reason": Column(pl.String(), "stop (end token) or length (token limit)"),
    },
    key=("prompt_id", "candidate_index"),
    checks=(
        Check(
            "every prompt has as many candidates as the largest pool",
            _pool_size != _pool_size.max(),
            (_pool_size.alias("candidates"), _pool_size.max().alias("needs")),
            shared=_largest,
            unless=_full_pools,
        ),
        Check(
            "candidate_index runs from 0 to N - 1 in each prompt",
            ~pl.col("candidate_index").is_between(0, _pool_size - 1),
            ("candidate_index",),
            unless=_full_pools,
        ),
        finite("logprob"),
        Check("logprob ≤ 0", pl.col("logprob") > 0, ("logprob",)),
        at_least("n_tokens", 1),
        one_of("finish_reason", ("stop", "length")),
    ),
    in_parts=True,
)
