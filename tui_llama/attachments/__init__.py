"""Texts that are attached to messages: how they are read from files, found, and given to the model."""
