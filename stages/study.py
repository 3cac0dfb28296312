"""Beside the pipeline, `study`: one part of the paper's comparisons on one seed.

reads   data/prepared, data/world, data/autorater, data/eval_pool, data/loop/k0,
        data/loop/k1/candidates.parquet, data/loop/k1/{policy,rm}, data/reference,
        data/study/pools, data/study/verdicts.parquet; each part what its INPUTS name
writes  data/study/{baselines,networks,synthetic_bases,selection,teachers}.json,
        data/study/{data,size,overoptimisation}.json, data/study/iterations/NAME.json

Every part is a module of westofn/study/parts. Finished arms wait in .scratch, so a killed part goes
on.
"""

from __future__ import annotations

import gc
import importlib
from typing import Annotated, Literal

import typer

from stages.common import In, Out, run
from westofn.artifacts.json_file import write_json
from westofn.params.whole import load_params

Part = Literal[
    "baselines",
    "networks",
    "synthetic_bases",
    "selection",
    "teachers",
    "data",
    "size",
    "overoptimisation",
    "iterations",
]


def main(
    part: Annotated[Part, typer.Option(help="module of westofn/study/parts")],
    data: In,
    out: Out,
    iteration: Annotated[str, typer.Option(help="of part iterations: k1, k2, …")] = "",
) -> None:
    """Train and measure the arms of a part."""
    from westofn.execution.scratch import model_folders, scratch
    from westofn.runtime import load_runtime, set_up_torch
    from westofn.study.inputs import StudyInputs
    from westofn.study.lab import Lab

    if (part == "iterations") != bool(iteration):
        raise typer.BadParameter("--iteration goes with --part iterations, and only with it")
    params, runtime = load_params(), load_runtime()
    device = set_up_torch(runtime)
    module = importlib.import_module(f"westofn.study.parts.{part}")
    inputs = [data / name for name in module.INPUTS]
    if iteration:
        inputs += [data / "loop" / iteration / name for name in ("policy", "rm")]
    gc.freeze()  # every training collects garbage first: not among what is imported
    name = f"study-{part}{iteration}"
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
