"""Frozen features of responses: the inputs of a reward head before training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import TextPools, score_pools
from westofn.params.comparator import ComparatorName
from westofn.params.network import Readout
from westofn.text.encoding import Encoder


class FeatureReader:
    """Computes the states that a reward head would read, without training.

    Attributes:
        scorer: Model with the identity as head, so that its outputs are the features.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        encoder: Encoder,
        readout: Readout,
        comparator: ComparatorName = "pointwise",
    ) -> None:
        model = RewardModel(backbone, comparator, 0, readout)
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

    def pairs(
        self, prompts: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]
    ) -> Tensor:
        """Compute two rows of features for each pair, (P, 2, width) float64 on the CPU.

        The margin of a linear head w is w · (first - second). The rows are those of the responses;
        of the joint comparator they are half of those of both orders.
        """
        both = [list(pair) for pair in zip(chosen, rejected, strict=True)]
        if not both or not self.scorer.comparator.reads_pairs:
            return self.pools(prompts, both)
        rows = torch.arange(len(both))
        texts = TextPools(self.scorer, prompts, both)
        orders = texts.both_orders(rows, torch.zeros_like(rows), torch.ones_like(rows))
        return orders.double() / 2
