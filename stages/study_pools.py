"""Beside the pipeline, `study_pools`: what the study samples from the SFT policy.

reads   data/prepared/{preferences,prompts}.parquet, data/loop/k0/policy
writes  data/study/pools: labeled, {positive,negative}_{labeled,unlabeled},
        deep_{unlabeled,test}, each a table of candidates

A candidate follows from (seed, prompt, index), so the first of deep_unlabeled are the candidates of
iteration k1.
"""

from __future__ import annotations

from contextlib import ExitStack

from stages.common import In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.candidates import CANDIDATES
from westofn.execution.scratch import scratch
from westofn.params.file import load_section, load_seed
from westofn.params.sample import SampleParams
from westofn.params.study import StudyParams
from westofn.runtime import load_runtime, set_up_torch
from westofn.sources.human import HumanData


def main(prepared: In, policy: In, out: Out) -> None:
    """Sample plain, contrast and deep pools; all stay in .scratch until the last is done."""
    seed, sample, study = load_seed(), load_section(SampleParams), load_section(StudyParams)
    human, runtime = HumanData.read(prepared), load_runtime()

    from westofn.core.seeds import derive_seed
    from westofn.generation.sample_pools import Draw, sample_pool
    from westofn.models.policy import load_policy
    from westofn.study.pool_plan import plan

    model = load_policy(policy, set_up_torch(runtime))
    with ExitStack() as scratches:
        pools = {}
        for wanted in plan(human, study, sample):
            draw = Draw(wanted.n_candidates, sample.temperature, derive_seed(seed, wanted.stream))
            name = f"study_pools-{wanted.name}"
            settings = [draw.__dict__, wanted.prompts.rows()]
            folder = scratches.enter_context(scratch(name, settings, [*human.files, policy]))
            pools[wanted.name] = sample_pool(model, wanted.prompts, draw, folder, wanted.name)
        with whole_folder(out) as place:
            for name, frame in pools.items():
                CANDIDATES.write(frame, place / f"{name}.parquet")


if __name__ == "__main__":
    run(main)
