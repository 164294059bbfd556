"""The SQLite database of the chats: its file, the connection to it, and the statements on its tables."""
