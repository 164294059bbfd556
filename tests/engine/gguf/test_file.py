"""What the reader of model files reads, and what it refuses: nearly everything."""

import errno
import os
import random
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.gguf_bytes import array, entry, gguf_bytes, scalar, string, tensor
from tests.fakes.tiny_model import make_tiny_model
from tests.scale import scaled
from tui_llama.engine.gguf import header, header_cursor
from tui_llama.engine.gguf.file import TENSOR_TYPES, GgufFile, SkippedValue, StringArray, ValueType, open_gguf
from tui_llama.errors import CallerError, ModelFileError

F32, Q8_0 = 0, 8
FLOATS_32 = np.arange(8, dtype="<f4").tobytes()  # one padded tensor: 32 bytes

Refusal = Callable[[bytes], ModelFileError]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write_bytes(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return write_bytes


@pytest.fixture
def opened(write: Callable[[bytes], Path]) -> Callable[[bytes], GgufFile]:
    return lambda content: open_gguf(write(content))


@pytest.fixture
def refusal(opened: Callable[[bytes], GgufFile]) -> Refusal:
    """Opens bytes that must be refused and gives the error, which must say what to try."""

    def refuse(content: bytes) -> ModelFileError:
        with pytest.raises(ModelFileError) as raised:
            opened(content)
        assert raised.value.hint
        assert "\n" not in str(raised.value)
        return raised.value

    return refuse


def one_tensor(alignment: int = 32, **row: Any) -> bytes:
    """A file of one F32 tensor of eight elements, with what is given instead of the right row."""
    return gguf_bytes(
        [scalar("general.alignment", ValueType.UINT32, alignment)],
        [tensor(**{"name": "t", "shape": (8,), **row})],
        FLOATS_32,
        alignment=alignment,
    )


# --- what is read ---------------------------------------------------------------------------------


def test_a_file_without_tensors_and_metadata_is_sound(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes()) as file:
        assert dict(file.metadata) == {}
        assert dict(file.tensors) == {}
        assert file.alignment == 32


@pytest.mark.parametrize("version", [2, 3])
def test_versions_2_and_3_are_read(opened: Callable[[bytes], GgufFile], version: int) -> None:
    with opened(gguf_bytes(version=version)) as file:
        assert file.version == version


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (ValueType.UINT8, 255),
        (ValueType.INT8, -128),
        (ValueType.UINT16, 65535),
        (ValueType.INT16, -32768),
        (ValueType.UINT32, 2**32 - 1),
        (ValueType.INT32, -(2**31)),
        (ValueType.UINT64, 2**64 - 1),
        (ValueType.INT64, -(2**63)),
        (ValueType.FLOAT32, 1.5),
        (ValueType.FLOAT64, 0.1),
        (ValueType.BOOL, True),
        (ValueType.STRING, "Grüße"),
    ],
)
def test_a_scalar_comes_out_as_it_went_in(
    opened: Callable[[bytes], GgufFile], kind: ValueType, content: float | str
) -> None:
    with opened(gguf_bytes([scalar("key", kind, content)])) as file:
        assert file.metadata["key"] == content
        assert type(file.metadata["key"]) is type(content)
        assert file.metadata_types["key"] is kind


def test_an_array_of_numbers_keeps_its_element_type(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes([array("key", ValueType.INT16, [1, -2, 3])])) as file:
        values = file.get_int_array("key")
        assert values.dtype == np.int16
        assert values.tolist() == [1, -2, 3]


def test_arrays_of_metadata_cannot_be_written_to(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes([array("a", ValueType.FLOAT32, [1]), array("b", ValueType.BOOL, [1])])) as file:
        for value in file.metadata.values():
            assert isinstance(value, np.ndarray)
            assert not value.flags.writeable


def test_an_array_of_strings_is_a_sequence(opened: Callable[[bytes], GgufFile]) -> None:
    words = ["", "one", "zwölf", "x" * 300, "last"]
    with opened(gguf_bytes([array("key", ValueType.STRING, words), scalar("z", ValueType.UINT8, 7)])) as file:
        strings = file.get_strings("key")

    assert list(strings) == words
    assert [strings[index] for index in range(-5, 5)] == words + words
    assert strings[1:4:2] == words[1:4:2]
    assert strings.raw_list() == [word.encode() for word in words]
    assert strings.joined(ord("|")) == "|".join(words).encode()
    assert "zwölf" in strings
    assert file.get_int("z") == 7


def test_an_array_of_strings_ends_where_it_ends(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes([array("key", ValueType.STRING, ["a"])])) as file, pytest.raises(IndexError):
        file.get_strings("key")[1]


@pytest.mark.parametrize("kind", [ValueType.STRING, ValueType.UINT32, ValueType.BOOL])
def test_an_empty_array_is_read(opened: Callable[[bytes], GgufFile], kind: ValueType) -> None:
    with opened(gguf_bytes([array("key", kind, []), scalar("z", ValueType.UINT8, 7)])) as file:
        value = file.metadata["key"]
        assert isinstance(value, np.ndarray | StringArray)
        assert list(value) == []
        assert file.get_int("z") == 7


def test_bytes_that_are_no_utf8_are_replaced_in_values_but_can_be_had(
    opened: Callable[[bytes], GgufFile],
) -> None:
    entries = [
        scalar("text", ValueType.STRING, b"a\xffb"),
        array("list", ValueType.STRING, [b"\xe2\x96", b"ok"]),
    ]
    with opened(gguf_bytes(entries)) as file:
        assert file.get_str("text") == "a\ufffdb"
        assert list(file.get_strings("list")) == ["\ufffd", "ok"]
        assert file.get_strings("list").raw(0) == b"\xe2\x96"


def test_a_tensor_is_found_with_its_shape_type_and_bytes(opened: Callable[[bytes], GgufFile]) -> None:
    rows = [
        tensor("first", (3,), F32, 0),
        tensor("second", (32, 2), Q8_0, 32),
        tensor("third", (), F32, 32 + 96),
    ]
    blocks = bytes(range(68))
    with opened(gguf_bytes(tensors=rows, data=b"\1" * 12 + bytes(20) + blocks + bytes(28) + b"\2" * 4)) as file:
        second = file.tensors["second"]
        assert (second.shape, second.type_name, second.size_bytes) == ((32, 2), "Q8_0", 68)
        assert list(file.tensors) == ["first", "second", "third"]
        assert file.tensor_bytes("first").tobytes() == b"\1" * 12
        assert file.tensor_bytes("second").tobytes() == blocks
        assert file.tensor_bytes("third").tobytes() == b"\2" * 4


def test_tensor_bytes_outlive_the_file(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(one_tensor()) as file:
        values = file.tensor_bytes("t")
    assert values.tobytes() == FLOATS_32


def test_a_part_of_a_tensor_is_read_on_its_own(opened: Callable[[bytes], GgufFile]) -> None:
    out = np.zeros(8, np.uint8)
    with opened(one_tensor()) as file:
        file.read_tensor("t", 4, out)
        assert out.tobytes() == FLOATS_32[4:12]
        with pytest.raises(CallerError, match="no 8 bytes from 28 on"):
            file.read_tensor("t", 28, out)


def test_a_dimension_of_0_makes_an_empty_tensor(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(one_tensor(shape=(8, 0, 5))) as file:
        assert file.tensor_bytes("t").shape == (0,)


@pytest.mark.parametrize(
    ("shape", "meant"),
    [((8, 1), (8,)), ((8, 1, 1, 1), (8,)), ((2, 4, 1), (2, 4)), ((1, 8), (1, 8)), ((8, 0, 1), (8, 0))],
)
def test_dimensions_of_1_behind_the_others_say_nothing(
    opened: Callable[[bytes], GgufFile], shape: tuple[int, ...], meant: tuple[int, ...]
) -> None:
    with opened(one_tensor(shape=shape)) as file:
        assert file.tensors["t"].shape == meant


@pytest.mark.parametrize("alignment", [1, 8, 32, 64, 4096, 1 << 21])
def test_an_alignment_of_the_files_own_is_kept(opened: Callable[[bytes], GgufFile], alignment: int) -> None:
    with opened(one_tensor(alignment)) as file:
        assert file.alignment == alignment
        assert file.tensors["t"].offset_bytes % alignment == 0
        assert file.tensor_bytes("t").tobytes() == FLOATS_32


@pytest.mark.parametrize("padding", [0, 7, 19, 20, 100])
def test_the_last_tensors_padding_may_be_missing_and_more_may_follow(
    opened: Callable[[bytes], GgufFile], padding: int
) -> None:
    with opened(gguf_bytes(tensors=[tensor("t", (3,))], data=b"\1" * 12 + bytes(padding))) as file:
        assert file.tensor_bytes("t").tobytes() == b"\1" * 12


def test_the_headers_bytes_are_everything_before_the_padding(opened: Callable[[bytes], GgufFile]) -> None:
    content = one_tensor()
    with opened(content) as file:
        header_bytes = b"".join(file.header_chunks())
    assert content.startswith(header_bytes)
    assert header_bytes.endswith(struct.pack("<IQ", F32, 0))


def test_a_closed_file_keeps_its_metadata_but_gives_out_no_data(opened: Callable[[bytes], GgufFile]) -> None:
    file = opened(one_tensor())
    file.close()
    file.close()
    assert file.get_int("general.alignment") == 32
    with pytest.raises(CallerError, match="closed"):
        file.tensor_bytes("t")


# --- typed access ---------------------------------------------------------------------------------


def access_of_every_kind(file: GgufFile) -> dict[str, Callable[..., Any]]:
    return {
        "int": file.get_int,
        "float": file.get_float,
        "str": file.get_str,
        "bool": file.get_bool,
        "strings": file.get_strings,
        "ints": file.get_int_array,
        "floats": file.get_float_array,
    }


ONE_OF_EACH = [
    scalar("int", ValueType.UINT32, 1),
    scalar("float", ValueType.FLOAT32, 1.0),
    scalar("str", ValueType.STRING, "1"),
    scalar("bool", ValueType.BOOL, 1),
    array("strings", ValueType.STRING, ["1"]),
    array("ints", ValueType.INT32, [1]),
    array("floats", ValueType.FLOAT32, [1.0]),
]


def test_each_kind_of_access_takes_its_own_type_and_refuses_every_other(
    opened: Callable[[bytes], GgufFile],
) -> None:
    with opened(gguf_bytes(ONE_OF_EACH)) as file:
        for wanted, access in access_of_every_kind(file).items():
            for key in file.metadata:
                if key == wanted:
                    assert access(key) is not None
                else:
                    with pytest.raises(ModelFileError, match=f"'{key}' should be"):
                        access(key)


def test_a_missing_key_is_named_unless_there_is_a_default(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes()) as file:
        for access in access_of_every_kind(file).values():
            with pytest.raises(ModelFileError, match=r"^model\.gguf: metadata key 'no\.such' is missing"):
                access("no.such")
            assert access("no.such", None) is None


def test_a_missing_tensor_is_named(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes()) as file, pytest.raises(ModelFileError, match=r"tensor 'output\.weight' is missing"):
        file.tensor_bytes("output.weight")


def test_what_an_error_quotes_from_the_file_is_short_and_harmless(
    opened: Callable[[bytes], GgufFile],
) -> None:
    text = scalar("key", ValueType.STRING, "\x1b]52;c;AAAA\x07\u202e" * 1000)
    with opened(gguf_bytes([text])) as file, pytest.raises(ModelFileError) as raised:
        file.get_int("key")
    assert str(raised.value).isascii()
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


# --- files that are none --------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no file"):
        open_gguf(tmp_path / "none.gguf")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder"):
        open_gguf(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(ModelFileError, match="not a regular file"):
        open_gguf(tmp_path / "pipe.gguf")


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(ModelFileError):
        open_gguf("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(write: Callable[[bytes], Path]) -> None:
    path = write(gguf_bytes())
    path.chmod(0)
    with pytest.raises(ModelFileError, match="no permission to read"):
        open_gguf(path)


def test_an_empty_file_is_refused(refusal: Refusal) -> None:
    assert "is empty" in str(refusal(b""))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"tjgg" + bytes(100), "older GGML format"),
        (b"PK\x03\x04" + bytes(100), "ZIP archive"),
        (b"FUGG" + bytes(100), "reverse order"),
        (b"\x1b[2J" + bytes(100), r"b'\x1b[2J'"),
        (gguf_bytes(magic=b"GGUf"), "not a GGUF file"),
    ],
)
def test_a_file_of_another_format_is_named(refusal: Refusal, content: bytes, message: str) -> None:
    assert message in str(refusal(content))


# --- the header -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 4, 2**32 - 1])
def test_other_versions_are_refused(refusal: Refusal, version: int) -> None:
    assert f"version {version} is not supported" in str(refusal(gguf_bytes(version=version)))


@pytest.mark.parametrize("version", [2, 3])
def test_a_big_endian_file_is_recognised(refusal: Refusal, version: int) -> None:
    content = b"GGUF" + struct.pack(">Iqq", version, 0, 0)
    assert "big-endian" in str(refusal(content))


@pytest.mark.parametrize("count", [-1, -(2**63), 2**63 - 1, 2**31])
def test_absurd_counts_are_refused(refusal: Refusal, count: int) -> None:
    assert "tensors are not allowed" in str(refusal(gguf_bytes(tensor_count=count)))
    assert "metadata entries are not allowed" in str(refusal(gguf_bytes(entry_count=count)))


def test_counts_that_the_file_has_no_room_for_are_refused(refusal: Refusal) -> None:
    assert "the file ends" in str(refusal(gguf_bytes(tensor_count=1)))
    assert "the file ends" in str(refusal(gguf_bytes(entry_count=1)))


def test_every_cut_of_a_sound_file_is_refused(refusal: Refusal) -> None:
    whole = gguf_bytes([*ONE_OF_EACH], [tensor("t", (8,)), tensor("u", (2, 4), F32, 32)], FLOATS_32 * 2)
    for length in range(len(whole)):
        assert str(refusal(whole[:length]))


# --- metadata -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**32, 2**24 + 1, 65536], ids=lambda length: f"{length:#x}")
def test_a_key_of_absurd_length_is_refused(refusal: Refusal, length: int) -> None:
    assert "length" in str(refusal(gguf_bytes([string("key", length) + bytes(20)])))


def test_an_empty_key_is_refused(refusal: Refusal) -> None:
    assert "a metadata key is empty" in str(refusal(gguf_bytes([scalar("", ValueType.UINT64, 1)])))


def test_keys_that_are_no_utf8_are_read_and_told_apart(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes([scalar(b"\xff", ValueType.UINT64, 1), scalar(b"\xfe", ValueType.UINT64, 2)])) as file:
        assert list(file.metadata.values()) == [1, 2]


@pytest.mark.parametrize("kind", [13, 2**31, 2**32 - 1])
def test_an_unknown_type_is_refused(refusal: Refusal, kind: int) -> None:
    assert f"'key' has the unknown type {kind}" in str(refusal(gguf_bytes([entry("key", kind, bytes(8))])))
    head = struct.pack("<IQ", kind, 0)
    assert "unknown type" in str(refusal(gguf_bytes([entry("key", ValueType.ARRAY, head)])))


def test_a_key_that_appears_twice_is_refused(refusal: Refusal) -> None:
    key = scalar("key", ValueType.UINT8, 1)
    assert "'key' appears twice" in str(refusal(gguf_bytes([key, key])))


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**32, 100])
def test_a_string_longer_than_the_file_is_refused(refusal: Refusal, length: int) -> None:
    text = entry("key", ValueType.STRING, string("text", length))
    assert "'key'" in str(refusal(gguf_bytes([text])))


@pytest.mark.parametrize("kind", list(ValueType))
@pytest.mark.parametrize("count", [2**64 - 1, 2**63, 2**61, 2**60 + 1, 2**32, 1000])
def test_an_array_longer_than_the_file_is_refused(refusal: Refusal, kind: ValueType, count: int) -> None:
    head = struct.pack("<IQ", kind, count)
    assert "'key'" in str(refusal(gguf_bytes([entry("key", ValueType.ARRAY, head + bytes(100))])))


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("length", [2**64 - 1, 2**64 - 8, 2**63, 2**32, 100])
def test_an_array_of_strings_with_one_longer_than_the_file_is_refused(
    refusal: Refusal, position: int, length: int
) -> None:
    strings = [string("a"), string("b"), string("c")]
    strings[position] = string("x", length)
    head = struct.pack("<IQ", ValueType.STRING, 3)
    error = refusal(gguf_bytes([entry("key", ValueType.ARRAY, head + b"".join(strings))]))
    assert "'key' ends after the end of the file" in str(error)


def test_more_strings_than_any_vocabulary_has_are_refused(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "MAX_ARRAY_STRINGS", 5)
    arrays = [array("a", ValueType.STRING, ["x"] * 3), array("b", ValueType.STRING, ["x"] * 3)]
    assert "'b' has 3 strings" in str(refusal(gguf_bytes(arrays)))


def test_keys_of_absurd_length_together_are_refused(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "MAX_KEPT_BYTES", 1000)
    content = gguf_bytes([scalar(f"{number:0200}", ValueType.UINT8, 1) for number in range(6)])
    assert "longer than 1000 bytes" in str(refusal(content))


LONG = header.MAX_UNASKED_BYTES + 1


@pytest.mark.parametrize(
    "value",
    [
        scalar("key", ValueType.STRING, "x" * LONG),
        array("key", ValueType.UINT8, bytes(LONG)),
        array("key", ValueType.BOOL, bytes(LONG)),
        array("key", ValueType.STRING, ["x" * 100] * (LONG // 100 + 1)),
        array("key", ValueType.STRING, ["x" * LONG]),
    ],
    ids=["text", "numbers", "truths", "strings", "one string"],
)
def test_a_long_value_that_nobody_reads_is_skipped(opened: Callable[[bytes], GgufFile], value: bytes) -> None:
    with opened(gguf_bytes([value, scalar("z", ValueType.UINT8, 7)])) as file:
        skipped = file.metadata["key"]
        assert isinstance(skipped, SkippedValue)
        assert skipped.size_bytes >= LONG
        assert file.get_int("z") == 7
        with pytest.raises(ModelFileError, match="bytes, which is too long"):
            file.get_str("key")


def test_a_long_value_that_is_read_is_kept(opened: Callable[[bytes], GgufFile]) -> None:
    template = scalar("tokenizer.chat_template", ValueType.STRING, "x" * LONG)
    tokens = array("tokenizer.ggml.tokens", ValueType.STRING, ["x" * 100] * (LONG // 100 + 1))
    with opened(gguf_bytes([template, tokens])) as file:
        assert file.get_str("tokenizer.chat_template") == "x" * LONG
        assert len(file.get_strings("tokenizer.ggml.tokens")) == LONG // 100 + 1


def test_strings_that_reach_over_several_reads_are_found(
    opened: Callable[[bytes], GgufFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header_cursor, "_CHUNK_BYTES", 64)
    words = ["", "x" * 200, "one", "y" * 56, *map(str, range(100)), "z" * 1000, ""]
    with opened(gguf_bytes([array("key", ValueType.STRING, words), scalar("z", ValueType.UINT8, 7)])) as file:
        assert list(file.get_strings("key")) == words
        assert file.get_int("z") == 7


def test_a_gigabyte_that_nobody_reads_costs_nothing(tmp_path: Path) -> None:
    size = 1 << 30
    beginning = gguf_bytes([entry("key", ValueType.STRING, struct.pack("<Q", size))], entry_count=2)
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as out:
        out.write(beginning)
        out.seek(size, os.SEEK_CUR)
        out.write(scalar("z", ValueType.UINT8, 7))
    tracemalloc.start()
    with open_gguf(path) as file:
        assert file.get_int("z") == 7
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 << 20


def test_what_is_kept_of_a_hostile_vocabulary_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    strings = (struct.pack("<Q", 1000) + bytes(1000)) * (64 << 10)
    head = struct.pack("<IQ", ValueType.STRING, 64 << 10)
    path.write_bytes(gguf_bytes([entry("tokenizer.ggml.tokens", ValueType.ARRAY, head + strings)]))
    tracemalloc.start()
    with open_gguf(path) as file:
        assert isinstance(file.metadata["tokenizer.ggml.tokens"], SkippedValue)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 64 << 20


@pytest.mark.parametrize("depth", [1, 2, 10_000])
def test_nested_arrays_are_refused_however_deep(refusal: Refusal, depth: int) -> None:
    nest = struct.pack("<IQ", ValueType.ARRAY, 1) * depth + struct.pack("<IQ", ValueType.UINT8, 0)
    assert "array of arrays" in str(refusal(gguf_bytes([entry("key", ValueType.ARRAY, nest)])))


@pytest.mark.parametrize("content", [2, 255])
def test_a_truth_value_that_is_neither_0_nor_1_is_true(opened: Callable[[bytes], GgufFile], content: int) -> None:
    with opened(
        gguf_bytes([scalar("one", ValueType.BOOL, content), array("many", ValueType.BOOL, [0, content])])
    ) as file:
        assert file.get_bool("one") is True
        many = file.metadata["many"]
        assert isinstance(many, np.ndarray)
        assert many.tolist() == [False, True]


@pytest.mark.parametrize("alignment", [0, 13, 2**21 + 1, 2**32 - 1])
def test_an_alignment_that_is_no_power_of_two_is_refused(refusal: Refusal, alignment: int) -> None:
    key = scalar("general.alignment", ValueType.UINT32, alignment)
    assert "not a power of two" in str(refusal(gguf_bytes([key])))


@pytest.mark.parametrize("kind", [ValueType.UINT64, ValueType.INT32, ValueType.FLOAT32, ValueType.BOOL])
def test_an_alignment_of_another_type_is_refused(refusal: Refusal, kind: ValueType) -> None:
    key = scalar("general.alignment", kind, 1)
    assert "should be of type uint32" in str(refusal(gguf_bytes([key])))


def test_an_alignment_that_is_an_array_is_refused(refusal: Refusal) -> None:
    key = array("general.alignment", ValueType.UINT32, [32])
    assert "should be of type uint32" in str(refusal(gguf_bytes([key])))


def test_one_part_of_several_is_refused(refusal: Refusal) -> None:
    error = refusal(gguf_bytes([scalar("split.count", ValueType.UINT16, 2)]))
    assert "split into several files" in str(error)


def test_the_only_part_is_read(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes([scalar("split.count", ValueType.UINT16, 1)])) as file:
        assert file.get_int("split.count") == 1


# --- the tensor table -----------------------------------------------------------------------------


def test_a_tensor_name_of_64_bytes_is_refused_and_one_of_63_is_not(
    refusal: Refusal, opened: Callable[[bytes], GgufFile]
) -> None:
    assert "length of 64 bytes" in str(refusal(one_tensor(name="n" * 64)))
    with opened(one_tensor(name="n" * 63)) as file:
        assert list(file.tensors) == ["n" * 63]


def test_a_tensor_name_that_is_empty_is_refused(refusal: Refusal) -> None:
    assert "empty" in str(refusal(one_tensor(name="")))


def test_a_tensor_that_appears_twice_is_refused(refusal: Refusal) -> None:
    rows = [tensor("t", (8,)), tensor("t", (8,), offset=32)]
    assert "'t' appears twice" in str(refusal(gguf_bytes(tensors=rows, data=FLOATS_32 * 2)))


@pytest.mark.parametrize("dimensions", [5, 2**31, 2**32 - 1])
def test_more_than_four_dimensions_are_refused(refusal: Refusal, dimensions: int) -> None:
    assert f"{dimensions} dimensions" in str(refusal(one_tensor(shape=(1,) * 5, dimensions=dimensions)))


@pytest.mark.parametrize(
    "shape",
    [
        (-1,),
        (8, -1),
        (2**63,),
        (2**64 - 32,),
        (2**32, 2**32),
        (2**31, 2**31, 2),
        (2**62, 2**62, 2**62, 2**62),
        (2**40, 2**40, 0),
    ],
)
def test_a_shape_whose_size_wraps_around_is_refused(refusal: Refusal, shape: tuple[int, ...]) -> None:
    assert "'t' has the impossible shape" in str(refusal(one_tensor(shape=shape)))


@pytest.mark.parametrize("shape", [(2**62,), (2**61, 2), (9,), (8, 2), (2**32,)])
def test_a_tensor_larger_than_the_file_is_refused(refusal: Refusal, shape: tuple[int, ...]) -> None:
    assert "bytes" in str(refusal(one_tensor(shape=shape)))


@pytest.mark.parametrize("type_id", [4, 5, 9, 15, 31, 32, 33, 36, 37, 38, 42, 43, 2**32 - 1])
def test_a_tensor_of_an_unknown_type_is_refused(refusal: Refusal, type_id: int) -> None:
    error = refusal(one_tensor(type_id=type_id))
    assert f"'t' has the type {type_id}" in str(error)
    assert "another quantization" in error.hint


@pytest.mark.parametrize("type_id", [key for key, kind in TENSOR_TYPES.items() if kind.block_elements > 1])
def test_rows_that_are_not_whole_blocks_are_refused(refusal: Refusal, type_id: int) -> None:
    size = TENSOR_TYPES[type_id].block_elements
    for shape in [(), (1,), (size - 1,), (size + 1, size), (size // 2, 2)]:
        assert "not a multiple" in str(refusal(one_tensor(shape=shape, type_id=type_id)))


@pytest.mark.parametrize("offset", [1, 8, 31, 32, 64, 2**32, 2**63, 2**64 - 32, 2**64 - 1])
def test_a_tensor_that_is_not_where_the_one_before_it_ends_is_refused(refusal: Refusal, offset: int) -> None:
    assert "'t' should begin at byte" in str(refusal(one_tensor(offset=offset)))


def test_tensors_that_overlap_are_refused(refusal: Refusal) -> None:
    rows = [tensor("t", (16,)), tensor("u", (8,), offset=32)]
    assert "'u' is said to begin" in str(refusal(gguf_bytes(tensors=rows, data=FLOATS_32 * 4)))


def test_an_alignment_that_the_offsets_do_not_follow_is_refused(refusal: Refusal) -> None:
    rows = [tensor("t", (8,)), tensor("u", (8,), offset=32)]
    key = scalar("general.alignment", ValueType.UINT32, 64)
    assert "alignment is 64" in str(refusal(gguf_bytes([key], rows, FLOATS_32 * 4, alignment=64)))


@pytest.mark.parametrize("elements", [8, 3])
def test_a_file_whose_last_tensor_is_one_byte_short_is_refused(refusal: Refusal, elements: int) -> None:
    content = gguf_bytes(tensors=[tensor("t", (elements,))], data=FLOATS_32[: 4 * elements])
    assert "the file" in str(refusal(content[:-1]))


# --- a file that others write --------------------------------------------------------------------


def test_a_tensor_of_a_file_that_was_cut_meanwhile_is_an_error(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(one_tensor()) as file:
        os.truncate(file.path, file.path.stat().st_size - 1)
        with pytest.raises(ModelFileError, match="cut short while it was read"):
            file.tensor_bytes("t")


@pytest.mark.parametrize("change", ["written to", "cut", "grown"])
def test_a_file_that_was_changed_since_it_was_opened_is_noticed(
    opened: Callable[[bytes], GgufFile], change: str
) -> None:
    with opened(one_tensor()) as file:
        file.check_unchanged()
        if change == "written to":
            os.utime(file.path, ns=(1, 1))
        else:
            os.truncate(file.path, file.path.stat().st_size + (1 if change == "grown" else -1))
        with pytest.raises(ModelFileError, match="was written to while it was read"):
            file.check_unchanged()


def test_a_file_that_was_replaced_is_the_old_one_still(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(one_tensor()) as file:
        other = file.path.with_name("other")
        other.write_bytes(b"something else")
        other.rename(file.path)
        assert file.tensor_bytes("t").tobytes() == FLOATS_32
        file.check_unchanged()


def test_a_disk_that_cannot_be_read_is_an_error(
    opened: Callable[[bytes], GgufFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(one_tensor()) as file:
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(ModelFileError, match=r"^model\.gguf cannot be read: Input/output error"):
            file.tensor_bytes("t")


# --- the same as others read ----------------------------------------------------------------------


def test_block_sizes_are_those_of_the_gguf_package() -> None:
    for type_id, kind in TENSOR_TYPES.items():
        theirs = gguf.GGMLQuantizationType(type_id)
        assert (kind.block_elements, kind.block_bytes) == gguf.GGML_QUANT_SIZES[theirs]
        assert kind.name == theirs.name


def test_every_type_of_the_gguf_package_is_known_but_those_of_activations() -> None:
    unknown = {kind.name for kind in gguf.GGML_QUANT_SIZES if kind.value not in TENSOR_TYPES}
    assert unknown == {"Q8_1", "Q8_K"}


def assert_read_as_by_the_gguf_package(path: Path) -> None:
    theirs = gguf.GGUFReader(path)
    with open_gguf(path) as ours:
        fields = {name: field for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
        assert list(ours.metadata) == list(fields)
        for name, field in fields.items():
            value: object = ours.metadata[name]
            if isinstance(value, StringArray | np.ndarray):
                assert list(value) == field.contents()
            else:
                assert value == field.contents()
        assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            info = ours.tensors[tensor.name]
            assert info.shape == tuple(tensor.shape.tolist())
            assert info.type_id == tensor.tensor_type.value
            assert info.offset_bytes == tensor.data_offset
            assert ours.tensor_bytes(tensor.name).tobytes() == tensor.data.tobytes()


@pytest.mark.parametrize("quantization", ["F32", "Q4_0", "Q6_K"])
@pytest.mark.parametrize("vocabulary", ["spm", "bpe"])
def test_a_tiny_model_is_read_as_by_the_gguf_package(tmp_path: Path, quantization: str, vocabulary: Any) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", "qwen3", quantization, vocabulary)
    assert_read_as_by_the_gguf_package(path)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "data/stories260K.gguf",
        "golden/logits/qwen3-tiny-Q4_K_M.gguf",
        "golden/logits/llama-tiny-MXFP4.gguf",
    ],
)
def test_llama_cpps_files_are_read_as_by_the_gguf_package(shared_folder: Path, name: str) -> None:
    assert_read_as_by_the_gguf_package(shared_folder / name)


@pytest.mark.shared
def test_a_vocabulary_of_128_thousand_tokens_is_read_whole(shared_folder: Path) -> None:
    with open_gguf(shared_folder / "data/vocab/ggml-vocab-llama-bpe.gguf") as file:
        tokens = file.get_strings("tokenizer.ggml.tokens")
        merges = list(file.get_strings("tokenizer.ggml.merges"))
    assert (len(tokens), len(merges)) == (128256, 280147)
    assert (tokens[0], tokens[128000]) == ("!", "<|begin_of_text|>")
    assert merges[0] == "Ġ Ġ"
    assert all(" " in merge for merge in merges)


def test_the_reader_does_not_wait_for_the_gguf_package_to_be_imported() -> None:
    statement = "import sys, tui_llama.engine.gguf.file as reader; sys.exit('gguf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", statement], check=False).returncode == 0


# --- whatever the bytes ---------------------------------------------------------------------------

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
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_hostile_headers_are_read_or_refused(
    tmp_path: Path, entries: list[bytes], tensors: list[bytes], data: bytes, wrong_count: int | None
) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(gguf_bytes(entries, tensors, data, entry_count=wrong_count))
    is_sound = use_everything(path)
    assert not (is_sound and wrong_count is not None and wrong_count < 0)
