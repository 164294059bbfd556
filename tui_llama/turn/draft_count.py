"""Words for the tokens of what is being written: its own, those of the chat, and what is left of the context."""

from dataclasses import dataclass

from tui_llama.engine.events import PromptEstimate


@dataclass(frozen=True, slots=True)
class DraftCount:
    """What is said of a draft. `is_warning` if something would be left out, or the draft cannot be sent."""

    words: str = ""
    is_warning: bool = False


def count_of(estimate: PromptEstimate, context_size: int) -> DraftCount:
    """Returns the tokens of the draft, of the rest of the prompt, and the room that stays for the answer.

    Where the prompt does not fit, it returns what would be left out of it instead.
    """
    total = estimate.kept_tokens + estimate.read_tokens
    draft = min(estimate.message_tokens, total)
    left_out = estimate.left_out_messages
    if left_out:
        oldest = "the oldest message" if left_out == 1 else f"{left_out:,} oldest messages"
        return DraftCount(f"draft {draft:,} · context full: {oldest} would be left out", is_warning=True)
    room = max(0, context_size - total)
    return DraftCount(f"draft {draft:,} · chat {total - draft:,} · room {room:,}")
