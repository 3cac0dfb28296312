"""Hardware settings: where to run and how much at once. They never change a result's meaning.

They come from the environment or from `runtime.toml` (git-ignored), never from params.yaml, so
that moving to another machine does not invalidate a cache:

| runtime.toml | environment | meaning | default |
|---|---|---|---|
| device | WESTOFN_DEVICE | torch device | cuda where there is one, else cpu |
| micro_batch | WESTOFN_MICRO_BATCH | rows in one training forward pass | the whole batch |
| gradient_checkpointing | WESTOFN_GRADIENT_CHECKPOINTING | compute activations again | false |
| processes | WESTOFN_PROCESSES | processes of this machine that share the training of a stage | 1 |
| nodes | WESTOFN_NODES | machines that share it, on each of which the stage is started | 1 |
| strategy | WESTOFN_STRATEGY | how they share it: ddp (whole weights) or fsdp (parts) | ddp |
| rendezvous | WESTOFN_RENDEZVOUS | HOST:PORT at which several machines meet | none |
| launcher | WESTOFN_LAUNCHER | command that starts a command once on each of them | none |
| threads | OMP_NUM_THREADS | CPU threads | 1 on a CPU, else physical cores |
| judge_url | WESTOFN_JUDGE_URL | address of a judge's OpenAI-compatible server | none |
| judge_key_variable | WESTOFN_JUDGE_KEY_VARIABLE | variable that holds its key | OPENAI_API_KEY |
| judge_workers | WESTOFN_JUDGE_WORKERS | requests to it at once | 8 |
| judge_timeout | WESTOFN_JUDGE_TIMEOUT | seconds that one request may take | 60 |
| sample_url | WESTOFN_SAMPLE_URL | address of the server that samples, as judge_url | none |
| sample_key_variable | WESTOFN_SAMPLE_KEY_VARIABLE | variable that holds its key | OPENAI_API_KEY |
| sample_workers | WESTOFN_SAMPLE_WORKERS | requests to it at once | 8 |
| sample_timeout | WESTOFN_SAMPLE_TIMEOUT | seconds that one request may take | 600 |
| vllm_python | WESTOFN_VLLM_PYTHON | Python that has vLLM, such as .vllm/bin/python | this one |
| vllm_memory | WESTOFN_VLLM_MEMORY | percent of a GPU's memory that vLLM takes | 75 |
| vllm_gpus | WESTOFN_VLLM_GPUS | GPUs that share its model | 1 |
| report_to | WESTOFN_REPORT_TO | see docs/training.md, such as ["tensorboard"] | none |
| executor | WESTOFN_EXECUTOR | what computes shards: local or ray, see docs/scaling.md | local |
| ray_address | WESTOFN_RAY_ADDRESS | a Ray cluster, such as node1:6379 | one on this machine |
| ray_workers | WESTOFN_RAY_WORKERS | workers, each with a model of its own | all that have room |
| ray_gpus_per_worker | WESTOFN_RAY_GPUS_PER_WORKER | GPUs of each worker | 1 if there are any |
| checkpoint_minutes | WESTOFN_CHECKPOINT_MINUTES | training saves at least so often | 5 |
| run_name | WESTOFN_RUN_NAME | stands before the stage in the names of reported runs | none |

The key itself is read from the environment only; a server of your own may need none. In the
environment, commas part the names of report_to.

Sums in another order round otherwise, so the number of threads changes the last bits of a result.
With one thread a fresh clone repeats the committed numbers on a CPU of the same kind.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from westofn.errors import ParameterError

RUNTIME_FILE = Path("runtime.toml")
_LARGEST = 2**31 - 1
STRATEGIES = ("ddp", "fsdp")
"""How several processes share a training; the first is the default."""
EXECUTORS = ("local", "ray")
"""Who computes the shards; the first is the default."""
KEYS = (
    "device",
    "micro_batch",
    "threads",
    "processes",
    "nodes",
    "strategy",
    "rendezvous",
    "launcher",
    "gradient_checkpointing",
    "judge_url",
    "judge_key_variable",
    "judge_workers",
    "judge_timeout",
    "sample_url",
    "sample_key_variable",
    "sample_workers",
    "sample_timeout",
    "vllm_python",
    "vllm_memory",
    "vllm_gpus",
    "executor",
    "ray_address",
    "ray_workers",
    "ray_gpus_per_worker",
    "checkpoint_minutes",
    "report_to",
    "run_name",
)


@dataclass(frozen=True)
class Runtime:
    """See the module; 0 means the default."""

    device: str = ""
    micro_batch: int = 0
    threads: int = 0
    judge_url: str = ""
    judge_key_variable: str = ""
    judge_workers: int = 0
    judge_timeout: int = 0
    gradient_checkpointing: bool = False
    checkpoint_minutes: int = 0
    report_to: tuple[str, ...] = ()
    run_name: str = ""
    processes: int = 0
    nodes: int = 0
    strategy: str = "ddp"
    rendezvous: str = ""
    launcher: str = ""
    sample_url: str = ""
    sample_key_variable: str = ""
    sample_workers: int = 0
    sample_timeout: int = 0
    executor: str = "local"
    ray_address: str = ""
    ray_workers: int = 0
    ray_gpus_per_worker: int = 0
    vllm_python: str = ""
    vllm_memory: int = 0
    vllm_gpus: int = 0


def load_runtime(path: Path = RUNTIME_FILE) -> Runtime:
    """The settings of this machine; the environment wins over the file.

    Raises:
        ParameterError: The file is not TOML, or a key or value is wrong.
    """
    raw: dict[str, object] = {}
    if path.is_file():
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ParameterError(f"{path} cannot be read ({error.strerror}); mend it") from None
        except (ValueError, RecursionError) as error:  # TOML, UTF-8, or a number of 5,000 digits
            raise ParameterError(f"{path} is not valid TOML: {error}") from None
    unknown = sorted(set(raw) - set(KEYS))
    if unknown:
        raise ParameterError(f"{path}: {unknown[0]} is no setting; known: {', '.join(KEYS)}")

    def text(key: str) -> str:
        return _text(key, raw, path)

    def whole(key: str) -> int:
        return _whole(key, os.environ.get(f"WESTOFN_{key.upper()}"), raw, path)

    return Runtime(
        device=text("device"),
        micro_batch=whole("micro_batch"),
        threads=_whole("threads", _threads_of_process(), raw, path),
        judge_url=text("judge_url"),
        judge_key_variable=_variable("judge_key_variable", raw, path),
        judge_workers=whole("judge_workers"),
        judge_timeout=whole("judge_timeout"),
        gradient_checkpointing=_switch("gradient_checkpointing", raw, path),
        checkpoint_minutes=whole("checkpoint_minutes"),
        report_to=_names("report_to", raw, path),
        run_name=text("run_name"),
        processes=whole("processes"),
        nodes=whole("nodes"),
        strategy=_choice("strategy", STRATEGIES, raw, path),
        rendezvous=text("rendezvous"),
        launcher=text("launcher"),
        sample_url=text("sample_url"),
        sample_key_variable=_variable("sample_key_variable", raw, path),
        sample_workers=whole("sample_workers"),
        sample_timeout=whole("sample_timeout"),
        vllm_python=text("vllm_python"),
        vllm_memory=whole("vllm_memory"),
        vllm_gpus=whole("vllm_gpus"),
        executor=_choice("executor", EXECUTORS, raw, path),
        ray_address=text("ray_address"),
        ray_workers=whole("ray_workers"),
        ray_gpus_per_worker=whole("ray_gpus_per_worker"),
    )


def _text(key: str, raw: dict[str, object], path: Path) -> str:
    value = os.environ.get(f"WESTOFN_{key.upper()}") or raw.get(key, "")
    if isinstance(value, str):
        return value
    raise ParameterError(f"{path}: {key} is {value!r}, needs a text in quotes")


def _choice(key: str, names: Sequence[str], raw: dict[str, object], path: Path) -> str:
    """Return one of the names, of which the first is the default."""
    name = _text(key, raw, path) or names[0]
    if name in names:
        return name
    raise ParameterError(
        f"{path} or the environment: {key} is {name!r}, needs {' or '.join(names)}"
    )


def is_variable_name(text: str) -> bool:
    """Whether a text can be the name of an environment variable that holds a key.

    >>> is_variable_name("OPENAI_API_KEY"), is_variable_name("sk-1a2b")
    (True, False)
    """
    return re.fullmatch("[A-Z_][A-Z0-9_]*", text) is not None


def _variable(key: str, raw: dict[str, object], path: Path) -> str:
    name = _text(key, raw, path)
    if name and not is_variable_name(name):  # it may be the key, so it stays hidden
        raise ParameterError(
            f"{path} or the environment: {key} needs the name of an environment variable in "
            "capitals, such as OPENAI_API_KEY, and not the key itself"
        )
    return name


def _names(key: str, raw: dict[str, object], path: Path) -> tuple[str, ...]:
    text = os.environ.get(f"WESTOFN_{key.upper()}")
    value = text.split(",") if text else raw.get(key, [])
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(name.strip() for name in value)
    raise ParameterError(
        f'{path}: {key} is {value!r}, needs a list of names such as ["tensorboard"]'
    )


def _whole(key: str, text: str | None, raw: dict[str, object], path: Path) -> int:
    value = text or raw.get(key, 0)
    if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(_LARGEST)):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    raise ParameterError(
        f"{path} or the environment: {key} is {value!r}, needs a whole number ≥ 0, at most "
        f"{_LARGEST:,}"
    )


def _threads_of_process() -> str | None:
    """Return the first number of OMP_NUM_THREADS, which may be a list for nested regions."""
    text = os.environ.get("OMP_NUM_THREADS")
    return (text.split(",")[0].strip() or text) if text else None


def _switch(key: str, raw: dict[str, object], path: Path) -> bool:
    value = os.environ.get(f"WESTOFN_{key.upper()}") or raw.get(key, False)
    if value in (True, "true", "1"):
        return True
    if value in (False, "false", "0"):
        return False
    raise ParameterError(f"{path} or the environment: {key} is {value!r}, needs true or false")


def set_up_torch(runtime: Runtime | None = None) -> str:
    """Set the number of threads; returns the device's name."""
    runtime = runtime or load_runtime()

    import torch

    device = _device(runtime)
    if threads := runtime.threads or (0 if device.startswith("cuda") else 1):
        torch.set_num_threads(threads)
    return device


def _device(runtime: Runtime) -> str:
    import torch

    has_cuda = torch.cuda.is_available()
    if not runtime.device:
        return "cuda" if has_cuda else "cpu"
    try:
        kind = torch.device(runtime.device).type
    except RuntimeError:
        kind = "unknown"
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not has_cuda):
        here = "cpu or cuda" if has_cuda else "cpu, as torch finds no CUDA device here"
        raise ParameterError(f"device is {runtime.device!r}, needs {here}; see runtime.toml")
    return runtime.device
