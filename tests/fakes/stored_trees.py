"""Reads a chat from a store in a form in which two stores can be compared."""

from typing import Any

from tui_llama.chats.store import Store


def tree(store: Store, chat_id: str) -> dict[str, Any]:
    """Returns a chat with all its messages. Numbers in the order of their making replace the ids."""
    with store._transaction("DEFERRED") as database:
        chat = dict(database.execute("SELECT * FROM chats WHERE chat_id = ?", (chat_id,)).fetchone())
        rows = database.execute("SELECT * FROM messages WHERE chat_id = ? ORDER BY message_id", (chat_id,)).fetchall()
        pieces = database.execute("SELECT * FROM answer_pieces ORDER BY piece_id").fetchall()
    numbers = {row["message_id"]: number for number, row in enumerate(rows)} | {None: None}
    del chat["updated_at"]
    messages = []
    for row in rows:
        message = {**dict(row), "parent_id": numbers[row["parent_id"]]}
        number = message.pop("message_id")
        own = [piece for piece in pieces if piece["message_id"] == number]
        message["text"] += "".join(piece["text"] for piece in own)
        message["generated_ids"] += b"".join(piece["token_ids"] for piece in own)
        messages.append(message)
    return {**chat, "tip_message_id": numbers[chat["tip_message_id"]], "messages": messages}
