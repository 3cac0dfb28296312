"""Losses, selectors and vocabularies that parameters name; what only torch can tell comes last."""

from __future__ import annotations

from pathlib import Path

from westofn.params.reward_start import OF_PIPELINE
from westofn.params.whole import Params

PLAIN_LOSSES = ("bradley_terry", "soft", "conservative")
"""Losses of the project that every learner can use; a test compares them with `LOSSES`."""
PLAIN_SELECTORS = (
    "west",
    "best_random",
    "random_pair",
    "best_below",
    "best_median",
    "quartiles",
)
"""Selectors of the project; a test compares them with `SELECTORS`."""


def require_entries(params: Params) -> None:
    """Refuse names that no table and no plug-in has, and models that ppo cannot start from.

    Raises:
        ParameterError: A loss or selector is not there, or does not fit the learner.
        ModelError: The value network cannot start from the reward model.
    """
    losses = {params.base_rm.loss, params.student_rm.loss}
    if not losses <= set(PLAIN_LOSSES):
        from westofn.training.losses import require_losses  # it imports torch

        require_losses(params.base_rm, params.student_rm)
    if params.won_select.selector not in PLAIN_SELECTORS:
        from westofn.pairing.selectors import selector_of  # it imports torch

        selector_of(params.won_select.selector)
    start, policy = params.reward_start.model, params.sft.model
    reads_otherwise = start not in OF_PIPELINE and not _same_tokenizer(start, policy)
    if reads_otherwise and params.rlhf.algorithm == "ppo":
        from westofn.training.value_start import require_value_start  # it imports torch

        require_value_start(start, policy)


def _same_tokenizer(start: str, policy: str) -> bool:
    """Return whether two folders have the same tokenizer.json, byte for byte."""
    files = [Path(name) / "tokenizer.json" for name in (start, policy)]
    if not all(file.is_file() for file in files):
        return False
    return files[0].read_bytes() == files[1].read_bytes()
