"""Qwen 2 and 2.5: llama with rotations over halves and biases on queries, keys and values."""

from tui_llama.engine.plan.architectures.decoder import Architecture

QWEN2 = Architecture(name="qwen2", rotates_neighbours=False, attention_biases=True)
