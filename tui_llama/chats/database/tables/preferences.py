"""The statements on preferences: strings that the next start finds again."""

import sqlite3

from tui_llama.chats.stored_text import storable


def read_preference(database: sqlite3.Connection, key: str) -> str | None:
    """Returns what was last written for `key`, or None."""
    row = database.execute("SELECT value FROM preferences WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])


def write_preference(database: sqlite3.Connection, key: str, value: str) -> None:
    """Writes the value of `key` in place of the one before."""
    database.execute("INSERT OR REPLACE INTO preferences VALUES (?, ?)", (key, storable(value)))
