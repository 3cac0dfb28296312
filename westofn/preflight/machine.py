"""What this machine can do: its device, its memory, bf16.

Estimates of memory are lower bounds, so a size that is refused cannot work; one that is not refused
may still be too large.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from westofn.errors import ParameterError
from westofn.params.network import ModelSize
from westofn.params.whole import Params
from westofn.runtime import Runtime

_ACCELERATORS = tuple(map(Path, ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")))
_CPU = Path("/proc/cpuinfo")
_BF16 = ("amx_bf16", "avx512_bf16", "bf16")  # the last one of ARM
_GIB = 2**30
_LARGEST_GPU = 288 * _GIB
_FLOAT = 4
_TRAINED = 16  # bytes a weight: itself, its gradient and two moments of Adam, in fp32
_ROW = 64  # bytes: less than a row of texts takes
_NARROWEST = 16  # inputs and outputs of a layer, together


def has_accelerator() -> bool:
    """Return whether the system shows a device that torch may reach as cuda."""
    return any(path.exists() for path in _ACCELERATORS)


def require_device(runtime: Runtime) -> None:
    """Refuse a device that torch would refuse.

    Raises:
        ParameterError: The device is neither cpu nor cuda, or cuda where there is none.
    """
    device = runtime.device
    fits = re.fullmatch(r"(cpu|cuda)(:\d+)?", device)
    if not device or (fits and (fits[1] == "cpu" or has_accelerator())):
        return
    here = "cpu or cuda" if has_accelerator() else "cpu, as there is no CUDA device here"
    raise ParameterError(f"device is {device!r}, needs {here}; see runtime.toml")


def slow_precision(params: Params, runtime: Runtime) -> str | None:
    """Return a warning where bf16 is slower than fp32; None where it is not."""
    on_cpu = runtime.device.startswith("cpu") or not has_accelerator()
    if params.sft.precision != "bf16" or not on_cpu or not _CPU.is_file():
        return None
    words = set(_CPU.read_text(encoding="utf-8", errors="replace").split())
    if not words.isdisjoint(_BF16):
        return None
    return (
        "sft.precision is bf16, and this CPU has no bf16 units: training was 5.6 times slower than "
        "in fp32 on such a CPU; set it to fp32, or use a GPU"
    )


def memory() -> int:
    """Return the bytes of memory of this machine, at most: RAM, and the largest GPUs there are."""
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*"))) or int(has_accelerator())
    return ram + gpus * _LARGEST_GPU


def require_memory(params: Params, runtime: Runtime, available: int) -> None:
    """Refuse sizes that cannot fit into memory, by lower bounds.

    Args:
        params: All parameters.
        runtime: Hardware settings.
        available: Bytes of memory.

    Raises:
        ParameterError: A size needs more memory than there is.
    """
    for keys, needed in _needs(params, runtime):
        if needed > available:
            raise ParameterError(
                f"{keys}: needs at least {needed / _GIB:,.0f} GiB of memory, this machine has "
                f"{available / _GIB:,.0f}; make it smaller"
            )


def _needs(params: Params, runtime: Runtime) -> Iterator[tuple[str, int]]:
    """Yield parameters and the bytes that their sizes need at least."""
    sft, start = params.sft, params.reward_start
    if params.prepare.source == "world":
        for name in (
            "sft_examples",
            "train_pairs",
            "validation_pairs",
            "test_pairs",
            "test_prompts",
            "extra_prompts",
        ):
            count = getattr(params.prepare.world, name)
            yield f"prepare.world.{name} is {count:,}", count * _ROW
    if sft.model == "scratch":
        yield _scratch("sft.scratch", sft.scratch)
        wide = sft.scratch.model_copy(update={"width": params.study.wide})
        yield _scratch(f"study.wide is {params.study.wide:,} and sft.scratch", wide)
    if start.model == "scratch":
        yield _scratch("reward_start.scratch", start.scratch)
    width = sft.scratch.width if sft.model == "scratch" else 1
    for section in ("sft", "base_rm", "student_rm", "rlhf"):
        recipe = getattr(params, section)
        rows = recipe.batch_size
        passes = min(rows, runtime.micro_batch or rows)
        yield f"{section}.batch_size is {rows:,}", rows * _ROW + passes * width * _FLOAT
        rank = recipe.lora.rank
        yield f"{section}.lora.rank is {rank:,}", rank * _NARROWEST * _TRAINED
    planes = params.base_rm.planes
    yield f"base_rm.planes is {planes:,}", (1 + 2 * planes) * width * _TRAINED
    count = params.sample.n_candidates
    yield f"sample.n_candidates is {count:,}", count * _ROW
    if params.won_select.method == "exact":
        members = params.base_rm.members
        yield (
            f"sample.n_candidates is {count:,} with won_select.method exact and base_rm.members "
            f"{members:,}",
            count**2 * members * _FLOAT,
        )
    study = params.study
    yield (
        f"study.deep_candidates is {study.deep_candidates:,} for {study.deep_prompts:,} "
        "study.deep_prompts",
        study.deep_candidates * _ROW,
    )


def _scratch(where: str, size: ModelSize) -> tuple[str, int]:
    """Return a model from random weights and the bytes that its training needs at least."""
    weights = size.layers * size.width * (4 * size.width + 2 * size.feed_forward)
    return (
        f"{where}: width {size.width:,}, layers {size.layers:,}, feed_forward "
        f"{size.feed_forward:,}",
        weights * _TRAINED,
    )
