"""Chats and where they are kept: SQLite holds the truth, a chat on the screen is whole in memory."""
