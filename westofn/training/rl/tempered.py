"""π_T, the policy at a temperature: what responses are drawn from, and what RL optimises.

`sample` draws from softmax(logits / T) over the tokens that a text can hold, at most
`max_response_tokens` times. The ratio, the KL penalty and the reference use exactly these
probabilities, so that the gradient belongs to the policy that acted. A response is scored with its
end token whether it was drawn or not, so an end token after the last allowed token is no action.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from westofn.core.logprobs import chosen_logprobs
from westofn.generation.hf import Samples, never_drawn
from westofn.models.policy import Policy
from westofn.text.encoding import Padded

_IMPOSSIBLE = -1e9  # a logit; finite, so that p log p is 0 and not NaN


class TemperedPolicy(nn.Module):
    """A policy's weights with π_T's log-probabilities as `forward`."""

    def __init__(self, policy: Policy, temperature: float) -> None:
        super().__init__()
        self.model = policy.model
        self.policy, self.temperature = policy, temperature
        self._never = torch.tensor(never_drawn(policy), dtype=torch.long)

    def forward(self, prompts: Padded, actions: Padded) -> Tensor:
        """The log-probability under π_T of every action.

        Args:
            prompts: (P, S).
            actions: (P, K, T), the drawn tokens, see `action_counts`.

        Returns:
            (P, K, T) fp32 nats, 0 at padding.
        """
        # Padding is no possible action; any possible one may stand in for it.
        ids = actions.ids.masked_fill(~actions.mask, self.policy.encoder.eos_id)
        chosen = chosen_logprobs(self._logits(prompts, ids), ids)
        return chosen.masked_fill(~actions.mask, 0.0)

    def log_distribution(self, prompts: Padded, actions: Padded) -> Tensor:
        """The log-probability of every token at every position, (P, K, T, vocabulary)."""
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
    """Actions of each response, (P, K): its tokens, but not an end token after `limit` others."""
    return samples.n_tokens.clamp_max(limit)
