"""Texts as they are stored: without characters that SQLite could not hold; and the title that a chat gets of one."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from tui_llama import graphemes
from tui_llama.chat import Attachment

TITLE_LENGTH: Final = 60  # characters as people see them

DAMAGED_CHARACTER: Final = "\ufffd"
"""Stands in a text for bytes that are no character, or not a whole one."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """Returns the text with damaged characters for halves of surrogate pairs, which are no text for SQLite.

    A paste or a bad decoder can leave such a half.
    """
    return _LONE_SURROGATES.sub(DAMAGED_CHARACTER, text)


def storable_attachments(attachments: Sequence[Attachment]) -> tuple[Attachment, ...]:
    """Returns the attachments with texts that are `storable`. A path that is none is left out: it names no file."""
    return tuple(
        Attachment(
            name=storable(attachment.name),
            text=storable(attachment.text),
            path=attachment.path if storable(attachment.path) == attachment.path else "",
            digest=attachment.digest,
        )
        for attachment in attachments
    )


def attachments_json(attachments: Sequence[Attachment]) -> str:
    """Returns attachments as the store has them."""
    return msgspec.json.encode(storable_attachments(attachments)).decode()


def title_of(text: str, attachments: Sequence[Attachment] = ()) -> str:
    """Returns the title of a chat that begins with this message: its beginning, on one line.

    A message without a text is known by what is attached to it.
    """
    text = text if text.strip() else ", ".join(attachment.name for attachment in attachments)
    line = " ".join(storable(text[: 20 * TITLE_LENGTH]).split())
    shown = graphemes.beginning(line, TITLE_LENGTH)
    return line if shown == line else graphemes.beginning(line, TITLE_LENGTH - 1).rstrip() + "…"
