"""Errors on the command line: what is said of each on standard error, and the exit status that it has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from tui_llama.errors import UserError, shortened
from tui_llama.system import standard_streams


class TellingGroup(click.Group):
    """Turns our errors, Ctrl+C and a vanished reader into messages and exit statuses."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Reads the arguments; --help and --version write already here."""
        with _told():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        with _told():
            return super().invoke(ctx)


class ShownError(click.ClickException):
    """An error of ours: its text and its hint are shown, a line each."""

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self._hint = error.hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Says it on standard error."""
        say("error", self.message, "red")
        if self._hint:
            say("hint", self._hint, "yellow")


class _SilentEnd(click.ClickException):
    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code  # type: ignore[misc] # click declares it for the class alone

    def show(self, file: IO[Any] | None = None) -> None:
        """Says nothing: the user who caused it knows."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise ShownError(error) from error
    except click.UsageError as error:
        error.message = shortened(error.message)  # type: ignore[misc] # click declares it for itself alone
        raise
    except KeyboardInterrupt as error:
        raise _SilentEnd(standard_streams.INTERRUPTED) from error
    except BrokenPipeError as error:
        raise _SilentEnd(standard_streams.READER_GONE) from error


def say(label: str, text: str, colour: str) -> None:
    """Prints a line on standard error: a label, coloured where that is wanted, and a text."""
    from tui_llama.text_safety import sanitize_line

    painted = False if os.environ.get("NO_COLOR") else None
    click.secho(f"{label}:", fg=colour, bold=True, err=True, nl=False, color=painted)
    click.echo(" " + sanitize_line(text), err=True)
