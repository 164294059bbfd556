"""Addresses of servers and of their models."""

import pytest

from tui_llama.errors import SettingsError
from tui_llama.servers.address import RemoteModel, base_url, is_server_address, remote_model


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        (" http://127.0.0.1:8080/v1/ ", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/chat/completions", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/models", "http://127.0.0.1:8080/v1"),
        ("HTTPS://Example.ORG/api/openai", "https://example.org/api/openai"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_a_url_is_taken_as_people_type_it(typed: str, url: str) -> None:
    assert base_url(typed) == url
    assert base_url(url) == url


@pytest.mark.parametrize(
    "typed",
    [
        "", "127.0.0.1:8080", "ftp://example.org", "http://", "http://exa mple.org", "http://example.org:99999",
        "http://example.org/?key=1", "http://[::1", "http://me:secret@example.org/v1",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_server_is_refused(typed: str) -> None:
    with pytest.raises(SettingsError):
        base_url(typed)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as refused:
        base_url("http://me:secret@example.org/v1")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["qwen3", "/models/a b.gguf", "org/model:Q4_K_M", "a#b", "größer", ""])
def test_the_address_of_a_model_comes_back(name: str) -> None:
    model = RemoteModel("http://127.0.0.1:8080/v1", name)
    assert remote_model(str(model)) == model


def test_files_are_no_servers() -> None:
    assert not is_server_address("/models/http.gguf")
    assert is_server_address("HTTP://127.0.0.1:8080")
