"""Log-probabilities of given tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CACHED_LOGIT_BYTES = 2**21
"""Size of the logits that exist at a time on a CPU: more would leave its cache."""
LEAST_ROWS = 256
"""Rows that exist at a time on a CPU nevertheless: fewer would read the weights too often."""
LOGIT_BYTES = 2**24
"""Size that LEAST_ROWS may have."""
DEVICE_LOGIT_BYTES = 2**26
"""Size of the logits that exist at a time on an accelerator."""
TRAINED_LOGIT_BYTES = 2**26
"""The same in training, where logits of one part are kept and those of several computed again."""
FLOAT_BYTES = 4


def chosen_logprobs(logits: Tensor, ids: Tensor) -> Tensor:
    """Log softmax of logits (…, T, V) at token ids (…, T); does not store all log-probabilities."""
    picked = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    result: Tensor = picked - logits.logsumexp(-1)
    return result


def rows_at_once(vocabulary: int, device: torch.device) -> int:
    """Return how many rows of logits to compute at a time, without gradient.

    Args:
        vocabulary: Number V of logits in a row.
        device: Where they are computed.
    """
    row = FLOAT_BYTES * vocabulary
    if device.type != "cpu":
        return max(1, DEVICE_LOGIT_BYTES // row)
    return max(1, CACHED_LOGIT_BYTES // row, min(LEAST_ROWS, LOGIT_BYTES // row))


def target_logprobs(
    logits_of: Callable[[Tensor], Tensor],
    vocabulary: int,
    hidden: Tensor,
    ids: Tensor,
    mask: Tensor,
) -> Tensor:
    """Log softmax at token ids, from states; logits exist for a part of the tokens at a time.

    Padding has no logits. With gradient, the logits of several parts are not kept for the backward
    pass, which computes them again.

    Args:
        logits_of: Computes logits (rows, V) of states (rows, d).
        vocabulary: Number V of logits.
        hidden: (…, T, d), states; the one at t predicts token t.
        ids: (…, T), token ids.
        mask: (…, T) bool, True at real tokens.

    Returns:
        (…, T) fp32; 0 at padding.
    """
    states, targets = hidden[mask], ids[mask]

    def of_part(states: Tensor, targets: Tensor) -> Tensor:
        return chosen_logprobs(logits_of(states).float(), targets)

    result = torch.zeros(mask.shape, device=hidden.device)
    if torch.is_grad_enabled():
        size = max(1, TRAINED_LOGIT_BYTES // (FLOAT_BYTES * vocabulary))
        parts = list(zip(torch.split(states, size), torch.split(targets, size), strict=True))
        if len(parts) > 1:
            chosen = [checkpoint(of_part, *part, use_reentrant=False) for part in parts]
        else:
            chosen = [of_part(*part) for part in parts]
        result[mask] = torch.cat(chosen)
        return result
    # Small results that live between large logits would keep the allocator from reusing memory.
    size = rows_at_once(vocabulary, hidden.device)
    flat = torch.empty(len(targets), device=hidden.device)
    for start in range(0, len(targets), size):
        part = slice(start, start + size)
        flat[part] = of_part(states[part], targets[part])
    result[mask] = flat
    return result
