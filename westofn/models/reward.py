"""Reward and preference models: a backbone that reads (prompt, response), and a small fp32 head.

The head reads the mean of the backbone's states over the response (`mean`) or its state at the
response's end token (`last`), found by the mask and never by a token id. An encoder-only model has
its own classifier's input for `last`, see `encoder_only`.

How wide the head is, and what margin its outputs give, says the model's comparator
(`westofn/core/comparators.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from westofn.core.comparators import COMPARATORS, Comparator
from westofn.errors import ModelError
from westofn.networks.families import network_of
from westofn.networks.network import AnyNetwork, States
from westofn.networks.precision import computing, rounded
from westofn.params.comparator import ComparatorName
from westofn.params.network import Precision, Readout
from westofn.text.encoding import Encoder, Padded

NO_SPREAD = 1e-6  # reward_std of a model that gives every response the same reward
PLANES_START = 0.1  # of the usual standard deviation, 1 / sqrt(width + 1)


class RewardModel(nn.Module):
    """A backbone and a head; `features` gives the head's outputs of rows."""

    def __init__(
        self,
        backbone: PreTrainedModel,
        comparator: ComparatorName,
        planes: int,
        readout: Readout = "mean",
        dropout: float = 0.0,
        mixed: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.mixed = mixed  # in training, to be bf16: products of fp32 weights are taken in bf16
        self.comparator = COMPARATORS[comparator]
        self.readout: Readout = readout
        self.network.freeze_unread(readout)
        width = self.network.width
        outputs = self.comparator.head_width(planes)
        self.head = nn.Linear(width, outputs, bias=False, dtype=torch.float32)
        # Of the read-out alone: dropout in every layer costs more than half a step again.
        self.dropout = nn.Dropout(dropout)
        # A random preference would have to be unlearned first. The planes start small and not at
        # zero: a product of two zeros has no gradient.
        nn.init.normal_(self.head.weight, std=PLANES_START * (width + 1) ** -0.5)
        nn.init.zeros_(self.head.weight[0])

    @property
    def planes(self) -> int:
        """L of the head's 1 + 2 L outputs."""
        return self.head.out_features // 2

    @property
    def network(self) -> AnyNetwork:
        """The network that reads prompts and responses with the backbone's weights."""
        return network_of(self.backbone)

    def prompt_states(self, prompts: Padded) -> States:
        """Encode P prompts once, for any number of responses."""
        with computing(self.backbone, self.mixed):
            states: States = self.network.prompt_states(prompts.ids, prompts.mask)
        return states

    def features(self, states: States, responses: Padded) -> Tensor:
        """The head's outputs.

        Args:
            states: The states of P prompts.
            responses: (P, K, T) ids that end with the end token, right-padded, and their mask.

        Returns:
            (P, K, 1 + 2·planes) fp32: the reward, then u_1 … u_L, w_1 … w_L.
        """
        with computing(self.backbone, self.mixed):
            read = self.network.read_out(states, responses, self.readout)
        features: Tensor = self.head(self.dropout(read.float()))
        return features

    def finish(self, precision: Precision) -> None:
        """End training: the backbone computes as it is saved from now on, the head stays fp32."""
        rounded(self.backbone, precision)
        self.mixed = False

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiply every margin by a positive factor."""
        self.head.weight[0] *= factor
        self.head.weight[1:] *= factor**0.5  # planes are multiplied by each other

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.head.weight.device


@dataclass(frozen=True)
class Scorer:
    """A reward model ready for use: model, encoder, and what its card says.

    Attributes:
        model: In evaluation mode.
        encoder: The encoder it was trained with.
        reward_mean: The mean of a pointwise model's rewards over its human training pairs.
        reward_std: Their standard deviation; RL divides by it.
    """

    model: RewardModel
    encoder: Encoder
    reward_mean: float = 0.0
    reward_std: float = 1.0

    @property
    def comparator(self) -> Comparator:
        """How the model compares two responses."""
        return self.model.comparator

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer."""
        return self.encoder.tokenizer

    def require_pointwise(self, purpose: str) -> None:
        """Refuse a pairwise model where a reward for one response is needed."""
        if not self.comparator.gives_rewards:
            raise ModelError(
                f"{purpose} needs a pointwise reward model, this one is {self.comparator.name}"
            )


def with_reward_statistics(scorer: Scorer, rewards: Tensor) -> Scorer:
    """The same model with the mean and standard deviation of these rewards in its card."""
    if not scorer.comparator.gives_rewards:
        return scorer
    std = float(rewards.std().clamp_min(NO_SPREAD))
    return replace(scorer, reward_mean=float(rewards.mean()), reward_std=std)
