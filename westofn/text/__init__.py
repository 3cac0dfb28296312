"""Conversion of texts to token ids: tokenizers, chat templates, encoding."""
