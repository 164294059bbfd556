"""Makes the request for an answer: its fields, its messages, and what is left out of a prompt that is too long."""
