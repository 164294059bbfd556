"""What is known of an attachment beside its content, and all of it in words."""

from dataclasses import dataclass

from tui_llama.attachments.reading import FileState
from tui_llama.chat import Attachment


@dataclass(slots=True)
class AttachedFacts:
    """What was found out about an attachment.

    Attributes:
        tokens: How many tokens it has for the model, with its name and its fences; None while nobody knows.
        vocabulary: The fingerprint of the vocabulary that these are of.
        state: How its file is now, as far as anybody has looked.
    """

    tokens: int | None = None
    vocabulary: str = ""
    state: FileState = FileState.SAME


def attached_words(attachment: Attachment, facts: AttachedFacts | None = None, *, with_lines: bool = True) -> str:
    """Returns the size of an attachment and what is known of it, such as "12 kB · 200 lines · 3,456 tokens"."""
    line_count = attachment.text.count("\n") + (not attachment.text.endswith("\n"))
    parts = [size_words(len(attachment.text.encode(errors="replace")))]
    if with_lines and line_count > 1:
        parts.append(f"{line_count:,} lines")
    if facts is not None and facts.tokens is not None:
        parts.append(f"{facts.tokens:,} token{'' if facts.tokens == 1 else 's'}")
    if facts is not None and facts.state:
        parts.append(facts.state)
    return " · ".join(parts)


def size_words(size_bytes: int) -> str:
    """Returns the size of a text in words, such as "812 bytes" or "12 kB" (powers of ten)."""
    if size_bytes < 1_000:
        return f"{size_bytes} byte{'' if size_bytes == 1 else 's'}"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 999_500 else f"{size_bytes / 1e3:.0f} kB"
