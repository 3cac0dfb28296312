"""Frozen features of responses: the inputs of a reward head before training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import score_pools
from westofn.params.network import Readout
from westofn.text.encoding import Encoder


class FeatureReader:
    """Computes the states that a reward head would read, without training.

    Attributes:
        scorer: Pointwise model with the identity as head, so that its outputs are the features.
    """

    def __init__(self, backbone: PreTrainedModel, encoder: Encoder, readout: Readout) -> None:
        model = RewardModel(backbone, "pointwise", 0, readout)
        width = model.network.width
        model.head = torch.nn.Linear(width, width, bias=False, dtype=torch.float32)
        torch.nn.init.eye_(model.head.weight)
        self.scorer = Scorer(model.eval(), encoder)

    @property
    def width(self) -> int:
        """Number of features of a response."""
        return self.scorer.model.head.out_features

    def pools(self, prompts: Sequence[str], pools: Sequence[Sequence[str]]) -> Tensor:
        """Compute the features of P pools of equal size K, (P, K, width) float64 on the CPU."""
        features = score_pools(self.scorer, prompts, pools)
        if not features:
            return torch.zeros(0, 0, self.width, dtype=torch.float64)
        return torch.stack(features).double()
