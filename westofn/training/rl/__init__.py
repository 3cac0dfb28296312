"""Reinforcement learning of a policy against a reward model: PPO and RLOO.

| module | holds |
|---|---|
| tempered | the distribution that is sampled from and optimised |
| processes | a batch divided among the processes of torchrun |
| rollout | one batch of responses with its rewards and log-probabilities |
| networks | what is trained: policy and value network, each with its optimiser |
| update | one batch's gradient steps |
| probe | how far the policy is from its start |
| checkpoint | what a killed run goes on from |
| train | the run |
"""

from __future__ import annotations

from westofn.training.rl.networks import require_learnable
from westofn.training.rl.rollout import Prompts
from westofn.training.rl.train import RlResult, train_rl

__all__ = ["Prompts", "RlResult", "require_learnable", "train_rl"]
