"""Reads GGUF files: header, metadata, tensor table, bytes. Everything is checked before it is used."""
