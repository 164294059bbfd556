"""Personas: named choices for chats, as files in TOML that people can share."""
