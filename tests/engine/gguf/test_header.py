"""What the reader of model files refuses of a header: nearly everything."""

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.engine.gguf.small_files import F32, FLOATS_32, ONE_OF_EACH, Refusal, one_tensor
from tests.fakes.gguf_bytes import array, entry, gguf_bytes, scalar, string, tensor
from tui_llama.engine.gguf import header, header_cursor
from tui_llama.engine.gguf.file import TENSOR_TYPES, GgufFile, SkippedValue, ValueType, open_gguf
from tui_llama.errors import ModelFileError

# --- files that are none ---


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


# --- the beginning ---


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


# --- metadata ---


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


def test_the_only_part_is_read(opened: Callable[[bytes], GgufFile]) -> None:
    with opened(gguf_bytes([scalar("split.count", ValueType.UINT16, 1)])) as file:
        assert file.get_int("split.count") == 1


# --- the tensor table ---


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


@pytest.mark.parametrize("type_id", [4, 5, 9, 15, 31, 32, 33, 36, 37, 38, 43, 2**32 - 1])
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
    assert "the file places tensor 't' at byte" in str(refusal(one_tensor(offset=offset)))


def test_tensors_that_overlap_are_refused(refusal: Refusal) -> None:
    rows = [tensor("t", (16,)), tensor("u", (8,), offset=32)]
    assert "the file places tensor 'u' at byte" in str(refusal(gguf_bytes(tensors=rows, data=FLOATS_32 * 4)))


def test_an_alignment_that_the_offsets_do_not_follow_is_refused(refusal: Refusal) -> None:
    rows = [tensor("t", (8,)), tensor("u", (8,), offset=32)]
    key = scalar("general.alignment", ValueType.UINT32, 64)
    assert "alignment is 64" in str(refusal(gguf_bytes([key], rows, FLOATS_32 * 4, alignment=64)))


@pytest.mark.parametrize("elements", [8, 3])
def test_a_file_whose_last_tensor_is_one_byte_short_is_refused(refusal: Refusal, elements: int) -> None:
    content = gguf_bytes(tensors=[tensor("t", (elements,))], data=FLOATS_32[: 4 * elements])
    assert "the file" in str(refusal(content[:-1]))
