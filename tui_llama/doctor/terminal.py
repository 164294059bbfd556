"""Examines the terminal: by environment variables, by the terminal database and by its own answers."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.doctor.terminal_answers import Answers
from tui_llama.system.terminals import is_plain

TITLE: Final = "Terminal"

_STARTED_ENVIRONMENT: Final = Path("/proc/self/environ")
_LEAST_COLUMNS, _LEAST_LINES = 60, 20
_UNKNOWN_MODES: Final = (0, 4)
_CLIPBOARD_ATTRIBUTE: Final = 52
_TRUE_COLOURS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Terminal:
    """The facts about a terminal that are known without asking it.

    Args:
        environment: The environment variables with which the program was started.
        database_colours: The number of colours by the terminal database; 0 if it says nothing.
        columns: The width in cells; 0 if there is no terminal.
        lines: The height in cells.
        encoding: The encoding of the text that the program writes.
        is_input: Whether standard input is a terminal.
        is_output: Whether standard output is a terminal.
    """

    environment: Mapping[str, str]
    database_colours: int = 0
    columns: int = 0
    lines: int = 0
    encoding: str = "utf-8"
    is_input: bool = True
    is_output: bool = True


def this_terminal(environment: Mapping[str, str]) -> Terminal:
    """Returns the terminal in which the program runs."""
    size = os.terminal_size((0, 0))
    for descriptor in (1, 0, 2):
        with suppress(OSError):
            size = os.get_terminal_size(descriptor)
            break
    return Terminal(
        {**environment, **_started_locale(environment)},
        _database_colours(environment.get("TERM", "")),
        size.columns,
        size.lines,
        getattr(sys.stdout, "encoding", None) or "",
        os.isatty(0),
        os.isatty(1),
    )


def terminal_section(terminal: Terminal, answers: Answers | None, why_not_asked: str = "") -> Section:
    """Returns the section of the terminal.

    Args:
        terminal: The known facts.
        answers: The terminal's answers; None if it was not asked.
        why_not_asked: Why the terminal was not asked.
    """
    variables = terminal.environment
    colours, colours_words = _colours(terminal)
    programs = [name for name, variable in (("tmux", "TMUX"), ("screen", "STY")) if variable in variables]
    is_remote = "SSH_TTY" in variables or "SSH_CONNECTION" in variables
    rows = (
        Row("TERM", variables.get("TERM", "not set")),
        Row("COLORTERM", variables.get("COLORTERM", "not set")),
        Row("program", " ".join(variables.get(name, "") for name in ("TERM_PROGRAM", "TERM_PROGRAM_VERSION")).strip()
            or "unknown"),
        Row("inside of", ", ".join([*programs, *(["ssh"] if is_remote else [])]) or "nothing else"),
        Row("colours", colours_words, colours),
        Row("size", f"{terminal.columns} × {terminal.lines}" if terminal.columns else "unknown",
            [terminal.columns, terminal.lines]),
        Row("standard input", "a terminal" if terminal.is_input else "no terminal", terminal.is_input),
        Row("standard output", "a terminal" if terminal.is_output else "no terminal", terminal.is_output),
        Row("encoding", f"{terminal.encoding or 'unknown'}, locale {_locale(variables) or 'not set'}"),
        *_answer_rows(answers, why_not_asked),
    )  # fmt: skip
    return Section(TITLE, rows, tuple(_problems(terminal)))


def _answer_rows(answers: Answers | None, why_not_asked: str) -> list[Row]:
    if answers is None:
        return [Row("not asked", why_not_asked)]
    has_ended = answers.attributes is not None
    flags, state = answers.keyboard_flags, answers.synchronized_state
    keyboard = f"yes, flags {flags}" if flags is not None else _silence(has_ended)
    synchronized = _silence(has_ended) if state is None else "no" if state in _UNKNOWN_MODES else "yes"
    return [
        Row("kitty keyboard", keyboard, None if flags is None else True),
        Row("clipboard (OSC 52)", _clipboard(answers)),
        Row("synchronized", synchronized),
        Row("attributes", ";".join(map(str, answers.attributes or ())) or "no answer", list(answers.attributes or ())),
    ]


def _silence(has_ended: bool) -> str:
    """Returns the words for a question without an answer: "no" if a later question was answered."""
    return "no" if has_ended else "no answer"


def _clipboard(answers: Answers) -> str:
    if _CLIPBOARD_ATTRIBUTE in (answers.attributes or ()):
        return "yes, by its attributes"
    if answers.has_clipboard_capability:
        return "yes, by its capabilities"
    return "unknown"


def _problems(terminal: Terminal) -> list[Problem]:
    variables, problems = terminal.environment, []
    name = variables.get("TERM", "")
    has_terminal = terminal.is_input or terminal.is_output
    if is_plain(variables):
        text = f"TERM is {name or 'not set'}: the program cannot know what the terminal understands."
        remedy = "Set it to the name of the terminal, such as xterm-256color."
        problems.append(Problem(text, remedy, is_advice=not has_terminal))
    remedy = "Set LANG to a locale with UTF-8, such as C.UTF-8 or en_US.UTF-8."
    if not _is_utf_8(terminal.encoding):
        text = f"Text is written in {terminal.encoding or 'an unknown encoding'}, which lacks most characters."
        problems.append(Problem(text, remedy))
    elif not _is_utf_8(_locale(variables).partition(".")[2].partition("@")[0]):
        name = _locale(variables)
        text = f"{f'The locale is {name}, without UTF-8' if name else 'No locale is set'}: tmux may spoil text."
        problems.append(Problem(text, remedy, is_advice=True))
    if 0 < terminal.columns < _LEAST_COLUMNS or 0 < terminal.lines < _LEAST_LINES:
        text = f"The terminal is small: {terminal.columns} × {terminal.lines}."
        problems.append(
            Problem(text, f"Make it at least {_LEAST_COLUMNS} × {_LEAST_LINES} to see everything.", is_advice=True)
        )
    return problems


def _is_utf_8(name: str) -> bool:
    return name.lower().replace("-", "").replace("_", "") == "utf8"


def _locale(variables: Mapping[str, str]) -> str:
    """Returns the locale of characters: the first of three variables that is set and not empty; see locale(7)."""
    return next((variables[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if variables.get(name)), "")


def _started_locale(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns LC_CTYPE as it was at the program's start. Python itself sets it if the locale is C (PEP 538)."""
    if environment.get("LC_CTYPE") != "C.UTF-8":
        return {}
    try:
        variables = _STARTED_ENVIRONMENT.read_bytes().split(b"\0")
    except OSError:  # not Linux: a value that Python has set looks the same as the user's
        return {}
    given = [each.partition(b"=")[2].decode("utf-8", "replace") for each in variables if each.startswith(b"LC_CTYPE=")]
    return {"LC_CTYPE": given[0] if given else ""}


def _colours(terminal: Terminal) -> tuple[int, str]:
    """Returns the number of colours, and words that say how it is known. The rules are those of Rich, the library."""
    variables = terminal.environment
    ending = variables.get("TERM", "").rpartition("-")[2]
    if variables.get("NO_COLOR"):
        return 0, "none, because NO_COLOR is set"
    if variables.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return _TRUE_COLOURS, f"{_TRUE_COLOURS:,} (COLORTERM)"
    if ending in ("256color", "kitty"):
        return 256, "256 (TERM)"
    if terminal.database_colours > 0:
        return terminal.database_colours, f"{terminal.database_colours:,} (terminal database)"
    return 0, "unknown"


def _database_colours(name: str) -> int:
    """Returns the colours by the terminal database; 0 if there is none or it does not know the terminal.

    A process can ask about one terminal only. Later calls return the answer of the first.
    """
    try:
        import curses

        curses.setupterm(name, 1)
        return max(0, curses.tigetnum("colors"))
    except Exception:  # no curses here, or an unknown terminal, for which curses raises an error class of its own
        return 0
