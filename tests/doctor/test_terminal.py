"""What is known of the terminal, and what is wrong with it."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor.sections import rows
from tui_llama.doctor import terminal as module
from tui_llama.doctor.terminal import Terminal, terminal_section, this_terminal
from tui_llama.doctor.terminal_answers import Answers

GOOD = Terminal({"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "de_DE.UTF-8"}, 256, 100, 30)


def with_variables(**variables: str) -> Terminal:
    return dataclasses.replace(GOOD, environment={**GOOD.environment, **variables})


def test_a_good_terminal_is_described() -> None:
    answers = Answers((62, 22, 52), 1, 2, True)
    section = terminal_section(with_variables(TERM_PROGRAM="kitten", TERM_PROGRAM_VERSION="1.2"), answers)

    assert rows(section) == {
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "program": "kitten 1.2",
        "inside of": "nothing else",
        "colours": "16,777,216 (COLORTERM)",
        "size": "100 × 30",
        "standard input": "a terminal",
        "standard output": "a terminal",
        "encoding": "utf-8, locale de_DE.UTF-8",
        "kitty keyboard": "yes, flags 1",
        "clipboard (OSC 52)": "yes, by its attributes",
        "synchronized": "yes",
        "attributes": "62;22;52",
    }
    assert section.problems == ()


@pytest.mark.parametrize(
    ("answers", "keyboard", "clipboard", "synchronized"),
    [
        (Answers(), "no answer", "unknown", "no answer"),
        (Answers((1, 2)), "no", "unknown", "no"),
        (Answers((1,), 0, 0, False), "yes, flags 0", "unknown", "no"),
        (Answers((1,), None, 1, True), "no", "yes, by its capabilities", "yes"),
        (Answers(None, 3, 4, None), "yes, flags 3", "unknown", "no"),
    ],
)
def test_answers_and_silence_mean_something(answers: Answers, keyboard: str, clipboard: str, synchronized: str) -> None:
    told = rows(terminal_section(GOOD, answers))

    assert (told["kitty keyboard"], told["clipboard (OSC 52)"], told["synchronized"]) == (
        keyboard, clipboard, synchronized,
    )  # fmt: skip


def test_a_terminal_that_was_not_asked_says_why() -> None:
    assert rows(terminal_section(GOOD, None, "no terminal on both sides"))["not asked"] == "no terminal on both sides"


def test_what_the_terminal_is_inside_of_is_told_without_addresses() -> None:
    section = terminal_section(with_variables(TMUX="/tmp/x,1,2", SSH_CONNECTION="192.0.2.7 1 192.0.2.8 22"), Answers())

    assert rows(section)["inside of"] == "tmux, ssh"
    assert "192.0.2" not in str(section)


@pytest.mark.parametrize(
    ("variables", "database_colours", "colours"),
    [
        ({"TERM": "xterm-256color"}, 0, "256 (TERM)"),
        ({"TERM": "xterm-kitty"}, 256, "256 (TERM)"),
        ({"TERM": "linux"}, 8, "8 (terminal database)"),
        ({"TERM": "linux", "COLORTERM": "24bit"}, 8, "16,777,216 (COLORTERM)"),
        ({"TERM": "x", "COLORTERM": "yes"}, 0, "unknown"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, 256, "none, because NO_COLOR is set"),
    ],
)
def test_colours_are_known_from_variables_then_from_the_database(
    variables: dict[str, str], database_colours: int, colours: str
) -> None:
    assert rows(terminal_section(Terminal(variables, database_colours), None))["colours"] == colours


@pytest.mark.parametrize("term", ["dumb", ""])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_that_understands_nothing_is_wrong_if_there_is_one(term: str, is_terminal: bool) -> None:
    terminal = dataclasses.replace(with_variables(TERM=term), is_input=is_terminal, is_output=False)
    (problem,) = terminal_section(terminal, None).problems

    assert problem.text.startswith("TERM is ") and problem.is_advice is not is_terminal


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", ""])
def test_an_encoding_that_lacks_characters_is_wrong(encoding: str) -> None:
    (problem,) = terminal_section(dataclasses.replace(GOOD, encoding=encoding), None).problems

    assert "lacks most characters" in problem.text and not problem.is_advice


@pytest.mark.parametrize(
    ("variables", "is_advised"),
    [
        ({"LANG": "C"}, True),
        ({"LANG": ""}, True),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, True),
        ({"LC_CTYPE": "C.utf8", "LANG": "C"}, False),
        ({"LANG": "ca_ES.UTF-8@valencia"}, False),
        ({"LC_ALL": "", "LANG": "en_US.UTF-8"}, False),
    ],
)
def test_a_locale_without_utf_8_is_advised_against(variables: dict[str, str], is_advised: bool) -> None:
    problems = terminal_section(with_variables(**variables), None).problems

    assert [problem.is_advice for problem in problems] == [True] * is_advised


def test_a_small_terminal_is_advised_against() -> None:
    problems = terminal_section(dataclasses.replace(GOOD, columns=59), None).problems

    assert [problem.text for problem in problems] == ["The terminal is small: 59 × 30."]


def test_what_python_has_set_itself_is_no_locale_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = tmp_path / "environ"
    monkeypatch.setattr(module, "_STARTED_ENVIRONMENT", started)
    environment = {"LANG": "C", "LC_CTYPE": "C.UTF-8", "TERM": "no-such-terminal"}

    started.write_bytes(b"LANG=C\0TERM=x\0")
    assert this_terminal(environment).environment["LC_CTYPE"] == ""
    started.write_bytes(b"LC_CTYPE=C.UTF-8\0LANG=C\0")
    assert this_terminal(environment).environment["LC_CTYPE"] == "C.UTF-8"
    started.unlink()
    assert this_terminal(environment).environment["LC_CTYPE"] == "C.UTF-8"


@pytest.mark.parametrize("name", ["no-such-terminal", ""])
def test_the_terminal_database_may_not_know_a_terminal(name: str) -> None:
    program = (
        f"from tui_llama.doctor.terminal import this_terminal as t; print(t({{'TERM': {name!r}}}).database_colours)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # asks once only
    assert done.stdout == "0\n"
