"""The forms in which preferences, demonstrations and prompts come, a module each.

Preferences: `texts`, `conversations`, `ratings`, `ultrafeedback`, `tldr`. All that a format has to
say of a row is one outcome: a canonical pair, or the reason why there is none.
"""
