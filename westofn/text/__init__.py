"""Texts as ids: tokenizers, chat templates, encoding."""
