"""Measures what a long answer and a long chat cost the screen.

    python -m benchmarks.screen [--tokens 50000] [--seconds 20] [--messages 2000]

The program runs in a pseudo-terminal of 120 × 40 cells with an engine that replays a script.

- A long chat: the time from the key that opens it until its last message is drawn, by the clock and by the processor
  time of the process. Target: 0.5 s.
- A long answer, below that chat: tokens come at 50 a second for some seconds, then as fast as the screen takes them,
  then at 50 a second again for the last seconds. The figures are the processor time of the whole process, all threads,
  the replaying engine included, and the frames that it draws. Targets: the same time for each token at the end as at
  the beginning, ± 30 %; at most 15 % of a core; at most 30 frames a second.
- The most memory that the process had. Target: 200 MB.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

from benchmarks.terminal import Terminal

TOKENS_PER_SECOND = 50
TARGETS = {"cpu of a core": 0.15, "frames": 30.0, "end to beginning": 1.3, "opening": 0.5, "memory": 200.0}
_LONGEST_SECONDS = 900.0
_CHILD = "--measured-program"
_QUIET_SECONDS = 1.5
_LAST = "the very last message"
_TEXT = """## A heading

A paragraph of an answer with **strong** words, `code`, a formula $x_i^2$ and a [link](https://example.org), which goes
on for about two lines of a terminal that has one hundred and twenty cells in each line.

- an item of a list
  - an item inside of it
- another item

```python
def llamas(load: float) -> int:
    return round(load / 35)
```

| animal | weight |
|---|---|
| llama | 140 kg |

"""


def main() -> None:
    """Measures and prints the figures."""
    options = _parse_arguments()
    if options.measured_program:
        _run_program(options)
        return
    with tempfile.TemporaryDirectory() as home:
        results = Path(home, "results.json")
        command = [sys.executable, "-m", "benchmarks.screen", *sys.argv[1:], _CHILD, str(results)]
        with Terminal(command, {**os.environ, "TUI_LLAMA_HOME": home}) as terminal:
            if terminal.wait_for("ready", 60) is None:
                raise SystemExit("the program is not ready")
            opening = _open_chat(terminal)
            _stream(terminal)
        _report(json.loads(results.read_text()), opening)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=50_000, help="length of the answer")
    parser.add_argument("--seconds", type=int, default=20, help="how long to measure at the beginning and at the end")
    parser.add_argument("--messages", type=int, default=2000, help="length of the chat")
    parser.add_argument(_CHILD, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _open_chat(terminal: Terminal) -> tuple[float, float]:
    """Goes to the chat below the empty one, until its last message is drawn.

    Returns:
        The seconds by the clock, and the seconds of processor time of the process.
    """
    while terminal.watch(_QUIET_SECONDS) and terminal.has_drawn_anything():
        terminal.forget()  # what follows the first frame is done once nothing is drawn
    terminal.forget()
    used = _processor_seconds(terminal.process_id)
    terminal.type("\x1b[6;5~")  # Ctrl+PgDn
    seconds = terminal.wait_for(_LAST, 60)
    if seconds is None:
        raise SystemExit("the long chat is not shown")
    return seconds, _processor_seconds(terminal.process_id) - used


def _processor_seconds(process_id: int) -> float:
    """Returns the processor time that all threads of a process have used."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stream(terminal: Terminal) -> None:
    terminal.forget()
    terminal.type("go\r")
    if terminal.wait_for("THE-END", _LONGEST_SECONDS) is None:
        raise SystemExit("the answer has not ended")


def _report(results: dict[str, Any], opening: tuple[float, float]) -> None:
    begin, end = results["phases"]
    for name, phase in (("beginning", begin), ("end", end)):
        print(
            f"{name}: {1000 * phase['cpu'] / phase['tokens']:.2f} ms of processor time for each token, "
            f"{phase['cpu'] / phase['seconds']:.1%} of a core, {phase['frames'] / phase['seconds']:.1f} frames a second"
        )
    ratio = end["cpu"] / end["tokens"] * begin["tokens"] / begin["cpu"]
    _judge("cpu of a core", max(phase["cpu"] / phase["seconds"] for phase in (begin, end)), "")
    _judge("frames", max(phase["frames"] / phase["seconds"] for phase in (begin, end)), "a second")
    _judge("end to beginning", ratio, "times the processor time for each token")
    seconds, processor_seconds = opening
    _judge("opening", seconds, f"s for a chat of {results['messages']} messages")
    print(f"opening: {processor_seconds:.2f} s of processor time")
    _judge("memory", results["memory_megabytes"], "MB at most")


def _judge(name: str, value: float, unit: str) -> None:
    verdict = "met" if value <= TARGETS[name] else "missed"
    print(f"{name}: {value:.2f} {unit} (target {TARGETS[name]}: {verdict})".replace("  ", " "))


# --- the program that is measured -----------------------------------------------------------------------------------


def _run_program(options: argparse.Namespace) -> None:
    from tui_llama import paths
    from tui_llama.app import ChatApp
    from tui_llama.chats.store import Store
    from tui_llama.engine.scripted import ScriptedEngine
    from tui_llama.models.source import ThisMachine
    from tui_llama.settings import Settings

    counted = _Counted()
    store = Store(paths.database_file())
    _fill(store, options.messages)
    engine = ScriptedEngine(replies=lambda request: counted.reply(options))
    app = ChatApp(
        engine_factory=lambda: engine,
        store=store,
        settings=Settings(),
        model_path="/models/small.gguf",
        models=ThisMachine(),
    )
    display = app._display

    def counted_display(*arguments: Any) -> None:
        counted.frames += 1
        display(*arguments)

    with patch.object(app, "_display", counted_display):
        app.run()
    store.close()


def _fill(store: Any, message_count: int) -> None:
    from tui_llama.chat import StopReason

    chat = store.create_chat(title="long")
    for number in range(message_count // 2):
        answer = store.begin_answer(chat, store.add_user_message(chat, f"question {number}"))
        is_last = number == message_count // 2 - 1
        store.append_to_answer(answer, _TEXT + (_LAST if is_last else f"answer {number}"), ())
        store.finish_answer(answer, StopReason.END_OF_GENERATION, None)


class _Counted:
    """Replays the answer and notes what it costs."""

    def __init__(self) -> None:
        self.frames = 0
        self._phases: list[dict[str, float]] = []

    def reply(self, options: argparse.Namespace) -> Iterator[Any]:
        """Yields the steps of the answer."""
        from tui_llama.chat import StopReason, Usage
        from tui_llama.engine.events import Finished, PromptEncoded, TextPiece
        from tui_llama.engine.scripted import Pause

        words = cycle(piece for piece in _pieces(_TEXT))
        slow = TOKENS_PER_SECOND * options.seconds
        yield PromptEncoded(0, 0, (1,))
        yield from self._phase(islice(words, slow))
        for number, word in enumerate(islice(words, max(0, options.tokens - 2 * slow))):
            yield TextPiece(0, word, (1,))
            if number % 100 == 0:
                yield Pause(0.05)
        yield Pause(2.0)
        yield from self._phase(islice(words, slow))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        results = {"phases": self._phases, "memory_megabytes": memory, "messages": options.messages}
        options.measured_program.write_text(json.dumps(results))
        yield TextPiece(0, "\n\nTHE-END\n", (1,))
        yield Finished(0, StopReason.END_OF_GENERATION, Usage())

    def _phase(self, words: Iterator[str]) -> Iterator[Any]:
        from tui_llama.engine.events import TextPiece
        from tui_llama.engine.scripted import Pause

        started, cpu, frames, count = perf_counter(), process_time(), self.frames, 0
        for word in words:
            count += 1
            yield TextPiece(0, word, (1,))
            due = started + count / TOKENS_PER_SECOND
            yield Pause(max(0.001, due - perf_counter()))
        self._phases.append(
            {
                "tokens": count,
                "cpu": process_time() - cpu,
                "seconds": perf_counter() - started,
                "frames": self.frames - frames,
            }
        )


def _pieces(text: str) -> list[str]:
    """Cuts a text as a tokenizer may cut it, about four characters each."""
    return [text[start : start + 4] for start in range(0, len(text), 4)]


if __name__ == "__main__":
    main()
