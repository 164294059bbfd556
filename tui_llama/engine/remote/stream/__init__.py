"""Reads what a server streams: events, chunks, and what they say of the answer."""
