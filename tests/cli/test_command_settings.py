"""What the command line says goes before the settings file and the environment."""

import pytest

from tui_llama import paths
from tui_llama.cli.command_settings import settings_from
from tui_llama.errors import SettingsError
from tui_llama.settings import Settings


def write_settings(text: str) -> None:
    paths.settings_file().parent.mkdir(parents=True)
    paths.settings_file().write_text(text)


def test_without_any_options_the_defaults_hold() -> None:
    assert settings_from({}) == Settings()


def test_an_option_goes_before_the_variable_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings("context_size = 100\nthreads = 1\nbatch_tokens = 10\n")
    monkeypatch.setenv("TUI_LLAMA_CONTEXT_SIZE", "200")
    monkeypatch.setenv("TUI_LLAMA_THREADS", "2")
    settings = settings_from({"context_size": 300})
    assert (settings.context_size, settings.threads, settings.batch_tokens) == (300, 2, 10)


def test_sampling_is_replaced_field_by_field() -> None:
    write_settings("[sampling]\ntemperature = 0.1\ntop_k = 3\n")
    sampling = settings_from({"temperature": 0.5}).sampling
    assert (sampling.temperature, sampling.top_k) == (0.5, 3)


def test_minus_one_is_another_seed_each_time_and_no_limit() -> None:
    write_settings("max_tokens = 9\n[sampling]\nseed = 7\n")
    settings = settings_from({"seed": -1, "max_tokens": -1})
    assert (settings.sampling.seed, settings.max_tokens) == (None, None)


def test_minus_one_is_a_number_for_the_others() -> None:
    assert settings_from({"keep_tokens": -1}).keep_tokens == -1


def test_a_group_means_that_the_context_is_extended() -> None:
    settings = settings_from({"group_size": 8, "context_overflow": "shift"})
    assert (settings.group_size, settings.context_overflow) == (8, "extend")


def test_a_group_of_one_is_none() -> None:
    assert settings_from({"group_size": 1}).context_overflow == Settings().context_overflow


def test_what_is_no_setting_is_passed_over() -> None:
    assert settings_from({"model": "x.gguf", "stop": ("a",)}) == Settings()


def test_a_file_that_makes_no_sense_is_an_error() -> None:
    write_settings("context_size = 'large'\n")
    with pytest.raises(SettingsError, match="context_size"):
        settings_from({})
