"""Log-probabilities of given tokens."""

from __future__ import annotations

from torch import Tensor


def chosen_logprobs(logits: Tensor, ids: Tensor) -> Tensor:
    """Log softmax of logits (…, T, V) at token ids (…, T); does not store all log-probabilities."""
    picked = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    result: Tensor = picked - logits.logsumexp(-1)
    return result
