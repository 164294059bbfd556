"""Measures the time from a key press until the character is on the screen, while the engine is busy.

    python -m benchmarks.key_latency -m MODEL.gguf

It measures three phases in a pseudo-terminal of 120 × 40 cells with an empty home: while the model is loaded (and its
kernels are compiled, because the home has none), while a long prompt is read, and while an answer is written. It types
a key every 50 ms. The clock stops when the character is drawn. The keys are letters that nothing else on the screen
uses, and are deleted afterwards. Target: 50 ms at the 99th percentile. The model must be large enough for the phases
to last.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.terminal import Terminal

TARGET_SECONDS = 0.050
_KEY_INTERVAL_SECONDS = 0.050
_CLEARING_SECONDS = 0.2
_LOST_SECONDS = 5.0
_MARKS = "ԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜ"  # old letters of Komi and Kurdish, which no other text here contains
_BACKSPACE = "\x7f"
_SENTENCE = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all. "


def main() -> None:
    """Measures the phases and prints the figures."""
    options = _parse_arguments()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "TUI_LLAMA_HOME": home}
        environment.pop("TUI_LLAMA_KERNEL_CACHE", None)
        command = [sys.executable, "-m", "tui_llama", "-m", str(options.model.absolute())]
        with Terminal(command, environment) as terminal:
            if terminal.wait_for("loading", _LOST_SECONDS) is None:
                raise SystemExit("the program does not say that it is loading")
            _report("loading", _type_until(terminal, ("ready",), options.seconds))
            terminal.paste(_SENTENCE * (options.prompt_words // len(_SENTENCE.split())))
            terminal.forget()
            terminal.type("\r")
            if terminal.wait_for("reading", _LOST_SECONDS) is None:
                raise SystemExit("the program does not say that it is reading the prompt")
            _report("reading the prompt", _type_until(terminal, ("answering", "generated"), options.seconds))
            if not terminal.has_drawn("answering") and terminal.wait_for("answering", options.seconds) is None:
                raise SystemExit("the program does not say that it is answering")
            _report("writing the answer", _type_until(terminal, ("ready",), options.seconds))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file")
    parser.add_argument("--seconds", type=float, default=60, help="longest time for a phase")
    parser.add_argument("--prompt-words", type=int, default=3000, help="length of the prompt")
    return parser.parse_args()


def _type_until(terminal: Terminal, ends: tuple[str, ...], longest_seconds: float) -> list[float]:
    """Types keys until one of the texts `ends` is drawn. Returns the seconds until each key was drawn."""
    seconds: list[float] = []
    start = perf_counter()
    while perf_counter() - start < longest_seconds:
        for mark in _MARKS:
            terminal.forget()
            pressed_at = perf_counter()
            terminal.type(mark)
            taken = terminal.wait_for(mark, _LOST_SECONDS)
            if taken is None:
                raise SystemExit(f"a key was not shown within {_LOST_SECONDS} s, after {len(seconds)} that were")
            seconds.append(taken)
            _rest(terminal, pressed_at + _KEY_INTERVAL_SECONDS)
            if terminal.has_drawn(*ends):
                _clear(terminal)
                return seconds
        _clear(terminal)
        if terminal.has_drawn(*ends):
            return seconds
    return seconds


def _clear(terminal: Terminal) -> None:
    terminal.type(_BACKSPACE * len(_MARKS))
    _rest(terminal, perf_counter() + _CLEARING_SECONDS)


def _rest(terminal: Terminal, until: float) -> None:
    while (left := until - perf_counter()) > 0:
        terminal.watch(left)


def _report(phase: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    half, most = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    verdict = "met" if most <= TARGET_SECONDS else "missed"
    print(
        f"{phase}: {len(ordered)} keys, p50 {1000 * half:.1f} ms, p99 {1000 * most:.1f} ms, "
        f"max {1000 * ordered[-1]:.1f} ms (target p99 {1000 * TARGET_SECONDS:.0f} ms: {verdict})"
    )


if __name__ == "__main__":
    main()
