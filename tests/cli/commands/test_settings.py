"""`tui-llama settings`: what is set, and by what."""

import pytest
from click.testing import CliRunner, Result

from tui_llama import paths
from tui_llama.cli.main import command_line
from tui_llama.settings import SETTINGS
from tui_llama.settings_sources import load_settings


def run(*arguments: str, before: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(command_line, [*before, "settings", *arguments])


def write_settings(content: str) -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


def test_every_setting_is_printed_with_its_value_and_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings("batch_tokens = 64\n")
    monkeypatch.setenv("TUI_LLAMA_THREADS", "3")
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\nbatch_tokens = 64  # from the settings file; the default is 512\n" in result.stdout
    assert "\nthreads = 3  # from TUI_LLAMA_THREADS; the default is 0\n" in result.stdout
    assert all(setting.explanation in result.stdout for setting in SETTINGS.values())


def test_what_is_printed_can_be_saved_and_changes_nothing() -> None:
    write_settings('system_prompt = "Say \\"🦙\\"\\u202e\\n"\n[sampling]\ntop_k = 40\n')
    before = load_settings(paths.settings_file(), {})
    printed = run().stdout
    write_settings(printed)
    after = load_settings(paths.settings_file(), {})
    assert (after, after.given) == (before, before.given)
    assert run().stdout == printed


def test_what_the_command_line_says_is_told_as_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUI_LLAMA_THREADS", "3")
    lines = run(before=("-t", "5", "--temp", "0", "--seed", "-1", "--no-loop-guard")).stdout.splitlines()
    assert "threads = 5  # from the command line; the default is 0" in lines
    assert "temperature = 0.0  # from the command line; the default is 0.8" in lines
    assert "seed = -1  # from the command line; the default is -1" in lines
    assert 'loop_guard = "off"  # from the command line; the default is "on"' in lines


def test_what_the_terminal_would_obey_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUI_LLAMA_THEME", "\x1b[31mred")
    assert "\x1b" not in run().stdout


def test_a_settings_file_that_is_broken_is_an_error_with_a_hint() -> None:
    write_settings("threads = many\n")
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not valid TOML" in result.stderr and "hint: " in result.stderr


def test_the_place_of_the_file_is_told_whatever_is_in_it() -> None:
    write_settings("threads = many\n")
    result = run("--path")
    assert (result.exit_code, result.stdout) == (0, f"{paths.settings_file()}\n")
