"""Long pasted texts, which are attached: in the text that the user writes they would hide the question."""

from collections.abc import Iterable
from typing import Final

from tui_llama.attachments.reading import LONGEST_BYTES
from tui_llama.chat import Attachment
from tui_llama.errors import AttachmentError

LONG_CHARACTERS: Final = 4_000
LONG_LINES: Final = 40
NAME: Final = "pasted text"


def is_long_paste(text: str) -> bool:
    """Tells whether a pasted text is attached rather than written."""
    return len(text) > LONG_CHARACTERS or len(text.splitlines()) > LONG_LINES


def pasted_attachment(text: str, taken_names: Iterable[str]) -> Attachment:
    """Returns a pasted text as an attachment with a name of its own.

    Raises:
        AttachmentError: it is too long.
    """
    if len(text) > LONGEST_BYTES:
        longest = f"{LONGEST_BYTES / 1e6:.0f}"
        raise AttachmentError(f"The pasted text has more than {longest} million characters.", "Attach a part of it.")
    names, number = set(taken_names), 1
    while (name := NAME if number == 1 else f"{NAME} {number}") in names:
        number += 1
    return Attachment(name, text.replace("\r\n", "\n").replace("\r", "\n"))
