"""The engine in a process of its own: both sides, and the messages between them."""
