"""Strings of a header, found in compiled code and by the plain twin."""

import pytest

from tui_llama.engine.gguf import compiled_strings, header


def strings(*lengths: int) -> bytes:
    """Strings as in a file, each with the length given and as many bytes as there is room for."""
    return b"".join(length.to_bytes(8, "little") + b"x" * min(length, 20) for length in lengths)


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (strings(3, 0, 20, 1), 4),
        (strings(3, 0, 20, 1), 2),
        (strings(), 0),
        (strings(3)[:-1], 1),
        (strings(3, 4)[:-6], 2),
        (strings(3, 1 << 30, 4), 3),
        (strings(3, (1 << 64) - 1), 2),
        (strings(3, (1 << 63) - 8, 5), 3),
    ],
)
def test_strings_are_found_as_by_the_plain_twin(content: bytes, count: int) -> None:
    limit = len(content)
    starts, end = compiled_strings.find_strings(content, 0, limit, count)
    expected, expected_end = header.find_strings(content, 0, limit, count)
    assert starts.tolist() == expected.tolist()
    assert end == expected_end or min(end, expected_end) > limit
