"""Boxes over the chat that are about its messages: the tree of the chat, and other answers."""
