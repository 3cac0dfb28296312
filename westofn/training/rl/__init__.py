"""Reinforcement learning of a policy against a reward model: PPO and RLOO.

| module | holds |
|---|---|
| tempered | the policy at a temperature, which is sampled and optimised |
| processes | division of a batch among the processes of torchrun |
| rollout | one batch of responses with its rewards and log-probabilities |
| networks | the value network, and networks with their optimisers |
| update | gradient steps on one batch |
| probe | KL divergence of the policy from its start |
| checkpoint | checkpoints to resume a killed run |
| train | the training loop |
"""

from __future__ import annotations

from westofn.training.rl.networks import require_learnable
from westofn.training.rl.rollout import Prompts
from westofn.training.rl.train import RlResult, train_rl

__all__ = ["Prompts", "RlResult", "require_learnable", "train_rl"]
