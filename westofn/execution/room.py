"""Memory that one row's attention needs, and memory that is free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from westofn.networks.network import AnyNetwork

_HEADS = ("num_heads", "num_attention_heads", "n_head", "n_heads")
_FLOAT = 4
_MEMINFO = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def attention_bytes(network: AnyNetwork, tokens: int) -> int:
    """Return the least memory that the attention of one row takes.

    An encoder-decoder keeps a weight for each head and pair of tokens; other families keep a mask
    of one byte for each pair.

    Args:
        network: The model.
        tokens: Tokens of the row.
    """
    config: Any = network.model.config
    if network.family != "encoder_decoder":
        return tokens**2
    return tokens**2 * _FLOAT * next(int(config.to_dict()[n]) for n in _HEADS if hasattr(config, n))


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if not _MEMINFO.is_file():
        return None
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text("utf-8").splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    try:  # a container may have less than its machine
        return min(free, int(_LIMIT.read_text("utf-8")) - int(_USED.read_text("utf-8")))
    except (OSError, ValueError):  # no limit is the word `max`
        return free
