"""Moving by message: which message has the focus, and what can be done with it."""
