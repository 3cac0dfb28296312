"""Beside the pipeline, `study_judge`: an AI judge's verdicts on policy pairs, in both orders.

reads   data/prepared, data/world, data/autorater, data/loop/k0/policy,
        data/loop/k1/candidates.parquet, data/study/pools
writes  data/study/verdicts.parquet

Verdicts are data: a remote judge is asked once, and a change of the judge is a change of
`study.judge`. Only the judge named `simulated` reads the world's gold annotator.
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.artifacts.verdicts import VERDICTS
from westofn.execution.scratch import model_folders, require_inputs, scratch
from westofn.params.whole import load_params
from westofn.runtime import load_runtime, set_up_torch


def main(data: In, out: Out) -> None:
    """Ask the judge about two samples a prompt, and about the contrast pairs."""
    params, runtime = load_params(), load_runtime()
    require_inputs(
        [data / "prepared", data / "world", data / "autorater", data / "study" / "pools"]
    )

    from westofn.judging.build import judge_of_shards
    from westofn.judging.shards import judge_in_shards
    from westofn.study.inputs import StudyInputs
    from westofn.study.verdicts import gold_rewards, judged_pairs, pairs_to_judge

    device = set_up_torch(runtime)
    inputs = StudyInputs(params, data, device)
    pairs = judged_pairs(pairs_to_judge(inputs))
    judge = judge_of_shards(params.study.judge, gold_rewards(inputs.judge), seed=params.seed)
    settings = [params.seed, params.study.judge.model_dump(mode="json"), pairs.rows()]
    files = [data / "prepared", data / "world", *model_folders(params.study.judge.prompted.model)]
    with scratch("study_judge", settings, files) as folder:
        VERDICTS.write(judge_in_shards(judge, pairs, folder), out)


if __name__ == "__main__":
    run(main)
