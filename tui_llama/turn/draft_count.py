"""Words for the tokens of what is being written: its own, those of the chat, and what is left of the context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tui_llama import graphemes
from tui_llama.engine.events import PromptEstimate
from tui_llama.text_safety import sanitize_line


@dataclass(frozen=True, slots=True)
class DraftCount:
    """What is said of a draft. `is_warning` if something would be left out, or the draft cannot be sent."""

    words: str = ""
    is_warning: bool = False


_BEGINNING: Final = 24
"""Characters of a message by which it is known."""


def count_of(estimate: PromptEstimate, context_size: int, texts: Sequence[str] = ()) -> DraftCount:
    """Returns the tokens of the draft, of the rest of the prompt, and the room that stays for the answer.

    Where the prompt does not fit, it returns what would be left out of it instead.

    Args:
        estimate: The price of the prompt with the draft.
        context_size: The tokens of the context.
        texts: The messages of the chat, oldest first, not safe to print; the last that is left out is named.
    """
    total = estimate.kept_tokens + estimate.read_tokens
    draft = min(estimate.message_tokens, total)
    left_out = estimate.left_out_messages
    if left_out:
        oldest = "the oldest message" if left_out == 1 else f"{left_out:,} oldest messages"
        last = " ".join(texts[left_out - 1].split()) if left_out <= len(texts) else ""
        named = f", up to “{graphemes.beginning(sanitize_line(last), _BEGINNING)}…”" if last else ""
        return DraftCount(f"draft {draft:,} · context full: {oldest} would be left out{named}", is_warning=True)
    room = max(0, context_size - total)
    return DraftCount(f"draft {draft:,} · chat {total - draft:,} · room {room:,}")
