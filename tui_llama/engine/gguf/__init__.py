"""Reads GGUF files: header, metadata, tensor table, bytes. Nothing is trusted unchecked."""
