"""Completion of what is written in the composer: what can be suggested, the list of it, and how keys choose from it."""
