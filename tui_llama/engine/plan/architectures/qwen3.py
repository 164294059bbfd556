"""Qwen 3: as Qwen 2, with a norm on every query and key head instead of biases."""

from tui_llama.engine.plan.architectures.decoder import Architecture

QWEN3 = Architecture(name="qwen3", rotates_neighbours=False, head_norms=True)
