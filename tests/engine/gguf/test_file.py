"""What the reader of model files reads, and that the gguf package reads the same."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from tests.engine.gguf.small_files import F32, FLOATS_32, ONE_OF_EACH, Q8_0, one_tensor
from tests.fakes.gguf_bytes import array, gguf_bytes, scalar, tensor
from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine.gguf.file import TENSOR_TYPES, GgufFile, StringArray, ValueType, open_gguf
from tui_llama.errors import CallerError, ModelFileError


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


# --- typed access ---


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


# --- the same as others read ---


def test_block_sizes_are_those_of_the_gguf_package() -> None:
    newer = {42}  # Q2_0
    for type_id, kind in TENSOR_TYPES.items():
        if type_id in newer:
            continue
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
