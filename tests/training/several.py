"""Trainings that one process runs, or two share: `python -m tests.training.several` in each.

It trains every case in the folder of its first argument, by the strategy of its second, and the
first process writes the trained weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.small_models import reward_params, rlhf_params, sft_params, start_params
from tests.training.planted import planted_pairs
from westofn.execution.processes import is_first, leave_group
from westofn.models.policy import load_policy
from westofn.models.saved_reward import load_reward_model
from westofn.networks import causal
from westofn.networks.sharding import is_sharded
from westofn.params.lora import AdapterParams, LoraParams
from westofn.params.sft import SftParams
from westofn.runtime import Runtime
from westofn.training.loop import _Progress
from westofn.training.pairs import TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.rl import Prompts, train_rl
from westofn.training.rl.checkpoint import State
from westofn.training.rl.train import _Run
from westofn.training.sft import Examples, train_sft

Weights = dict[str, Tensor]
LORA = LoraParams(rank=2, alpha=4.0, targets="all-linear", dropout=0.0)
RL_LORA = AdapterParams(rank=2, alpha=4.0, targets="all-linear")
STOP = 5
"""Step at which a run is cut short, between the checkpoints of steps 4 and 6."""


def examples(count: int, seed: int) -> Examples:
    """Prompts with the response that is chosen there; lengths differ."""
    pairs = planted_pairs(count, seed)
    return Examples(pairs.prompts, pairs.chosen)


def sft(starts: Path, folder: Path, runtime: Runtime, start: str = "", **changes: Any) -> Weights:
    """Weights of a policy that starts from scratch, or from a model in `starts`."""
    params = sft_params(
        evaluations=3, **({"model": str(starts / start)} if start else {}), **changes
    )
    train, validation = examples(40, 1), examples(8, 2)
    result = train_sft(train, validation, params, seed=0, scratch=folder, runtime=runtime)
    return result.policy.model.state_dict()


def reward(
    starts: Path, folder: Path, runtime: Runtime, start: str = "t5", **changes: Any
) -> Weights:
    """Weights of a reward model that starts from a policy in `starts`, averaged over its steps."""
    model = changes.pop("model", "policy")
    params = reward_params(**{"average_decay": 0.5} | changes)
    trained = train_reward_model(
        "student_rm",
        TrainingPairs(planted_pairs(24, seed=1), None, planted_pairs(8, seed=2)),
        Recipe(starts / start, start_params(model), params, 0, Head("embedding", 2)),
        folder,
        runtime,
    )
    return trained.scorer.model.state_dict()


def without_branches(starts: Path, folder: Path, runtime: Runtime) -> Weights:
    """Weights of a causal reward model whose responses are too long for one row a prompt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(causal, "MOST_BRANCHED", 0)
        return reward(starts, folder, runtime, "llama")


def rl(starts: Path, folder: Path, runtime: Runtime, start: str = "t5", **changes: Any) -> Weights:
    """Weights of a policy that learns from a reward model over the vocabulary of `starts`."""
    params = rlhf_params(**{"minibatches": 1, "value_warmup_steps": 1} | changes)
    prompts = planted_pairs(16, seed=3).prompts
    result = train_rl(
        load_policy(starts / start),
        load_reward_model(starts / "rm"),
        Prompts([f"p{row}" for row in range(16)], prompts),
        params,
        seed=0,
        evaluate=lambda _: {},
        scratch=folder,
        runtime=runtime,
    )
    return result.policy.model.state_dict()


def causal_scratch() -> dict[str, Any]:
    size = sft_params().scratch.model_dump() | {"family": "causal"}
    return {"scratch": SftParams.model_fields["scratch"].annotation(**size)}  # type: ignore[misc]


CASES: dict[str, Callable[[Path, Path, Runtime], Weights]] = {
    "sft of a T5": sft,
    "sft of a causal model": lambda *place: sft(*place, **causal_scratch()),
    "sft of adapters": lambda *place: sft(*place, start="llama", lora=LORA),
    "sft in bf16": lambda *place: sft(*place, precision="bf16"),
    "reward of a T5": reward,
    "reward of averaged runs": lambda *place: reward(*place, runs=2),
    "reward of a causal model": lambda *place: reward(*place, start="llama"),
    "reward of long causal rows": without_branches,
    "reward of an encoder": lambda *place: reward(*place, model="scratch"),
    "reward of adapters": lambda *place: reward(*place, start="llama", lora=LORA),
    "rl by ppo": rl,
    "rl by rloo": lambda *place: rl(*place, start="llama", algorithm="rloo"),
    "rl of adapters": lambda *place: rl(*place, lora=RL_LORA),
}
RECOMPUTED = (
    "sft of a T5",
    "sft of a causal model",
    "reward of a T5",
    "reward of long causal rows",
    "rl by rloo",
)
RESUMED = {"sft of a T5": 2, "reward of a T5": 2, "reward of adapters": 2, "rl by ppo": 3}
"""Steps after the last checkpoint before step STOP; RL saves its checkpoint at step 3."""


@contextmanager
def watched(stop: int = 0) -> Iterator[list[bool]]:
    """Note after every step whether the model is sharded; interrupt at step `stop`."""
    sharded: list[bool] = []
    advance_rl = _Run.advance

    def on_step_end(
        self: _Progress, args: Any, state: Any, control: Any, model: nn.Module, **_: Any
    ) -> None:
        sharded.append(is_sharded(model))
        if state.global_step == stop:
            raise KeyboardInterrupt

    def advance(self: _Run, state: State) -> State:
        following = advance_rl(self, state)
        sharded.append(is_sharded(self.policy.module))
        if following.step == stop:
            raise KeyboardInterrupt
        return following

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Progress, "on_step_end", on_step_end)
        patch.setattr(_Run, "advance", advance)
        yield sharded


def cut_short(case: str, starts: Path, folder: Path, runtime: Runtime) -> None:
    """Train up to step STOP and leave what is in the folder."""
    with watched(STOP), pytest.raises(KeyboardInterrupt):
        CASES[case](starts, folder, runtime)


def main(root: Path, strategy: str) -> None:
    runtime = Runtime(device="cpu", micro_batch=4, strategy=strategy)
    recomputes = Runtime("cpu", 4, strategy=strategy, gradient_checkpointing=True)
    starts, out = root / "starts", root / strategy
    done: dict[str, list[bool]] = {}

    def train(name: str, case: str, folder: Path, runtime: Runtime) -> None:
        with watched() as sharded:
            weights = CASES[case](starts, folder, runtime)
        done[name] = sharded
        if is_first():
            save_file({k: w.clone() for k, w in weights.items()}, out / f"{name}.safetensors")

    for case in CASES:
        train(case, case, out / case, runtime)
    for case in RECOMPUTED:
        train(f"{case}, recomputed", case, out / f"{case}, recomputed", recomputes)
    for case in RESUMED:
        cut_short(case, starts, out / f"{case}, cut by two", runtime)
        train(f"{case}, resumed by two", case, out / f"{case}, cut by one", runtime)
    if is_first():
        (out / "sharded.json").write_text(json.dumps(done))
    leave_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
