"""Where keys come from, and which are refused."""

from pathlib import Path

import pytest

from tui_llama.errors import UserError
from tui_llama.serve.http.keys import KEY_VARIABLE, read_keys


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    file = folder / "keys"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_keys_of_the_variable_and_the_file_all_count(tmp_path: Path) -> None:
    file = key_file(tmp_path, b"# of the editor\r\none\r\n\n  two  \nfrom-variable\n")

    assert read_keys({KEY_VARIABLE: " from-variable "}, file) == ("from-variable", "one", "two")


@pytest.mark.parametrize("value", ["", "  "])
def test_without_any_there_is_none(value: str) -> None:
    assert read_keys({}, None) == read_keys({KEY_VARIABLE: value}, None) == ()


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"one\n", 0o640, "other users may read the keys"),
        (b"one\n", 0o604, "other users may read the keys"),
        (b"\n# nothing\n", 0o600, "there is no key in it"),
        (b"one two\n", 0o600, "characters that a header cannot have"),
        ("schlüssel\n".encode(), 0o600, "characters that a header cannot have"),
        (b"\xff\n", 0o600, "characters that a header cannot have"),
        (b"y" * 2000, 0o600, "or is too long"),
        (b"y\n" * 40_000, 0o600, "too large for a file of keys"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(content: bytes, mode: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as refused:
        read_keys({}, key_file(tmp_path, content, mode))

    assert refused.value.hint


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keys: the keys cannot be read: No such file"):
        read_keys({}, tmp_path / "keys")


def test_no_message_repeats_a_key() -> None:
    with pytest.raises(UserError) as refused:
        read_keys({KEY_VARIABLE: "my secret"}, None)

    assert "secret" not in str(refused.value) + refused.value.hint
