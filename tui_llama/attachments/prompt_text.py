"""How attachments reach the model: one rule, for prompts, estimates, idle prefill, servers and the command line.

Each attachment is its name and a fenced block with its content. They stand before what the user wrote:

    notes.txt:
    ```
    The content of the file.
    ```

    What do these notes say?

A fence is longer than any row of backticks in the content, so no content can end its block. They come first, so that
they can be read while the user still writes the question.
"""

import re
from collections.abc import Sequence
from typing import Final

from tui_llama.chat import Attachment

_SHORTEST_FENCE: Final = 3
_BACKTICKS: Final = re.compile("`+")


def with_attachments(text: str, attachments: Sequence[Attachment]) -> str:
    """Returns what the model gets of a message: its attachments, and below them what the user wrote."""
    if not attachments:
        return text
    return "\n\n".join([*map(attachment_block, attachments), text])


def attachment_block(attachment: Attachment) -> str:
    """Returns one attachment as the model gets it."""
    longest = max((len(run) for run in _BACKTICKS.findall(attachment.text)), default=0)
    fence = "`" * max(_SHORTEST_FENCE, longest + 1)
    end = "" if not attachment.text or attachment.text.endswith("\n") else "\n"
    return f"{_on_one_line(attachment.name)}:\n{fence}\n{attachment.text}{end}{fence}"


def _on_one_line(name: str) -> str:
    """Returns a name without what could end its line: a file may be called anything."""
    return " ".join("".join(character if character.isprintable() else " " for character in name).split())
