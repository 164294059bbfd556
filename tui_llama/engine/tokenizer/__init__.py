"""Tokenizers: text to token ids and back, as each family of models does it."""
