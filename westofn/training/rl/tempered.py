"""π_T, the policy at temperature T, from which responses are sampled and which RL optimises.

`sample` draws from softmax(logits / T) over the allowed tokens, at most `max_response_tokens`
times. The ratio, the KL penalty and the reference use the same probabilities, so that the gradient
is that of the sampling policy. The reward model reads every response with an end token, drawn or
not, so an end token after the last allowed token is not an action.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from westofn.core.logprobs import chosen_logprobs
from westofn.generation.hf import Samples, never_drawn
from westofn.models.policy import Policy
from westofn.text.encoding import Padded

_IMPOSSIBLE = -1e9  # logit of forbidden tokens; finite, so that p log p is 0 and not NaN


class TemperedPolicy(nn.Module):
    """A policy whose `forward` computes log-probabilities under π_T."""

    def __init__(self, policy: Policy, temperature: float) -> None:
        super().__init__()
        self.model = policy.model
        self.policy, self.temperature = policy, temperature
        self._never = torch.tensor(never_drawn(policy), dtype=torch.long)

    def forward(self, prompts: Padded, actions: Padded) -> Tensor:
        """Compute the log-probability of every action under π_T.

        Args:
            prompts: (P, S), token ids and mask.
            actions: (P, K, T), sampled tokens and mask, see `action_counts`.

        Returns:
            (P, K, T) fp32, nats; 0 at padding.
        """
        # Padding is a forbidden token, so any allowed token replaces it.
        ids = actions.ids.masked_fill(~actions.mask, self.policy.encoder.eos_id)
        chosen = chosen_logprobs(self._logits(prompts, ids), ids)
        return chosen.masked_fill(~actions.mask, 0.0)

    def log_distribution(self, prompts: Padded, actions: Padded) -> Tensor:
        """Compute the log-probability of every token at every position, (P, K, T, vocabulary)."""
        return self._logits(prompts, actions.ids).log_softmax(-1)

    def _logits(self, prompts: Padded, ids: Tensor) -> Tensor:
        network = self.policy.network
        with self.policy.computing():
            states = network.prompt_states(prompts.ids, prompts.mask)
            logits = network.logits(network.hidden(states, ids[..., :-1]))
        logits = logits.float()
        never = self._never.to(logits.device)
        return (logits / self.temperature).index_fill(-1, never, _IMPOSSIBLE)


def action_counts(samples: Samples, limit: int) -> Tensor:
    """Return the number of actions of each response, (P, K): its tokens, at most `limit`."""
    return samples.n_tokens.clamp_max(limit)
