"""A full-screen terminal chat with its own inference engine for GGUF models."""

__version__ = "0.1.0"
