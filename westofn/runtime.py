"""Hardware settings: where to run and how much at once. They never change a result's meaning.

They come from the environment or from `runtime.toml` (git-ignored), never from params.yaml, so
that moving to another machine does not invalidate a cache:

| runtime.toml | environment | meaning | default |
|---|---|---|---|
| device | WESTOFN_DEVICE | torch device | cuda where there is one, else cpu |
| micro_batch | WESTOFN_MICRO_BATCH | rows in one training forward pass | the whole batch |
| gradient_checkpointing | WESTOFN_GRADIENT_CHECKPOINTING | compute activations again | false |
| threads | OMP_NUM_THREADS | CPU threads | 1 on a CPU, else physical cores |
| judge_url | WESTOFN_JUDGE_URL | address of a judge's OpenAI-compatible server | none |
| judge_key_variable | WESTOFN_JUDGE_KEY_VARIABLE | variable that holds its key | OPENAI_API_KEY |
| judge_workers | WESTOFN_JUDGE_WORKERS | requests to it at once | 8 |
| judge_timeout | WESTOFN_JUDGE_TIMEOUT | seconds that one request may take | 60 |
| report_to | WESTOFN_REPORT_TO | see docs/training.md, such as ["tensorboard"] | none |
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
from dataclasses import dataclass
from pathlib import Path

from westofn.errors import ParameterError

RUNTIME_FILE = Path("runtime.toml")
_LARGEST = 2**31 - 1
KEYS = (
    "device",
    "micro_batch",
    "threads",
    "gradient_checkpointing",
    "judge_url",
    "judge_key_variable",
    "judge_workers",
    "judge_timeout",
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
    return Runtime(
        device=_text("device", raw, path),
        micro_batch=_whole("micro_batch", os.environ.get("WESTOFN_MICRO_BATCH"), raw, path),
        threads=_whole("threads", _threads_of_process(), raw, path),
        judge_url=_text("judge_url", raw, path),
        judge_key_variable=_variable("judge_key_variable", raw, path),
        judge_workers=_whole("judge_workers", os.environ.get("WESTOFN_JUDGE_WORKERS"), raw, path),
        judge_timeout=_whole("judge_timeout", os.environ.get("WESTOFN_JUDGE_TIMEOUT"), raw, path),
        checkpoint_minutes=_whole(
            "checkpoint_minutes", os.environ.get("WESTOFN_CHECKPOINT_MINUTES"), raw, path
        ),
        gradient_checkpointing=_switch("gradient_checkpointing", raw, path),
        report_to=_names("report_to", raw, path),
        run_name=_text("run_name", raw, path),
    )


def _text(key: str, raw: dict[str, object], path: Path) -> str:
    value = os.environ.get(f"WESTOFN_{key.upper()}") or raw.get(key, "")
    if isinstance(value, str):
        return value
    raise ParameterError(f"{path}: {key} is {value!r}, needs a text in quotes")


def _variable(key: str, raw: dict[str, object], path: Path) -> str:
    name = _text(key, raw, path)
    if name and not re.fullmatch("[A-Z_][A-Z0-9_]*", name):  # it may be the key, so it stays hidden
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
