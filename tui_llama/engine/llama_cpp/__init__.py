"""Reads and writes llama.cpp's session files."""
