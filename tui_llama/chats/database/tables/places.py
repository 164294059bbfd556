"""Where the messages of a chat stand in its tree, without those that the user has deleted.

The user may delete one message alone. Its row stays, with what follows it, so that the tokens below it stay as they
were fed and undo is one write. To everybody else the message is not there: what follows it stands below the nearest
message before it that is.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping


def shown_parents(database: sqlite3.Connection, chat_id: str) -> dict[int, int | None]:
    """Returns the messages of a chat that are not deleted, oldest first, each with the one that it stands below."""
    rows = database.execute(
        "SELECT message_id, parent_id, deleted_at IS NOT NULL AS is_deleted FROM messages WHERE chat_id = ?"
        " ORDER BY message_id",
        (chat_id,),
    ).fetchall()
    nearest: dict[int | None, int | None] = {None: None}  # of each message: itself, or what it stands below if deleted
    parents: dict[int, int | None] = {}
    for row in rows:  # parents come first, since a parent is older than what follows it
        above = nearest.get(row["parent_id"])
        nearest[row["message_id"]] = above if row["is_deleted"] else row["message_id"]
        if not row["is_deleted"]:
            parents[row["message_id"]] = above
    return parents


def versions_of(parents: Mapping[int, int | None]) -> dict[int, list[int]]:
    """Returns the messages in the same place as each message, itself included, oldest first.

    This is the one rule by which versions are counted: messages are versions of each other if they stand below the
    same message, whoever has said them. So every branch can be reached by going from version to version.
    """
    places: defaultdict[int | None, list[int]] = defaultdict(list)
    for message_id, parent_id in parents.items():
        places[parent_id].append(message_id)
    return {message_id: places[parent_id] for message_id, parent_id in parents.items()}
