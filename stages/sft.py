"""Stage 2 of 9, `sft`: demonstrations -> the seed policy.

reads   data/prepared/sft.parquet
writes  data/loop/k0/policy
"""

from __future__ import annotations

import polars as pl

from stages.common import LIVE, In, Out, run
from westofn.artifacts.sft import SFT
from westofn.errors import DataError
from westofn.execution.account import tell
from westofn.execution.processes import is_first
from westofn.execution.scratch import model_folders, scratch
from westofn.execution.stage_accounts import sft_account
from westofn.params.file import load_section, load_seed
from westofn.params.sft import SftParams
from westofn.runtime import load_runtime, set_up_torch


def main(prepared: In, out: Out) -> None:
    """Train the policy that the first iteration samples from."""
    seed, params, runtime = load_seed(), load_section(SftParams), load_runtime()
    source = prepared / "sft.parquet"
    frame = SFT.read(source)

    from westofn.models.policy import save_policy
    from westofn.training.sft import Examples, train_sft

    set_up_torch(runtime)

    def examples(split: str) -> Examples:
        rows = frame.filter(pl.col("split") == split)
        if not rows.height:
            raise DataError(
                f"{source}: no example has split {split}, needs at least 1; rerun prepare"
            )
        return Examples(rows["prompt"].to_list(), rows["response"].to_list())

    train, validation = examples("train"), examples("validation")
    settings = {"seed": seed, "sft": params.model_dump()}
    inputs = [source, *model_folders(params.model)]
    with scratch("sft", settings, inputs, together=True) as folder:
        result = train_sft(
            train,
            validation,
            params,
            seed=seed,
            scratch=folder,
            runtime=runtime,
            live=LIVE,
        )
        canaries = list(zip(validation.prompts[:4], validation.responses[:4], strict=True))
        if is_first():
            save_policy(result.policy, out, canaries, result.facts, result.curve)
        tell(sft_account(result.facts))


if __name__ == "__main__":
    run(main, lambda: True)
