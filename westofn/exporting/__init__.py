"""Results for other tools: preference pairs and reward models in folders that describe themselves.

`pairs` and `reward_model` decide what goes out, `cards` writes what a hub shows of it, and
`lineage` finds in dvc.lock the parameters that made it.
"""
