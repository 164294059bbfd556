"""From the messages of a chat to the tokens of a prompt that fits the context."""
