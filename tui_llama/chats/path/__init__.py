"""The path of a chat that is shown: the messages on it, the answer that grows at its end, and changes to it."""
