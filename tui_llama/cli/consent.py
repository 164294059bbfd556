"""Asking the user before something is removed, on standard input, whatever state that is in."""

import click

from tui_llama.errors import UserError


def require_consent(question: str) -> None:
    """Asks on standard error; returns where the answer on standard input is yes.

    Raises:
        click.Abort: it is no, or there is none.
        KeyboardInterrupt: Ctrl+C is the answer.
        UserError: no answer can be read.
    """
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as error:
        # Click takes Ctrl+C for a no, which a shell's loop would not be ended by.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise
    except OSError as error:
        raise UserError(
            f"standard input cannot be read: {error.strerror}", "Give --yes to skip the question."
        ) from error
