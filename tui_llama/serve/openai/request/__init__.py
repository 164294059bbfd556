"""Makes the engine's request of a client's, or refuses it."""
