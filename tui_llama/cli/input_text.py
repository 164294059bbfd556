"""Texts that a command is given: as arguments, and on standard input where "-" or their absence asks for it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tui_llama.cli.errors import say
from tui_llama.system import standard_streams


def question_text(words: tuple[str, ...]) -> str:
    """Returns the words of a question, and below them what comes on standard input where that is asked for.

    The last word "-" asks for it, and so does a question without words.

    Raises:
        click.UsageError: there is no question.
        UserError: standard input cannot be read.
    """
    wants_input = words[-1:] == ("-",)
    question = " ".join(words[:-1] if wants_input else words)
    if not words and sys.stdin.isatty():
        raise click.UsageError("There is no question: give one, or pipe one in.")
    piped = standard_streams.read_text().strip("\n") if wants_input or not words else ""
    text = "\n\n".join(part for part in (question, piped) if part.strip())
    if not text:
        raise click.UsageError("There is no question: give one, or pipe one in.")
    if not wants_input and question and standard_streams.holds_unread_bytes():
        say("note", 'standard input was not read; add "-" after the question to append it', "yellow")
    return text


def with_files(text: str, files: Sequence[str]) -> str:
    """Returns a question with the texts of files, as the screen attaches them to a message.

    Raises:
        AttachmentError: one of them cannot be attached.
    """
    if not files:
        return text
    from tui_llama.attachments.prompt_text import with_attachments
    from tui_llama.attachments.reading import read_attachment

    return with_attachments(text, [read_attachment(Path(file)) for file in files])


def text_or_input(text: str) -> str:
    """Returns the text, or what comes on standard input where the text is "-".

    Raises:
        UserError: standard input cannot be read.
    """
    return standard_streams.read_text() if text == "-" else text
