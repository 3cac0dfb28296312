"""Networks that RL trains: the policy, and a separate value network for PPO."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from westofn.errors import TrainingError
from westofn.models.policy import Policy
from westofn.models.reward import NO_SPREAD, Scorer
from westofn.networks.adapters import adapted_copy, learned_weights
from westofn.networks.families import generator_of
from westofn.networks.network import Generator
from westofn.networks.precision import computing, precision_of
from westofn.networks.recompute import silence_dropout, start_recomputing
from westofn.networks.sharding import load_optimiser, load_whole, shard, whole
from westofn.params.lora import AdapterParams
from westofn.params.rlhf import RlhfParams
from westofn.text.encoding import Encoder, Padded
from westofn.text.model_files import encoder_cannot_value
from westofn.training.rl.processes import Accelerator
from westofn.training.value_start import require_same_tokens


class ValueNetwork(nn.Module):
    """Value function V(x, y_<t), the expected standardised reward: a head on the decoder's state.

    It is initialised with a copy of the reward model, which already predicts the reward of complete
    responses (Stiennon et al. 2020, arXiv 2009.01325, section 3.4). It shares no weights with the
    policy.
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
        """Compute V of the state before every action.

        Args:
            prompts: (P, S), token ids and mask.
            actions: (P, K, T), token ids and mask.

        Returns:
            (P, K, T) fp32, values; undefined at padding.
        """
        network = generator_of(self.backbone)
        with computing(self.backbone, self.mixed):
            states = network.prompt_states(prompts.ids, prompts.mask)
            hidden: Tensor = network.hidden(states, actions.ids[..., :-1])
        hidden = hidden.float()
        if self.readout == "mean":
            hidden = _running_mean(hidden)
        values: Tensor = self.head(hidden).squeeze(-1)
        return values


def _running_mean(hidden: Tensor) -> Tensor:
    """Return at position t > 0 the mean of states 1 … t, as in the read-out `mean` of y_1 … y_t."""
    response_states = hidden[:, :, 1:]
    count = torch.arange(1, response_states.shape[2] + 1, device=hidden.device).view(1, 1, -1, 1)
    return torch.cat([hidden[:, :, :1], response_states.cumsum(2) / count], dim=2)


def require_learnable(policy: Policy, scorer: Scorer, params: RlhfParams) -> None:
    """Refuse a policy and a reward model that RL cannot use together.

    Raises:
        ModelError: The reward model is not pointwise; or, for ppo, it is encoder-only or has
            another vocabulary.
        TrainingError: The reward model gives all training responses the same reward.
    """
    scorer.require_pointwise("rlhf")
    if scorer.reward_std <= NO_SPREAD:
        raise TrainingError(
            "rlhf: the reward model gives all its training pairs the same reward, so there is "
            "nothing to learn from; raise reward.steps or reward.learning_rate"
        )
    if params.algorithm == "ppo":
        _require_same_tokens(policy.encoder, scorer)


def _require_same_tokens(encoder: Encoder, scorer: Scorer) -> None:
    """Refuse a reward model that cannot initialise a value network over the policy's tokens."""
    if not isinstance(scorer.model.network, Generator):
        raise encoder_cannot_value(scorer.model.backbone.config.model_type)
    require_same_tokens(encoder.template.vocabulary, scorer.encoder.template.vocabulary)


class Learner:
    """A network with AdamW, linear warm-up and a constant learning rate; dropout is off.

    Attributes:
        network: The network, with whole weights; responses are sampled from it.
        module: What is trained: the network, wrapped by accelerate for several processes, or a
            sharded copy, whose weights `refresh` copies to the network.
        recomputes: Whether gradient checkpointing is used.
        gradient_norm: Norm of the last step's gradient before clipping.
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
        sharded: bool = False,
    ) -> None:
        self.name, self.network, self.accelerator = name, network, accelerator
        self.params, self.warmup_steps = params, warmup_steps
        self.gradient_norm = 0.0
        network.eval()
        self.recomputes = recompute is not None
        if recompute is not None:
            silence_dropout(network)
            start_recomputing(recompute)
        self.sharded: Any = shard(copy.deepcopy(network), accelerator.device) if sharded else None
        trained = self.sharded or network
        self.weights = list(learned_weights(trained).values())
        # No weight decay: it pulls towards zero and not towards the start policy.
        optimiser = torch.optim.AdamW(
            self.weights,
            params.learning_rate,
            (params.adam_beta1, params.adam_beta2),
            params.adam_epsilon,
            weight_decay=0.0,
        )
        if self.sharded is None:
            self.module, self.optimiser = accelerator.prepare(network, optimiser)
        else:
            self.module, self.optimiser = self.sharded, optimiser
            network.to(accelerator.device)

    @torch.no_grad()
    def refresh(self) -> None:
        """Give the network the weights of its sharded copy."""
        if self.sharded is not None:
            for name, weight in learned_weights(self.sharded).items():
                self.network.get_parameter(name).copy_(whole(weight))

    def state(self) -> dict[str, Any]:
        """Return the optimiser's whole state; all processes call it together."""
        state: dict[str, Any] = whole(self.optimiser.state_dict(), self.accelerator.is_main_process)
        return state

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], state: dict[str, Any]) -> None:
        """Take learned weights and the optimiser's state from a checkpoint."""
        for name, weight in learned_weights(self.network).items():
            weight.copy_(weights[name])
        if self.sharded is None:
            self.optimiser.load_state_dict(state)
        else:
            load_whole(self.sharded, weights)
            load_optimiser(self.optimiser, state)

    def warm_up(self, step: int) -> None:
        """Set the learning rate for the network's batch number `step`, from 0."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step)

    def rate(self, step: int) -> float:
        """Learning rate for batch number `step` of the network, from 0."""
        return self.params.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))

    def descend(self, parts: Sequence[Callable[[], Tensor]], step: int) -> list[float]:
        """Take one optimiser step on the sum of the losses of parts of a minibatch.

        Args:
            parts: Functions that return (1 + W,): a loss and W diagnostics, weighted so that the
                sum over parts, averaged over processes, is the value for the minibatch.
            step: Number of the step in error messages.

        Returns:
            Loss and diagnostics of the minibatch.

        Raises:
            TrainingError: The loss or its gradient is not finite; the weights are unchanged.
        """
        total = torch.zeros((), device=self.accelerator.device)
        self.module.train(self.recomputes)  # recomputation needs training mode; dropout is 0
        for index, part in enumerate(parts):
            # Sharded gradients are reduced part by part, since whole ones would take more memory.
            reduces = index == len(parts) - 1 or self.sharded is not None
            with nullcontext() if reduces else self.accelerator.no_sync(self.module):
                values = part()
                self.accelerator.backward(values[0])
            total = total + values.detach()
        self.module.eval()
        means: list[float] = self.accelerator.reduce(total, "mean").tolist()
        require_finite(f"{self.name} loss", means[0], step)
        norm = self.accelerator.clip_grad_norm_(self.weights, self.params.max_gradient_norm)
        self.gradient_norm = float(whole(norm))
        require_finite(f"gradient norm of the {self.name} loss", self.gradient_norm, step)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return means


def require_finite(quantity: str, value: float, step: int) -> None:
    """Raise an error if a value is NaN or infinite."""
    if math.isfinite(value):
        return
    mend = "lower rlhf.learning_rate or raise rlhf.kl_weight in params.yaml"
    if step == 0:
        mend += "; at step 0, retrain the models in which rlhf starts instead"
    raise TrainingError(f"rlhf: the {quantity} is {value} at step {step}; {mend}")
