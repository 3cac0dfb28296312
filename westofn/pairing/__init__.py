"""From pools of candidates to pairs: the base model compares, core selects."""
