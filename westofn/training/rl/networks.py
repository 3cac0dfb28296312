"""What RL trains: the policy, and for PPO a value network of its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from westofn.errors import TrainingError
from westofn.models.policy import Policy
from westofn.models.reward import NO_SPREAD, Scorer
from westofn.networks.adapters import adapted_copy
from westofn.networks.families import generator_of
from westofn.networks.network import Generator
from westofn.networks.precision import computing, precision_of
from westofn.networks.recompute import silence_dropout, start_recomputing
from westofn.params.lora import AdapterParams
from westofn.params.rlhf import RlhfParams
from westofn.text.encoding import Encoder, Padded
from westofn.training.rl.processes import Accelerator
from westofn.training.value_start import encoder_only, require_same_tokens


class ValueNetwork(nn.Module):
    """V(x, y_<t), the standardised reward to be expected, by a head on the decoder's state.

    A copy of the reward model, which already answers at a response's end, and needs to learn only
    to look ahead (Stiennon et al. 2020, arXiv 2009.01325, section 3.4). Its weights are its own, so
    that learning V leaves the policy alone.
    """

    def __init__(self, scorer: Scorer, lora: AdapterParams | None = None) -> None:
        super().__init__()
        backbone = scorer.model.backbone
        self.mixed = precision_of(backbone) == "bf16"
        if lora is None or not lora.rank:
            self.backbone = copy.deepcopy(backbone).float()
        else:
            self.backbone = adapted_copy(backbone, lora, "rlhf: lora")
        self.readout = scorer.model.readout
        weight = scorer.model.head.weight
        self.head = nn.Linear(weight.shape[1], 1, dtype=torch.float32, device=weight.device)
        with torch.no_grad():
            self.head.weight.copy_(weight / scorer.reward_std)
            self.head.bias.fill_(-scorer.reward_mean / scorer.reward_std)

    def forward(self, prompts: Padded, actions: Padded) -> Tensor:
        """V of the state before every action.

        Args:
            prompts: (P, S).
            actions: (P, K, T).

        Returns:
            (P, K, T) fp32; meaningless at padding.
        """
        network = generator_of(self.backbone)
        with computing(self.head.weight.device, self.mixed):
            states = network.prompt_states(prompts.ids, prompts.mask)
            hidden: Tensor = network.hidden(states, actions.ids[..., :-1])
        hidden = hidden.float()
        if self.readout == "mean":
            hidden = _running_mean(hidden)
        values: Tensor = self.head(hidden).squeeze(-1)
        return values


def _running_mean(hidden: Tensor) -> Tensor:
    """Position t gets the mean of states 1 … t, as the reward model reads y_1 … y_t; 0 its own."""
    read = hidden[:, :, 1:]
    count = torch.arange(1, read.shape[2] + 1, device=hidden.device).view(1, 1, -1, 1)
    return torch.cat([hidden[:, :, :1], read.cumsum(2) / count], dim=2)


def require_learnable(policy: Policy, scorer: Scorer, params: RlhfParams) -> None:
    """Refuse models that cannot be trained with each other.

    Raises:
        ModelError: The reward model is not pointwise; or, for ppo, encoder-only or of other tokens.
        TrainingError: The reward model gives every response the same reward.
    """
    scorer.require_pointwise("rlhf")
    if scorer.reward_std <= NO_SPREAD:
        raise TrainingError(
            "rlhf: the reward model gives all its training pairs one reward, so there is "
            "nothing to learn from; raise reward.steps or reward.learning_rate"
        )
    if params.algorithm == "ppo":
        _require_same_tokens(policy.encoder, scorer)


def _require_same_tokens(encoder: Encoder, scorer: Scorer) -> None:
    """The value network reads the policy's tokens one by one with the reward model's weights."""
    if not isinstance(scorer.model.network, Generator):
        raise encoder_only(scorer.model.backbone.config.model_type)
    require_same_tokens(encoder.template.vocabulary, scorer.encoder.template.vocabulary)


class Learner:
    """A network with AdamW, linear warm-up, then a constant learning rate; dropout stays off.

    Attributes:
        network: The bare module.
        module: The same, as accelerate wraps it for several processes.
        recomputes: Whether blocks are computed again in the backward pass.
        gradient_norm: Of the last step, before clipping.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        accelerator: Accelerator,
        *,
        params: RlhfParams,
        warmup_steps: int,
        recompute: PreTrainedModel | None = None,
    ) -> None:
        self.name, self.network, self.accelerator = name, network, accelerator
        self.params, self.warmup_steps = params, warmup_steps
        self.gradient_norm = 0.0
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        # Several steps on one small batch: no weight decay, which would pull towards zero and not
        # towards the start policy.
        optimiser = torch.optim.AdamW(
            self.weights,
            params.learning_rate,
            (params.adam_beta1, params.adam_beta2),
            params.adam_epsilon,
            weight_decay=0.0,
        )
        network.eval()
        self.recomputes = recompute is not None
        if recompute is not None:
            silence_dropout(network)
            start_recomputing(recompute)
        self.module, self.optimiser = accelerator.prepare(network, optimiser)

    def warm_up(self, step: int) -> None:
        """Set the learning rate of this network's `step`-th batch, counted from 0."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step)

    def rate(self, step: int) -> float:
        """The learning rate of this network's `step`-th batch, counted from 0."""
        return self.params.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))

    def descend(self, parts: Sequence[Callable[[], Tensor]], step: int) -> list[float]:
        """One optimiser step on the sum of the losses of parts of a minibatch.

        Args:
            parts: Each makes (1 + W,): a loss, then what to watch beside it, weighted such that the
                sum over parts, averaged over processes, is the minibatch's.
            step: Named in errors.

        Returns:
            The minibatch's loss and what was watched.

        Raises:
            TrainingError: The loss or its gradient is not finite; the weights are as they were.
        """
        total = torch.zeros((), device=self.accelerator.device)
        self.module.train(self.recomputes)  # blocks ask for it; dropout is silent
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                values = part()
                self.accelerator.backward(values[0])
            total = total + values.detach()
        self.module.eval()
        whole: list[float] = self.accelerator.reduce(total, "mean").tolist()
        require_finite(f"{self.name} loss", whole[0], step)
        norm = self.accelerator.clip_grad_norm_(self.weights, self.params.max_gradient_norm)
        self.gradient_norm = float(norm)
        require_finite(f"gradient norm of the {self.name} loss", self.gradient_norm, step)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return whole


def require_finite(quantity: str, value: float, step: int) -> None:
    """Refuse to go on from NaN or infinity."""
    if math.isfinite(value):
        return
    mend = "lower rlhf.learning_rate or raise rlhf.kl_weight in params.yaml"
    if step == 0:
        mend += "; since nothing was learned yet, rather retrain the models that rlhf starts from"
    raise TrainingError(f"rlhf: the {quantity} is {value} at step {step}; {mend}")
