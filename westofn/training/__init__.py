"""Training loops: SFT, reward models, and reinforcement learning."""
