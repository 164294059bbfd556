"""Makes this machine ready for the first chat: compiles kernels and fetches the starter model, side by side.

The starter is fetched only where no model is found that the engine can run. In the end the speed is measured at which
this machine reads memory, by which models are judged; beside the other two it would be measured wrongly.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tui_llama import paths
from tui_llama.errors import UserError
from tui_llama.models.catalogue import STARTER
from tui_llama.models.downloads import DownloadError, DownloadStoppedError, Progress
from tui_llama.models.library import find_models
from tui_llama.models.pull import pull
from tui_llama.output import Output, percent

_TICK_SECONDS: Final = 0.2


def set_up(output: Output) -> bool:
    """Does all of it, with progress and one line for whatever was done.

    Returns:
        Whether there is a model to chat with now.

    Raises:
        UserError: kernels cannot be compiled.
    """
    has_model = has_usable_model()
    progress = _Progress(output)
    with _fetching(progress, is_needed=not has_model) as fetching:
        _compile(progress)
        fetching.wait(progress)
    _measure(output)
    if fetching.error is not None:
        output.notice(f"{fetching.error}. {fetching.error.hint}".rstrip())
        output.notice(how_to_give_a_model())
    elif fetching.path:
        output.notice(f"the starter model is here: {fetching.path}")
    return has_model or bool(fetching.path)


def has_usable_model() -> bool:
    """Tells whether there is a model file on this machine that the engine can run."""
    from tui_llama.engine.model.facts import read_model_facts

    return any(not read_model_facts(model.path).refusal for model in find_models())


def how_to_give_a_model() -> str:
    """Returns one line that says how to chat with a model that the user has."""
    return f"To chat, put a GGUF file into {paths.models_folder()}, or start with: -m FILE.gguf"


class _Progress:
    """One line for both: how many kernels are compiled, and how far the starter is."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._kernels = ""
        self.starter: Progress | None = None

    def note_kernels(self, done: int, total: int) -> None:
        self._kernels = f"kernels: {done} of {total} compiled" if done < total else ""
        self.show()

    def show(self) -> None:
        words = [self._kernels] if self._kernels else []
        if self.starter is not None:
            so_far = percent(self.starter.done_bytes, self.starter.total_bytes)
            words.append(f"starter: {self.starter.step}" + (f" {so_far}" if so_far else ""))
        self._output.progress(" · ".join(words))


class _Fetching:
    """The starter on its way, on a thread of its own."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress
        self._is_stopped = False
        self._thread = threading.Thread(target=self._fetch, name="fetch the starter", daemon=True)
        self.path = ""
        self.error: UserError | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the download, if there is one, and waits until its thread has ended."""
        self._is_stopped = True
        if self._thread.ident is not None:
            self._thread.join()

    def wait(self, progress: _Progress) -> None:
        while self._thread.is_alive():
            self._thread.join(_TICK_SECONDS)
            progress.show()

    def _fetch(self) -> None:
        try:
            self.path = pull(STARTER, self._report).path
        except DownloadStoppedError:
            pass
        except UserError as error:
            self.error = error
        except Exception as error:  # told by who waits; a thread would only print it
            self.error = DownloadError(f"the starter model cannot be fetched: {error}")
        finally:
            self._progress.starter = None

    def _report(self, progress: Progress) -> None:
        if self._is_stopped:
            raise DownloadStoppedError
        self._progress.starter = progress


@contextmanager
def _fetching(progress: _Progress, *, is_needed: bool) -> Iterator[_Fetching]:
    """Runs the download beside the block, and ends it with the block, however that ends."""
    fetching = _Fetching(progress)
    if is_needed:
        fetching.start()
    try:
        yield fetching
    finally:
        fetching.stop()


def _compile(progress: _Progress) -> None:
    from tui_llama.engine.model.common_kernels import STARTER_FORMATS, kernels_for
    from tui_llama.engine.toolchain.loader import load_kernels

    load_kernels(kernels_for(STARTER_FORMATS), progress.note_kernels)


def _measure(output: Output) -> None:
    from tui_llama.models.machine import measured_machine

    output.progress("measuring how fast this machine reads memory")
    measured_machine()
