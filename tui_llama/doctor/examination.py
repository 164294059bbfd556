"""Runs all examinations of the doctor. One that fails becomes a problem on the page, and the others go on."""

import termios
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, TypeAlias

from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.errors import UserError

if TYPE_CHECKING:
    from tui_llama.settings import Settings

INPUT, OUTPUT = 0, 1

Probe: TypeAlias = Callable[[], Section]

_BEFORE_TERMINAL: Final = 3  # sections: the program, its machine code, and the machine
_BUG: Final = "Please report this as a bug, with this page."


def examine(environment: Mapping[str, str], say: Callable[[str], None] = lambda text: None) -> list[Section]:
    """Examines everything, without the network and without loading a model.

    Args:
        environment: The program's environment variables.
        say: Is told in words what is examined.

    Returns:
        The sections. Their texts may show who the user is; see privacy.py.
    """
    with ExitStack() as until_the_end:
        terminal, *others = examine_all(_probes(environment, until_the_end), say)
    return [*others[:_BEFORE_TERMINAL], terminal, *others[_BEFORE_TERMINAL:]]


def examine_all(probes: Iterable[tuple[str, Probe]], say: Callable[[str], None]) -> list[Section]:
    """Runs probes. Each comes with a title, which the section gets if the probe fails."""
    sections = []
    for title, probe in probes:
        say(f"looking at: {title.lower()}")
        sections.append(_carried_out(title, probe))
    return sections


def _carried_out(title: str, probe: Probe) -> Section:
    try:
        return probe()
    except UserError as error:
        return _failed(title, str(error), error.hint)
    except ImportError as error:
        return _failed(title, f"a package is missing or broken ({error})", "Install the program again.")
    except OSError as error:
        return _failed(title, f"this could not be read ({error})", "Check the permissions and the disk.")
    except Exception as error:  # a page about problems must not fail because of one
        return _failed(title, f"this could not be looked at ({type(error).__name__}: {error})", _BUG)


def _failed(title: str, what: str, remedy: str) -> Section:
    text = what if what.endswith(".") else f"{what}."
    return Section(title, (Row("failed", text),), (Problem(f"{title}: {text}", remedy),))


# Each probe imports what it needs itself, so that a broken module breaks only its own section.


def _probes(environment: Mapping[str, str], until_the_end: ExitStack) -> list[tuple[str, Probe]]:
    return [
        ("Terminal", lambda: _terminal(environment, until_the_end)),  # first, to catch late answers
        ("Program", _program),
        ("Machine code", lambda: _code(environment)),
        ("Processor and memory", _machine),
        ("Folders", _folders),
        ("Stored prompts", lambda: _prompts(environment)),
        ("Models", lambda: _models(environment)),
        ("Chats", _chats),
        ("Settings", lambda: _settings(environment)),
    ]


def _terminal(environment: Mapping[str, str], until_the_end: ExitStack) -> Section:
    from tui_llama.doctor.terminal import terminal_section, this_terminal
    from tui_llama.doctor.terminal_answers import asked_terminal, questions_for, why_not_to_ask

    terminal = this_terminal(environment)
    reason = why_not_to_ask(INPUT, OUTPUT, environment)
    if reason:
        return terminal_section(terminal, None, reason)
    try:
        answers = until_the_end.enter_context(asked_terminal(INPUT, OUTPUT, questions_for(environment)))
    except (OSError, termios.error) as error:
        return terminal_section(terminal, None, f"it cannot be asked: {error}")
    return terminal_section(terminal, answers)


def _program() -> Section:
    from tui_llama.doctor.program import look_at_program

    return look_at_program()


def _code(environment: Mapping[str, str]) -> Section:
    from tui_llama.doctor.machine import look_at_code

    return look_at_code(environment.get("TUI_LLAMA_INSTRUCTION_SET", ""))


def _machine() -> Section:
    from tui_llama.doctor.machine import look_at_machine

    return look_at_machine()


def _folders() -> Section:
    from tui_llama.doctor.folders import look_at_folders

    return look_at_folders()


def _prompts(environment: Mapping[str, str]) -> Section:
    from tui_llama import paths
    from tui_llama.doctor.prompts import look_at_prompts
    from tui_llama.files.storage import DiskStorage

    budget = _usable_settings(environment).prompt_cache_mib
    return look_at_prompts(DiskStorage(paths.prompt_cache_folder()), budget)


def _models(environment: Mapping[str, str]) -> Section:
    from tui_llama.doctor.models import look_at_models

    return look_at_models(_usable_settings(environment))


def _usable_settings(environment: Mapping[str, str]) -> "Settings":
    """Returns the settings, with defaults for the wrong ones. The section of the settings reports those."""
    from tui_llama import paths
    from tui_llama.settings_sources import examine_values, settings_of

    return settings_of(examine_values(paths.settings_file(), environment)[0])


def _chats() -> Section:
    from tui_llama import paths
    from tui_llama.doctor.chats import look_at_chats

    return look_at_chats(paths.database_file())


def _settings(environment: Mapping[str, str]) -> Section:
    from tui_llama import paths
    from tui_llama.doctor.settings import look_at_settings

    return look_at_settings(paths.settings_file(), environment)
