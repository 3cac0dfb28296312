"""vLLM as a child process: where its Python is, its start, its requests and its end.

vLLM pins the versions of torch and transformers, so it may have an environment of its own; a
process also gives back all memory when it ends.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from westofn.errors import ParameterError, SamplingError
from westofn.execution import vllm_process
from westofn.execution.children import beside
from westofn.plain_text import visible
from westofn.runtime import Runtime

MEMORY_PERCENT = 75
"""Share of a GPU's memory for vLLM; the rest is for the policy that scores."""
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",  # the model is a folder
    "PYTHONUNBUFFERED": "1",  # else the log lacks its end where the process is killed
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else the order of requests depends on time
}
"""Variables of the process that are not set here."""
SECONDS_TO_ASK = 60
SHOWN_CHARACTERS = 300
_FINDS = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"


def require_vllm(runtime: Runtime) -> None:
    """Refuse `sample.engine: vllm` on a machine that cannot run it.

    Raises:
        ParameterError: The package is missing, `vllm_python` is no Python, the share of memory is
            none, or `executor` is ray.
    """
    if runtime.executor == "ray":
        raise ParameterError(
            "sample.engine is vllm, and executor is 'ray', whose workers do not start vLLM; set "
            "executor to local in runtime.toml, or serve the policy and set sample.engine to openai"
        )
    if runtime.vllm_memory > 100:
        raise ParameterError(
            f"vllm_memory is {runtime.vllm_memory}, needs percent of a GPU's memory, 1 to 100; see "
            "runtime.toml"
        )
    if not runtime.vllm_python:
        if importlib.util.find_spec("vllm") is None:
            raise ParameterError(
                "sample.engine is vllm, and the package vllm is not installed; install it in an "
                "environment of its own, and set vllm_python in runtime.toml to its Python (see "
                "docs/data.md), or set sample.engine to local"
            )
        return
    try:
        missing = subprocess.run(
            [runtime.vllm_python, "-c", _FINDS],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS_TO_ASK,
        ).returncode
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ParameterError(
            f"vllm_python is {runtime.vllm_python!r}, which cannot be run ({reason}); needs the "
            "path of a Python that has vLLM, such as .vllm/bin/python; see runtime.toml"
        ) from None
    if missing:
        raise ParameterError(
            f"vllm_python is {runtime.vllm_python!r}, which has no package vllm; install it there, "
            "or give another Python in runtime.toml"
        )


class Engine(AbstractContextManager["Engine"]):
    """A process of vLLM that starts with the first request and ends with the block.

    Args:
        model: Folder of a model in the form of transformers.
        dtype: Type of its weights, such as bfloat16.
        max_tokens: Largest number of tokens of a prompt and its response.
        runtime: Says which Python has vLLM, and what of the machine it takes.
        log: File for what vLLM prints.
    """

    def __init__(
        self, model: Path, dtype: str, max_tokens: int, runtime: Runtime, log: Path
    ) -> None:
        self.runtime, self.log = runtime, log
        self.arguments: dict[str, Any] = {
            "model": str(model.resolve()),
            "dtype": dtype,
            "max_model_len": max_tokens,
            "gpu_memory_utilization": (runtime.vllm_memory or MEMORY_PERCENT) / 100,
            "tensor_parallel_size": runtime.vllm_gpus or 1,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # not that of the folder
            "seed": 0,
        }
        self._open = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process and those that it started."""
        self._open.close()

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Send a request to the process, which starts if it has not, and return its answer.

        Raises:
            SamplingError: The process ends before it answers.
        """
        if self._process is None:
            self._process = self._started()
            self._exchange(self._process, self.arguments)
        return self._exchange(self._process, request)

    def _started(self) -> subprocess.Popen[str]:
        log = self._open.enter_context(self.log.open("w", encoding="utf-8"))
        # -P: the folder of the script holds modules whose names others use too.
        command = [self.runtime.vllm_python or sys.executable, "-P", str(vllm_process.__file__)]
        environment = ENVIRONMENT | os.environ | _device(self.runtime.device)
        return self._open.enter_context(beside(command, environment, log))

    def _exchange(self, process: subprocess.Popen[str], request: Mapping[str, Any]) -> Any:
        line = ""
        if process.stdin and process.stdout:
            with suppress(BrokenPipeError):
                print(json.dumps(request), file=process.stdin, flush=True)
                line = process.stdout.readline()
        if not line:
            raise SamplingError(
                f"vLLM ended before it answered ({self._reason()}); mend what it names (its log is "
                f"{self.log}), or set sample.engine to local"
            )
        return json.loads(line)

    def _reason(self) -> str:
        """The last error in the log, or its last line."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        lines = [visible(line.strip()) for line in text.splitlines() if line.strip()]
        named = [line for line in lines if re.search(r"\b\w*(Error|Exception): ", line)]
        return [*["it printed nothing"], *lines[-1:], *named[-1:]][-1][-SHOWN_CHARACTERS:]


def _device(device: str) -> dict[str, str]:
    """Return the variable by which vLLM finds the GPU that `device` of runtime.toml names."""
    _, _, index = device.partition("cuda:")
    if not index:
        return {}
    visible_here = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible_here.split(",") if visible_here else []
    return {"CUDA_VISIBLE_DEVICES": names[int(index)] if names else index}
