"""vLLM's process, with a package that stands for vLLM; tests/optional has the real one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from westofn.errors import ParameterError, SamplingError
from westofn.execution import vllm_engine
from westofn.execution.vllm_engine import Engine, require_vllm
from westofn.runtime import Runtime

# Notes what it gets, and answers ids of it.
PACKAGE = """
import json, os, sys
from types import SimpleNamespace as Some

class LLM:
    def __init__(self, **arguments):
        if "refused" in arguments["model"]:
            raise ValueError("no such\\x1b model")
        print("a line of the log")
        note(arguments | {"devices": os.environ.get("CUDA_VISIBLE_DEVICES")})

    def reset_prefix_cache(self):
        note("reset")

    def generate(self, prompts, params, use_tqdm):
        note([vars(each) for each in params])
        if params[0].seed == 13:
            os._exit(1)
        def output(index, prompt, each):
            reason = "length" if index else "stop"
            ids = [*prompt.prompt_token_ids, each.seed, index]
            return Some(index=index, token_ids=tuple(ids), finish_reason=reason)
        return [
            Some(outputs=[output(index, *pair) for index in reversed(range(pair[1].n))])
            for pair in zip(prompts, params, strict=True)
        ]

def note(what):
    with open(os.environ["NOTES"], "a") as file:
        print(json.dumps(what), file=file)

SamplingParams = TokensPrompt = Some
"""
PLATFORM = "class current_platform:\n    is_cpu = staticmethod(lambda: True)\n"
KIND = "class RequestOutputKind:\n    FINAL_ONLY = 'last'\n"
REQUEST: dict[str, Any] = {
    "prompts": [[4, 5], [6]],
    "seeds": [7, 8],
    "n": 2,
    "temperature": 0.7,
    "max_tokens": 9,
    "end": 1,
    "never": [0, 2],
}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the process was told, a line each."""
    package = tmp_path / "packages" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "platforms.py").write_text(PLATFORM)
    (package / "sampling_params.py").write_text(KIND)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path / "notes"


def engine(home: Path, runtime: Runtime, model: str = "policy") -> Engine:
    return Engine(home / model, "bfloat16", 40, runtime, home / "log")


def told(notes: Path) -> Iterator[Any]:
    return map(json.loads, notes.read_text().splitlines())


def test_ids_go_in_and_come_back_in_order(notes: Path, tmp_path: Path) -> None:
    runtime = Runtime(vllm_python=sys.executable, vllm_memory=60, vllm_gpus=2, device="cuda:3")
    with engine(tmp_path, runtime) as made:
        assert not notes.exists()  # it starts with the first request
        first = made.ask(REQUEST)
        second = made.ask(REQUEST | {"prompts": [[6]], "seeds": [8]})
    assert first == [
        [[[4, 5, 7, 0], "stop"], [[4, 5, 7, 1], "length"]],
        [[[6, 8, 0], "stop"], [[6, 8, 1], "length"]],
    ]
    assert second == first[1:]
    arguments, reset, params, *rest = told(notes)
    assert arguments == {
        "model": str(tmp_path / "policy"),
        "dtype": "bfloat16",
        "max_model_len": 40,
        "gpu_memory_utilization": 0.6,
        "tensor_parallel_size": 2,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "seed": 0,
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "devices": "3",
    }
    assert reset == rest[0] == "reset"
    assert params[0] == {
        "n": 2,
        "temperature": 0.7,
        "max_tokens": 9,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "ignore_eos": True,
        "stop_token_ids": [1],
        "logit_bias": {"0": -100.0, "2": -100.0},
        "detokenize": False,
        "output_kind": "last",
        "seed": 7,
    }
    assert "a line of the log" in (tmp_path / "log").read_text()


def test_the_process_ends_with_the_block(notes: Path, tmp_path: Path) -> None:
    with engine(tmp_path, Runtime(vllm_python=sys.executable)) as made:
        made.ask(REQUEST)
        process = made._process
        assert process
        assert process.poll() is None
    assert process.poll() is not None


@pytest.mark.parametrize(
    ("model", "seed", "reason"),
    [
        ("refused", 7, r"ValueError: no such\x1b model"),
        ("policy", 13, "a line of the log"),
    ],
)
def test_a_process_that_ends_early_is_one_line(
    model: str, seed: int, reason: str, notes: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(SamplingError) as caught,
        engine(tmp_path, Runtime(vllm_python=sys.executable), model) as made,
    ):
        made.ask(REQUEST | {"seeds": [seed, 8]})
    assert str(caught.value) == (
        f"vLLM ended before it answered ({reason}); mend what it names (its log is "
        f"{tmp_path / 'log'}), or set sample.engine to local"
    )


def test_gpus_that_the_process_sees_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert vllm_engine._device("cuda:1") == {"CUDA_VISIBLE_DEVICES": "6"}
    assert vllm_engine._device("cuda") == vllm_engine._device("cpu") == {}


def test_a_machine_without_vllm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    without = tmp_path / "python"
    without.write_text("#!/bin/sh\nexit 1\n")
    without.chmod(0o755)
    cases = {
        "the package vllm is not installed; install it in an environment": Runtime(),
        "which cannot be run (No such file": Runtime(vllm_python=str(tmp_path / "none")),
        "which has no package vllm": Runtime(vllm_python=str(without)),
        "vllm_memory is 101, needs percent": Runtime(vllm_memory=101),
        "executor is 'ray', whose workers do not start vLLM": Runtime(executor="ray"),
    }
    for text, runtime in cases.items():
        with pytest.raises(ParameterError) as caught:
            require_vllm(runtime)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_python_that_has_vllm_is_taken(notes: Path) -> None:
    require_vllm(Runtime(vllm_python=sys.executable))
