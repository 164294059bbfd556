"""Turns the messages of a chat into the tokens of a prompt that fits the context."""
