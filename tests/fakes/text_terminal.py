"""A stream that keeps what is written, and says that it is a terminal."""

import io


class FakeTerminal(io.StringIO):
    """What `Output` takes for a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True
