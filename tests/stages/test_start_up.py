"""Stages as processes: how fast they start, how they refuse, and their options."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys

import pytest

from tests.stages.pipeline import ROOT, Tiny

CPU_SECONDS = 30  # whatever else the machine does; most of it is importing torch

AS_MODULE = """
import runpy, sys
sys.argv[0] = sys.argv[1]
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
print("torch" in sys.modules)
"""
FULL_COLLECTIONS = """
import gc, runpy, sys
sys.argv[0] = sys.argv[1]
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
assert "transformers" in sys.modules
print(gc.get_stats()[2]["collections"])
"""
IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    heavy = {"torch", "transformers", "datasets"} & set(sys.modules)
    assert not heavy, f"{name} imports {heavy}"
"""


def python(
    tiny: Tiny, *arguments: str, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = (
        os.environ
        | variables
        | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
    )
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tiny.root,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_importing_a_stage_loads_no_heavy_package(made: Tiny) -> None:
    modules = sorted({stage.module for stage in made.stages.values()})
    assert "stages.report" in modules
    done = python(made, "-c", IMPORTS, *modules)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["code", "check", "prepare", "filter@k1"])
def test_a_light_stage_ends_without_torch(name: str, made: Tiny, tiny: Tiny) -> None:
    stage = tiny.stages[name]
    done = python(tiny, "-c", AS_MODULE, stage.module, *stage.arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"  # below the account
    assert tiny.files() == made.files()


REFUSED = """
import contextlib, importlib, sys
from stages.common import run
for line in sys.stdin:
    module, *sys.argv = line.split()
    sys.argv.insert(0, module)
    with contextlib.suppress(SystemExit):
        run(importlib.import_module(module).main)
    print(module, "torch" in sys.modules)
"""


@pytest.mark.parametrize("fault", ["parameters", "inputs", "runtime"])
def test_a_stage_refuses_before_it_imports_torch(fault: str, tiny: Tiny) -> None:
    stages = {stage.module: stage for stage in [*tiny.stages.values(), *tiny.study.values()]}
    light = {f"stages.{name}" for name in ("code", "check", "filter", "prepare", "report")}
    if fault != "inputs":
        light.add("stages.autorater")  # which has nothing to train on the embedded world
    heavy = [stage for module, stage in stages.items() if module not in light]
    assert len(heavy) == len(stages) - len(light) > 9
    if fault == "parameters":
        tiny.change({"seed": "abc"})
    elif fault == "runtime":
        (tiny / "runtime.toml").write_text('micro_batch = "many"\n')
    else:
        shutil.rmtree(tiny / "data/prepared")
    lines = "".join(f"{' '.join([stage.module, *stage.arguments])}\n" for stage in heavy)
    done = python(tiny, "-c", REFUSED, given=lines)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{stage.module} False" for stage in heavy]
    needed = {"parameters": "seed is 'abc'", "inputs": "data/prepared", "runtime": "'many'"}
    assert done.stderr.count(needed[fault]) == len(heavy) == len(done.stderr.splitlines())


REFUSED_COMMANDS = """
import contextlib, sys
from westofn.__main__ import main
for line in sys.stdin:
    sys.argv = ["westofn", *line.split()]
    with contextlib.suppress(SystemExit):
        main()
    print("torch" in sys.modules)
"""


def test_a_command_refuses_its_target_before_it_imports_torch(made: Tiny) -> None:
    rm = "data/loop/k1/rm"
    lines = [
        f"score dvc.yaml --model {rm} --out data/rows.jsonl",
        f"score dvc.yaml --model {rm} --out rows.txt",
        f"export rm {rm}/sub --model {rm}",
        "export questions data/questions",
    ]
    before = made.files()
    done = python(made, "-c", REFUSED_COMMANDS, given="\n".join(lines))
    assert done.stdout.splitlines() == ["False"] * len(lines)
    needed = ["lies in data", "needs a name that ends with", f"lies in {rm}", "lies in data"]
    for line, text in zip(done.stderr.splitlines(), needed, strict=True):
        assert text in line
    assert made.files() == before


def test_start_up_does_not_walk_over_all_that_is_imported(made: Tiny, tiny: Tiny) -> None:
    stage = tiny.stages["won_select@k1"]
    done = python(tiny, "-c", FULL_COLLECTIONS, stage.module, *stage.arguments)
    assert done.returncode == 0, done.stderr
    assert (
        int(done.stdout.splitlines()[-1]) <= 1
    )  # while pydantic is imported, before a stage can ask for none
    assert tiny.files() == made.files()


@pytest.mark.parametrize("name", ["check", "won_select@k1"])
def test_a_process_refuses_in_one_line_with_exit_code_2(name: str, tiny: Tiny) -> None:
    if name == "check":
        tiny.change({"sample": {"n_candidates": 1}})
        needed = "check: params.yaml: sample.n_candidates is 1, needs"
    else:
        shutil.rmtree(tiny / "data/loop/k0/rm")
        needed = "won_select: data/loop/k0/rm is missing; run `dvc repro`"
    before = tiny.files()
    stage = tiny.stages[name]
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = python(tiny, "-m", stage.module, *stage.arguments)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - started < CPU_SECONDS
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(needed)
    assert done.stdout == ""
    assert tiny.files() == before


@pytest.mark.parametrize(
    ("module", "arguments", "needed"),
    [
        ("stages.check", (), "Missing option '--out'"),
        ("stages.filter", ("--out", "x"), "Missing option '--prepared'"),
        ("stages.check", ("--out", "x", "--ouch", "y"), "No such option"),
        (
            "stages.reference_rm",
            ("--prepared", "data/prepared", "--policy", "p", "--data", "hf75", "--out", "x"),
            "'hf75' is not one of 'hf50', 'hf100'",
        ),
    ],
)
def test_a_usage_error_names_the_option(
    module: str, arguments: tuple[str, ...], needed: str, made: Tiny
) -> None:
    before = made.files()
    outcome = made.call_with(module, *arguments)
    assert outcome.code == 2
    assert needed in " ".join(outcome.stderr.split())
    assert made.files() == before


def test_options_of_an_iteration_go_together(made: Tiny) -> None:
    stage = made.stages["eval@k1"]
    given = list(stage.arguments)
    cut = given.index("--synthetic")
    outcome = made.call_with(stage.module, *given[:cut], *given[cut + 2 :])
    assert outcome.code == 2
    assert "--base, --base-rm, --candidates, --pairs, --synthetic go together" in " ".join(
        outcome.stderr.split()
    )


def test_help_is_no_error_and_no_run(tiny: Tiny) -> None:
    outcome = tiny.call_with("stages.filter", "--help")
    assert outcome.code == 0
    assert "--candidates" in outcome.stdout
    assert not (tiny / "runs").exists()
