"""Beside the loop, `eval_pool`: one pool of candidates on test prompts, for every model alike.

reads   data/prepared/prompts.parquet (split test), data/loop/k0/policy
writes  data/eval_pool/candidates.parquet
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.execution.account import tell
from westofn.execution.stage_accounts import sample_account


def main(prepared: In, policy: In, out: Out) -> None:
    """Sample the seed policy on test prompts."""
    from stages.sample import sample_split

    counts = sample_split("eval_pool", "test", prepared, policy, out)
    tell(sample_account("eval_pool", counts))


if __name__ == "__main__":
    run(main)
