"""Two processes over gloo train the models that one process trains, by either strategy.

The processes of a strategy start once and train all cases, since starting takes most of the time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.small_families import tiny_model
from tests.small_models import tiny_policy, tiny_scorer
from tests.training.several import CASES, RECOMPUTED, RESUMED, Weights, cut_short
from westofn.models.policy import Policy, save_policy
from westofn.models.saved_reward import save_reward_model
from westofn.runtime import STRATEGIES, Runtime
from westofn.text.encoding import Encoder

ROOT = Path(__file__).parents[2]
ALONE = Runtime(device="cpu", micro_batch=4)
"""Half of a batch at a time: two micro-batches, as each of two processes has one."""


class Trained:
    """The root of all trainings; what two processes trained by a strategy is in its folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.starts = root, root / "starts"

    @cache  # noqa: B019  # lives as long as the module's fixture
    def alone(self, case: str) -> Weights:
        return CASES[case](self.starts, self.root / "alone" / case, ALONE)

    def together(self, strategy: str, name: str) -> Weights:
        return load_file(self.root / strategy / f"{name}.safetensors")


@pytest.fixture(scope="module")
def trained(small_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("several")
    canary = [("the cat", "so")]
    save_policy(tiny_policy(small_encoder, seed=4), root / "starts" / "t5", canary, {})
    encoder = Encoder(small_encoder.tokenizer, 10, 8, "causal")
    llama = Policy(tiny_model("llama", encoder, seed=4), encoder)
    save_policy(llama, root / "starts" / "llama", canary, {})
    save_reward_model(tiny_scorer(small_encoder, "pointwise", 3), root / "starts/rm", canary, {})
    for case in RESUMED:
        cut_short(case, root / "starts", root / "cut", ALONE)
        for strategy in STRATEGIES:
            shutil.copytree(root / "cut", root / strategy / f"{case}, cut by one")
        shutil.rmtree(root / "cut")
    return Trained(root)


@pytest.fixture(scope="module", params=STRATEGIES)
def strategy(trained: Trained, request: pytest.FixtureRequest) -> str:
    name: str = request.param
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("-m", "tests.training.several", str(trained.root), name),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-10_000:]
    return name


def assert_close(together: Weights, alone: Weights, tolerance: float = 1e-4) -> None:
    assert together.keys() == alone.keys()
    assert len(alone) > 10
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, atol=tolerance, rtol=0, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_the_weights_of_one(case: str, strategy: str, trained: Trained) -> None:
    tolerance = 1e-2 if "bf16" in case else 1e-4  # a bf16 number has 3 digits
    assert_close(trained.together(strategy, case), trained.alone(case), tolerance)


@pytest.mark.parametrize("case", RECOMPUTED)
def test_recomputed_activations_change_nothing(case: str, strategy: str, trained: Trained) -> None:
    assert_close(trained.together(strategy, f"{case}, recomputed"), trained.alone(case))


@pytest.mark.parametrize("case", RESUMED)
def test_two_processes_go_on_with_a_run_of_one(case: str, strategy: str, trained: Trained) -> None:
    assert_close(trained.together(strategy, f"{case}, resumed by two"), trained.alone(case))


@pytest.mark.parametrize("case", RESUMED)
def test_one_process_goes_on_with_a_run_of_two(case: str, strategy: str, trained: Trained) -> None:
    resumed = CASES[case](trained.starts, trained.root / strategy / f"{case}, cut by two", ALONE)
    assert_close(resumed, trained.alone(case))


def test_fsdp_shards_every_step_and_ddp_none(strategy: str, trained: Trained) -> None:
    steps = json.loads((trained.root / strategy / "sharded.json").read_text())
    assert {flag for sharded in steps.values() for flag in sharded} == {strategy == "fsdp"}
    assert {name: len(flags) for name, flags in steps.items() if "resumed" in name} == {
        f"{case}, resumed by two": steps for case, steps in RESUMED.items()
    }
