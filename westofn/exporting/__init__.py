"""Export preference pairs and reward models, with cards, for other tools.

`pairs`, `questions` and `reward_model` write the exports, `cards` writes their README.md, and
`lineage` looks up the parameters of an output in dvc.lock.
"""
