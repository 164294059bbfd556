"""Looks paths up beside the event loop, for suggestions that are asked for at every key."""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Event

from tui_llama.attachments.path_completion import FoundPath, find_paths, rank
from tui_llama.controllers.views import RunAlone
from tui_llama.system.daemon_threads import in_daemon_thread

MOST_SUGGESTIONS = 50


class PathLookup:
    """Remembers what was found for what is typed, and looks again when something else is.

    Args:
        run: Runs a coroutine of a group in place of what is under way in it.
        on_found: Called when more is known.
    """

    def __init__(self, run: RunAlone, on_found: Callable[[], None]) -> None:
        self._run = run
        self._on_found = on_found
        self._typed: str | None = None
        self._found: Sequence[FoundPath] = ()
        self._is_outdated = Event()

    def __call__(self, typed: str) -> Sequence[FoundPath]:
        """Returns what is known for what is typed: until it was looked up, what still fits of what was found before."""
        if typed != self._typed:
            self._forget_walk()
            self._found = self._that_still_fit(typed)
            self._typed = typed
            self._run("paths", partial(self._look, typed, self._is_outdated))
        return self._found

    def _that_still_fit(self, typed: str) -> list[FoundPath]:
        before = self._typed
        if before is None or not typed.startswith(before) or "/" in typed[len(before) :]:
            return []
        wanted = typed.rpartition("/")[2]
        return [each for each in self._found if rank(each.text.rstrip("/"), wanted) is not None]

    def forget(self) -> None:
        """Ends what is under way: no path is typed any more, and the next time there may be other files."""
        self._forget_walk()
        self._typed, self._found = None, ()

    def _forget_walk(self) -> None:
        self._is_outdated.set()
        self._is_outdated = Event()

    async def _look(self, typed: str, is_outdated: Event) -> None:
        found = await in_daemon_thread(
            lambda: find_paths(typed, limit=MOST_SUGGESTIONS, is_cancelled=is_outdated.is_set)
        )
        if not is_outdated.is_set():
            self._found = found
            self._on_found()
