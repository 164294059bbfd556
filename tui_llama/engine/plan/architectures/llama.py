"""Llama 1 to 3, Mistral 7B, SmolLM2, TinyLlama, Yi and others that share their graph."""

from tui_llama.engine.plan.architectures.decoder import Architecture

# Converters permute the rows of Q and K, so that rotations pair neighbours.
LLAMA = Architecture(name="llama", rotates_neighbours=True, frequency_factors=True)
