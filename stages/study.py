"""Beside the pipeline, `study`: one part of the paper's comparisons on one seed.

reads   data/prepared, data/world, data/autorater, data/eval_pool, data/loop/k0,
        data/loop/k1/candidates.parquet, data/loop/k1/{policy,rm}, data/reference,
        data/study/pools, data/study/verdicts.parquet; each part what INPUTS names
writes  data/study/NAME.json of the part NAME, of a part of a round a file in data/study/NAME

westofn/study/parts names the parts, their modules and INPUTS. Finished arms wait in .scratch, so a
killed part goes on.
"""

from __future__ import annotations

import gc
import importlib
from typing import Annotated

import typer

from stages.common import In, Out, run
from westofn.artifacts.json_file import write_json
from westofn.execution.scratch import model_folders, require_inputs, scratch
from westofn.params.whole import load_params
from westofn.runtime import load_runtime, set_up_torch
from westofn.study.parts import INPUTS, Part


def main(
    part: Annotated[Part, typer.Option(help="module of westofn/study/parts")],
    data: In,
    out: Out,
    iteration: Annotated[str, typer.Option(help="round of the loop: k1, k2, …")] = "",
) -> None:
    """Train and measure the arms of a part."""
    if INPUTS[part].by_iteration != bool(iteration):
        takes = ", ".join(name for name, inputs in INPUTS.items() if inputs.by_iteration)
        raise typer.BadParameter(f"--iteration goes with --part {takes}, and only with it")
    params, runtime = load_params(), load_runtime()
    inputs = [data / name for name in INPUTS[part].of(iteration)]
    require_inputs(inputs)

    from westofn.study.inputs import StudyInputs
    from westofn.study.lab import Lab

    device = set_up_torch(runtime)
    module = importlib.import_module(part.module)
    gc.freeze()  # every training collects garbage first: not among what is imported
    name = f"study-{part.value}{iteration}"
    settings = params.model_dump(mode="json")  # all of them: they key the scratch folder alone
    inputs += model_folders(settings["reward_start"]["model"])
    with scratch(name, settings, inputs) as folder:
        lab = Lab(StudyInputs(params, data, device), folder, runtime)
        if iteration:
            module.run(lab, iteration)
        else:
            module.run(lab)
        write_json({"arms": lab.arms, "tables": lab.tables}, out)


if __name__ == "__main__":
    run(main)
