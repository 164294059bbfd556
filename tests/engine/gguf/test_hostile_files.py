"""Whatever the bytes: a file is read or refused, with little memory, and nothing else happens."""

import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.gguf.small_files import F32, ONE_OF_EACH, Q8_0
from tests.fakes.gguf_bytes import array, entry, gguf_bytes, scalar, string, tensor
from tests.scale import scaled
from tui_llama.engine.gguf.file import StringArray, ValueType, open_gguf
from tui_llama.errors import ModelFileError

HUGE = (2**64 - 1, 2**63, 2**63 - 1, 2**62, 2**61, 2**40, 2**32, 2**31)


def short_killers() -> list[bytes]:
    """Files of a few dozen bytes that ask for more than any machine has."""
    killers = [gguf_bytes(tensor_count=count, entry_count=0) for count in (65536, 2**30, 2**62)]
    killers += [gguf_bytes(tensor_count=0, entry_count=count) for count in (65536, 2**30, 2**62)]
    for size in HUGE:
        killers.append(gguf_bytes([struct.pack("<Q", size)]))
        killers.append(gguf_bytes([struct.pack("<Q", size) + bytes(17)]))
        killers.append(gguf_bytes([entry("k", ValueType.STRING, struct.pack("<Q", size))]))
        for kind in ValueType:
            killers.append(gguf_bytes([entry("k", ValueType.ARRAY, struct.pack("<IQ", kind, size))]))
        killers.append(gguf_bytes(tensors=[tensor("t", (size,))]))
    return killers


def test_short_files_that_ask_for_much_get_nothing(write: Callable[[bytes], Path]) -> None:
    for content in short_killers():
        path = write(content)
        tracemalloc.start()
        with pytest.raises(ModelFileError):
            open_gguf(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 1 << 18


def use_everything(path: Path) -> bool:
    """Whether a file is sound, after reading all that it holds; only `ModelFileError` may come out."""
    try:
        with open_gguf(path) as file:
            for value in file.metadata.values():
                assert not isinstance(value, StringArray) or len(list(value)) == len(value)
            for name, info in file.tensors.items():
                assert len(file.tensor_bytes(name)) == info.size_bytes
            return True
    except ModelFileError as error:
        assert error.hint
        return False


def sound_file() -> bytes:
    """About a kilobyte with one of everything."""
    entries = [
        scalar("general.architecture", ValueType.STRING, "llama"),
        scalar("general.alignment", ValueType.UINT32, 32),
        *ONE_OF_EACH,
        array("tokenizer.ggml.tokens", ValueType.STRING, ["<unk>", "a", "bb", ""]),
        array("bools", ValueType.BOOL, [0, 1]),
        scalar("split.count", ValueType.UINT16, 1),
    ]
    rows = [
        tensor("a", (8,)),
        tensor("b", (32, 2), Q8_0, 32),
        tensor("c", (), F32, 32 + 96),
        tensor("d", (2, 2, 2, 1), 1, 32 + 96 + 32),
    ]
    return gguf_bytes(entries, rows, bytes(32 + 96 + 32 + 32))


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to three changes of the kinds that files suffer or attackers make."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed))
        kind = rng.randrange(6)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 8] = struct.pack("<Q", rng.choice((0, 1, 9, *HUGE)))
        elif kind == 2:
            changed[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 8, 9, 13, 2**31, 2**32 - 1)))
        elif kind == 3:
            del changed[at + 1 : at + rng.randint(2, 40)]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.randint(1, 40)]
        else:
            changed = changed[: at + 1]
    return bytes(changed)


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(20260)
    content, path = sound_file(), tmp_path / "damaged.gguf"
    path.write_bytes(content)
    assert use_everything(path)
    sound = 0
    count = scaled(3_000, 8_000)
    for _ in range(count):
        path.write_bytes(mutated(content, rng))
        sound += use_everything(path)
    assert 0 < sound < count // 2


hostile_numbers = st.one_of(st.integers(0, 64), st.sampled_from(HUGE), st.integers(0, 2**64 - 1))
hostile_strings = st.builds(string, st.binary(max_size=70), st.none() | hostile_numbers)
hostile_types = st.integers(0, 14) | st.integers(0, 2**32 - 1)
hostile_arrays = st.builds(
    lambda kind, count, payload: struct.pack("<IQ", kind, count) + payload,
    hostile_types,
    hostile_numbers,
    st.binary(max_size=40) | st.lists(hostile_strings, max_size=4).map(b"".join),
)
hostile_entries = st.builds(
    lambda key, kind, payload: key + struct.pack("<I", kind) + payload,
    hostile_strings,
    hostile_types,
    st.binary(max_size=16) | hostile_strings | hostile_arrays,
)
hostile_tensors = st.builds(
    lambda name, count, sizes, kind, offset: (
        name
        + struct.pack("<I", len(sizes) if count is None else count)
        + b"".join(struct.pack("<Q", size) for size in sizes)
        + struct.pack("<IQ", kind, offset)
    ),
    hostile_strings,
    st.none() | st.integers(0, 2**32 - 1),
    st.lists(hostile_numbers, max_size=5),
    st.integers(0, 45) | st.integers(0, 2**32 - 1),
    hostile_numbers,
)


@pytest.mark.slow
@given(
    entries=st.lists(hostile_entries, max_size=4),
    tensors=st.lists(hostile_tensors, max_size=4),
    data=st.binary(max_size=100),
    wrong_count=st.none() | st.integers(-(2**63), 2**63 - 1),
)
@settings(
    max_examples=scaled(100, 2000), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_hostile_headers_are_read_or_refused(
    tmp_path: Path, entries: list[bytes], tensors: list[bytes], data: bytes, wrong_count: int | None
) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(gguf_bytes(entries, tensors, data, entry_count=wrong_count))
    is_sound = use_everything(path)
    assert not (is_sound and wrong_count is not None and wrong_count < 0)
