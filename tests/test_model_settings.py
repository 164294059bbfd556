"""A model may have settings of its own, in a section of the settings file by the name of its file."""

from pathlib import Path

import pytest

from tui_llama.chosen_sampling import SamplingSource, choose_sampling
from tui_llama.declarations import Group
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.errors import SettingsError
from tui_llama.settings import SETTINGS, Settings, model_name
from tui_llama.settings_sources import (
    Source,
    describe_settings,
    examine_models,
    load_models,
    load_settings,
    load_values,
    settings_of,
    with_options,
)

CONTENT = """context_size = 4096
[models."small.gguf"]
context_size = 2048
[models."small.gguf".sampling]
temperature = 0.3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(CONTENT)
    return path


def test_a_model_has_its_own_settings_and_others_those_of_all(file: Path) -> None:
    settings = load_settings(file, {})

    assert settings.load_request("/models/small.gguf").context_size == 2048
    assert settings.load_request("/models/other.gguf").context_size == 4096
    assert settings.for_model("/x/small.gguf").sampling.temperature == 0.3


def test_the_sampling_of_a_model_counts_as_chosen_by_the_user(file: Path) -> None:
    chosen = choose_sampling(load_settings(file, {}), ModelFacts("/x/small.gguf", sampling={"temperature": 1.0}))

    assert chosen.sampling.temperature == 0.3
    assert chosen.sources["temperature"] is SamplingSource.USER


def test_variables_and_the_command_line_win_over_the_section_of_a_model(file: Path) -> None:
    by_variable = load_settings(file, {"TUI_LLAMA_CONTEXT_SIZE": "1024"})
    values = with_options(load_values(file, {}), {"temperature": 0.9})
    by_option = settings_of(values, models=load_models(file))

    assert by_variable.load_request("/x/small.gguf").context_size == 1024
    assert by_option.for_model("/x/small.gguf").sampling.temperature == 0.9
    assert by_option.for_model("/x/small.gguf").context_size == 2048


def test_the_page_of_settings_says_the_same_when_it_is_the_file(file: Path) -> None:
    settings = load_settings(file, {})
    file.write_text(describe_settings(load_values(file, {}), models=load_models(file)))

    assert load_settings(file, {}) == settings


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("models = 3", "models must be a section"),
        ("[models]\na = 3", 'models."a" must be a section'),
        ('[models."a"]\ntheme = "nord"', "theme cannot be set for one model"),
        ('[models."a"]\ncontext_size = "big"', "context_size: 'big' is not a whole number"),
        ('[models."a"]\ncontext_siz = 3', "there is no setting 'context_siz'"),
    ],
)
def test_what_is_wrong_in_the_section_of_a_model_is_refused(file: Path, content: str, words: str) -> None:
    file.write_text(content)

    with pytest.raises(SettingsError, match=words):
        load_settings(file, {})
    assert len(examine_models(file)[1]) == 1


def test_the_model_of_a_server_goes_by_its_name_there() -> None:
    assert model_name("http://127.0.0.1:8080/v1#qwen3-8b") == "qwen3-8b"
    assert model_name("/models/a.gguf") == "a.gguf"
    assert Settings().for_model("/models/a.gguf") == Settings()


def test_every_setting_of_sampling_can_be_set_for_a_model() -> None:
    sampling = [setting for setting in SETTINGS.values() if setting.name.startswith("sampling.")]

    assert {setting.group for setting in sampling} == {Group.SAMPLING}
    assert all(setting.per_model for setting in sampling)
    assert SETTINGS["theme"].group is Group.LOOKS
    assert all(each.source is Source.DEFAULT for each in load_values(Path("/nowhere/settings.toml"), {}))
