"""What decides how the next token is chosen, as people set it: the settings, the texts in them, and the chain."""
