"""The options are the settings' declarations: the same names, ranges and words on the command line as elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tui_llama.bench.settings import BENCH_SETTINGS
from tui_llama.cli.main import command_line
from tui_llama.cli.options import SeveralOf, ValueOf
from tui_llama.declarations import OneOf, Range, Setting
from tui_llama.errors import SettingsError
from tui_llama.serve.settings import SERVE_SETTINGS
from tui_llama.settings import MOST_THREADS, SETTINGS
from tui_llama.settings_sources import load_settings

OptionOf = tuple[tuple[str, ...], click.Option]


def every_option(command: click.Command = command_line, path: tuple[str, ...] = ()) -> Iterator[OptionOf]:
    """All options of all commands, each with the words that name its command."""
    yield from ((path, option) for option in command.params if isinstance(option, click.Option))
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from every_option(inner, (*path, name))


def declared_options() -> list[OptionOf]:
    return [(path, option) for path, option in every_option() if isinstance(option.type, ValueOf | SeveralOf)]


def named(case: OptionOf) -> str:
    return " ".join((*case[0], case[1].opts[0]))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, arguments)


def setting_of(option: click.Option) -> Setting:
    declared = {**{setting.key: setting for setting in SETTINGS.values()}, **BENCH_SETTINGS, **SERVE_SETTINGS}
    assert option.name is not None
    return declared[option.name]


def beyond(setting: Setting) -> Iterator[str]:
    """Texts that no value of a setting may have."""
    if isinstance(setting.range, OneOf):
        yield from ("nonsense", "f16 ", "\x1b[31m")
    if not isinstance(setting.range, Range):
        return
    yield from ("inf", "-inf", "nan", "1e999", "x", "")
    lowest, highest = setting.range.minimum, setting.range.maximum
    if lowest > -float("inf"):
        yield str(lowest if setting.range.is_open else lowest - (2 if setting.default is None else 1))
    if highest < float("inf"):
        yield str(highest + 1)
    if setting.kind is int:
        yield from ("1e9", "2.5", "100000000000000000000", "-99999999999999999999", "9" * 400, "9" * 5000, str(2**64))


def test_no_command_has_a_number_of_its_own() -> None:
    numeric = (click.types.IntParamType, click.types.FloatParamType)
    assert [named(case) for case in every_option() if isinstance(case[1].type, numeric)] == []
    assert len(declared_options()) > 80


def test_every_declared_option_is_one_of_some_command() -> None:
    offered = {flag for _, option in every_option() for flag in option.opts}
    for setting in (*SETTINGS.values(), *BENCH_SETTINGS.values(), *SERVE_SETTINGS.values()):
        assert offered.issuperset(setting.flags)
        assert offered.issuperset(switch.flag for switch in setting.switches)


@pytest.mark.parametrize("case", declared_options(), ids=named)
def test_what_makes_no_sense_is_wrong_usage_with_the_range_in_words(case: OptionOf) -> None:
    path, option = case
    setting = setting_of(option)
    for text in beyond(setting):
        flag = option.opts[-1]
        result = run(*path, f"{flag}={text}" if flag.startswith("--") else f"{flag}{text}")
        assert (result.exit_code, result.stdout) == (2, ""), (text, result)
        assert f"It must be {setting.allowed}." in " ".join(result.stderr.split())
        assert len(result.stderr) < 500


@pytest.mark.parametrize("case", declared_options(), ids=named)
def test_the_help_has_the_explanation_and_the_range(case: OptionOf) -> None:
    path, option = case
    setting = setting_of(option)
    shown = " ".join(run(*path, "--help").stdout.split())
    assert setting.explanation in shown
    if isinstance(setting.range, Range):
        assert setting.allowed_range in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("--threads", "5000"),
        ("-t", "9999"),
        ("ask", "hi", "-t", "9999"),
        ("ask", "hi", "--temp", "inf"),
        ("--temp", "nan"),
        ("--ctx", "100000000000000000000"),
        ("complete", "a", "--seed", "99999999999999"),
        ("complete", "a", "--top-k", "1e99"),
        ("complete", "a", "--repeat-penalty", "inf"),
        ("complete", "a", "-n", "99999999999999999999"),
        ("bench", "-t", "1,9999"),
        ("bench", "-p", "1,-1"),
        ("bench", "-n", "nan"),
        ("bench", "-d", "0,99999999999"),
        ("bench", "--batch", "512,0"),
        ("bench", "--cache-type", "f16,f8"),
        ("bench", "-r", "0"),
        ("cache", "show", "--prompt-cache-mib", "99999999999"),
        ("state", "export", "out", "--text", "a", "-tb", "1025"),
        ("complete", "a", "--presence-penalty", "1e309"),
        ("complete", "a", "--draft-max", "64"),
    ],
    ids=" ".join,
)
def test_such_a_command_line_is_refused_at_once(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "It must be " in result.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [("threads", "5000"), ("context_size", "100000000000000000000"), ("sampling.temperature", "inf"), ("poll", "-1")],
)
def test_file_variable_and_option_refuse_in_the_same_words(name: str, text: str, tmp_path: Path) -> None:
    setting = SETTINGS[name]
    section, _, key = name.rpartition(".")
    file = tmp_path / "settings.toml"
    file.write_text(f"[{section}]\n{key} = {text}\n" if section else f"{key} = {text}\n")
    told = []
    for source, environment in ((f"{file}: {name}", {}), (setting.variable, {setting.variable: text})):
        with pytest.raises(SettingsError) as caught:
            load_settings(file if not environment else tmp_path / "none", environment)
        told.append(f"{caught.value} {caught.value.hint}".removeprefix(f"{source}: ").replace("allowed ", "allowed. "))
    shown = " ".join(run(f"{setting.flags[-1]}={text}").stderr.split())
    assert told[0] == told[1] == f"{text} is not allowed. It must be {setting.allowed}."
    assert shown.endswith(told[0])


def test_as_many_threads_as_the_largest_machines_have_are_allowed() -> None:
    assert SETTINGS["threads"].parse(str(MOST_THREADS), "here") == MOST_THREADS
    assert MOST_THREADS >= 512


@pytest.mark.parametrize("text", ["0", "-1", "7"])
def test_what_is_allowed_comes_out_as_it_was_written(text: str) -> None:
    assert ValueOf(SETTINGS["max_tokens"]).convert(text, None, None) == int(text)
    assert SeveralOf(BENCH_SETTINGS["prompts"]).convert("1,2", None, None) == (1, 2)
