"""OpenAI-compatible servers: whom to ask, how patiently, and what their refusals mean.

The judge of the study and `sample.engine: openai` ask them. `role` says who asks, so that messages
name its own settings; `client` sends requests.
"""
