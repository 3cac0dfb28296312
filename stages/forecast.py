"""Beside the loop, `forecast`: what West-of-N would bring, from features before any training.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k1/candidates.parquet,
        data/loop/k0/policy
writes  data/forecast/forecast.json

It sees D_L, the validation pairs and a few random candidates a prompt, and no test data.
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.json_file import write_json
from westofn.execution.account import tell
from westofn.execution.stage_accounts import forecast_account
from westofn.params.file import load_section, load_seed
from westofn.params.reward_start import RewardStartParams
from westofn.params.student_rm import StudentRmParams
from westofn.preflight.inputs import require_saved
from westofn.runtime import load_runtime, set_up_torch
from westofn.sources.human import HumanData


def main(prepared: In, candidates: In, policy: In, out: Out) -> None:
    """Measure κ and κ_H, and forecast the gains of West-of-N and of twice the labels."""
    require_saved("policy", policy)
    seed, readout, runtime = load_seed(), load_section(StudentRmParams).readout, load_runtime()
    start = load_section(RewardStartParams)
    HumanData.read(prepared)  # a fault shows before torch is imported

    from westofn.evaluation.forecasting import (
        forecast_record,
        make_forecast,
        reader_of_run,
        texts_of_run,
    )

    set_up_torch(runtime)
    reader = reader_of_run(start, policy, readout, seed)
    result, counts = make_forecast(texts_of_run(prepared, candidates), reader, seed)
    with whole_folder(out) as place:
        write_json(forecast_record(result, counts), place / "forecast.json")
    tell(forecast_account(counts))


if __name__ == "__main__":
    run(main)
