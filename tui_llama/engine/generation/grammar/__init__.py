"""Grammars and JSON schemas that bind an answer: read, compiled, and applied to the logits as a mask over tokens."""
