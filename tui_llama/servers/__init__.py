"""Servers that speak OpenAI's protocol, as the user names them: their addresses, keys and models."""
