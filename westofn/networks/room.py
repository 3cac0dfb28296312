"""Memory that one row's attention needs, that is free, and that a pass may take."""

from __future__ import annotations

from pathlib import Path

import torch

from westofn.networks.network import AnyNetwork

PASS_BYTES = 2**30
"""Memory that a forward pass over responses may take beyond the weights; more saves no time."""
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
    return tokens**2 * (_FLOAT * network.heads if network.family == "encoder_decoder" else 1)


def pass_bytes(device: torch.device) -> int:
    """Return the memory that a pass may take: PASS_BYTES, or half of what is free if it is less."""
    free = free_bytes(device)
    return PASS_BYTES if free is None else min(PASS_BYTES, free // 2)


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device; None where the system does not tell."""
    if device.type == "cuda":  # what torch keeps for later tensors is free, too
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    if not _MEMINFO.is_file():
        return None
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text("utf-8").splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    try:  # a container may have less than its machine
        return min(free, int(_LIMIT.read_text("utf-8")) - int(_USED.read_text("utf-8")))
    except (OSError, ValueError):  # no limit is the word `max`
        return free
