"""What is set otherwise than it is by default, without what may be private."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.doctor.sections import rows
from tui_llama.doctor.settings import look_at_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def texts(file: Path, environment: Mapping[str, str]) -> list[str]:
    return [problem.text for problem in look_at_settings(file, environment).problems]


def test_what_differs_is_told_with_its_source(file: Path) -> None:
    file.write_text("threads = 2\npoll = 50\n[sampling]\nseed = 5\n")
    section = look_at_settings(file, {"TUI_LLAMA_MAX_TOKENS": "9", "TERM": "x"})

    assert rows(section) == {
        "file": str(file),
        "threads": "2, from the settings file",
        "max_tokens": "9, from TUI_LLAMA_MAX_TOKENS",
        "sampling.seed": "5, from the settings file",
    }
    assert section.problems == ()


def test_without_a_file_and_variables_there_is_nothing_to_tell(file: Path) -> None:
    section = look_at_settings(file, {})

    assert rows(section) == {"file": f"{file}, not created yet"} and section.problems == ()


def test_servers_are_told_without_names_and_without_asking_them(file: Path) -> None:
    file.write_text(
        "[servers.alice]\nurl = 'http://127.0.0.1:8080/v1'\nkey_variable = 'ALICE_KEY'\ndialect = 'vllm'\n"
        "[servers.bob]\nurl = 'https://bob.example/v1'\nkey_command = 'pass bob'\n"
        "[servers.carol]\nurl = 'http://10.0.0.2/v1'\nkey_in_keyring = true\n"
        "[servers.dave]\nurl = 'http://[::1]:1/v1'\n"
    )
    section = look_at_settings(file, {})

    assert rows(section) == {
        "file": str(file),
        "server 1": "on this machine, key in a variable that is not set, vllm",
        "server 2": "on another machine, https, key from a command",
        "server 3": "on another machine, http, key in the keyring",
        "server 4": "on this machine, no key",
    }
    assert section.problems == ()
    assert "that is not set" not in str(look_at_settings(file, {"ALICE_KEY": "sk-secret"}))


def test_a_server_that_is_wrong_is_told_without_its_name(file: Path) -> None:
    file.write_text("[servers.alice]\nurl = 'alice.example'\n")
    section = look_at_settings(file, {})

    assert [problem.text for problem in section.problems] == [f"{file}: a server in it is wrong."]
    assert "alice" not in str(section).replace(str(file), "")


def test_a_file_that_is_no_toml_is_told_once(file: Path) -> None:
    file.write_text("threads 3\n")
    assert len(look_at_settings(file, {}).problems) == 1


def test_a_system_prompt_is_not_told(file: Path) -> None:
    section = look_at_settings(file, {"TUI_LLAMA_SYSTEM_PROMPT": "I am Alice."})

    assert rows(section)["system_prompt"] == "11 characters, from TUI_LLAMA_SYSTEM_PROMPT"
    assert "Alice" not in str(section)


def test_nor_is_it_told_when_it_is_wrong(file: Path) -> None:
    file.write_text('system_prompt = ["I am Alice."]\n')
    section = look_at_settings(file, {})

    assert [problem.text for problem in section.problems] == [f"{file}: system_prompt: this is not text."]
    assert "Alice" not in str(section)


def test_everything_that_is_wrong_is_told_with_what_to_do(file: Path) -> None:
    file.write_text("thread = 1\npoll = 101\n")
    problems = look_at_settings(file, {"TUI_LLAMA_THREADS": "x"}).problems

    assert [problem.text for problem in problems] == [
        f"{file}: there is no setting 'thread'.",
        f"{file}: poll: 101 is not allowed.",
        "TUI_LLAMA_THREADS: 'x' is not a whole number.",
    ]
    assert all(problem.remedy and not problem.is_advice for problem in problems)


@pytest.mark.parametrize("content", [b"threads 3", b"\xff\xfe", b"threads = "])
def test_a_broken_file_is_wrong(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    assert "is not valid TOML" in texts(file, {})[0]


def test_variables_that_are_no_settings_are_told_where_they_are_known(file: Path) -> None:
    section = look_at_settings(file, {"TUI_LLAMA_HOME": "/x", "TUI_LLAMA_SECRET": "s3cret"})

    assert rows(section)["TUI_LLAMA_HOME"] == "/x"
    assert "s3cret" not in str(section)


@pytest.mark.parametrize(
    "variable", ["TUI_LLAMA_SHARED", "TUI_LLAMA_STARTER", "TUI_LLAMA_RELEASE_CHECK", "TUI_LLAMA_TEMPLATES"]
)
def test_what_tests_are_told_is_known(file: Path, variable: str) -> None:
    assert texts(file, {variable: "x"}) == []


def test_a_misspelt_variable_is_advice_with_the_nearest_one(file: Path) -> None:
    (problem,) = look_at_settings(file, {"TUI_LLAMA_THREDS": "3"}).problems

    assert problem.is_advice and problem.remedy == "Did you mean TUI_LLAMA_THREADS?"
