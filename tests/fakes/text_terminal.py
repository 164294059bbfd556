"""A stream that keeps the written text and says that it is a terminal."""

import io


class FakeTerminal(io.StringIO):
    """A stream that `Output` takes for a terminal."""

    def isatty(self) -> bool:
        """Returns True."""
        return True
