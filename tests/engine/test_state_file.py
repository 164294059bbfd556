"""Stored keys and values come back bit by bit, or are refused with a cause."""

import errno
import os
import random
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_llama.engine import state_file
from tui_llama.engine.state_file import (
    Plane,
    StateFingerprint,
    StateShape,
    StoredState,
    TokenIds,
    read_state,
    read_state_tokens,
    write_state,
)
from tui_llama.errors import CallerError, ShapeMismatchError, StateFileError

FIXTURES = Path(__file__).parents[1] / "fixtures"
FINGERPRINT = StateFingerprint(model=bytes(range(32)), configuration=b"configuration 01", engine_abi=7)
SHAPE = StateShape(layer_count=2, kv_heads=1, head_dim=4)
TOKENS = 3
VOCAB_SIZE = 1000
HEADER_BYTES = 256
# Offsets of fields in the header, from the card at the top of the module.
MAJOR, MINOR, HEADER_LENGTH, INCOMPATIBLE, COMPATIBLE = 8, 10, 12, 16, 20
ENGINE_ABI, ELEMENT_TYPE, LAYERS, KV_HEADS, HEAD_DIM, PARTS = 72, 76, 80, 84, 88, 92
FIRST_POSITION, TOKEN_COUNT, FILE_LENGTH, CHECKSUMS = 96, 104, 112, 192


def some_state(token_count: int = TOKENS, shape: StateShape = SHAPE, seed: int = 0) -> StoredState:
    chance = np.random.default_rng(seed)
    sizes = shape.plane_shape(token_count)

    def plane() -> Plane:
        if shape.dtype == "f16":
            return chance.standard_normal(sizes).astype(np.float16)
        blocks = chance.integers(0, 256, (*sizes[:2], sizes[2] // 34, 34), np.uint8)
        blocks[..., 1] &= 0x3F  # the upper byte of a scale, which must be finite
        return blocks.reshape(sizes)

    token_ids = chance.integers(0, VOCAB_SIZE, token_count).astype(np.uint32)
    return StoredState(token_ids, [(plane(), plane()) for _ in range(shape.layer_count)])


def write(path: Path, state: StoredState) -> None:
    write_state(path, FINGERPRINT, SHAPE, state.token_ids, state.layers)


def read(path: Path) -> StoredState:
    return read_state(path, FINGERPRINT, SHAPE, max_tokens=8, vocab_size=VOCAB_SIZE)


def assert_same(state: StoredState, other: StoredState) -> None:
    assert state.token_ids.tobytes() == other.token_ids.tobytes()
    assert len(state.layers) == len(other.layers)
    for layer, other_layer in zip(state.layers, other.layers, strict=True):
        assert [plane.tobytes() for plane in layer] == [plane.tobytes() for plane in other_layer]
        assert [plane.shape for plane in layer] == [plane.shape for plane in other_layer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.state"


@pytest.fixture
def whole(path: Path) -> bytes:
    """The bytes of a good file, which is at `path` too."""
    write(path, some_state())
    return path.read_bytes()


def sealed(content: bytes, offset: int, field: bytes) -> bytes:
    """The file with one field of the header changed and the header's checksum right again."""
    header = bytearray(content[:HEADER_BYTES])
    header[offset : offset + len(field)] = field
    header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    return bytes(header) + content[HEADER_BYTES:]


# --- there and back -----------------------------------------------------------------------------------------


@given(
    st.integers(0, 70),
    st.builds(
        StateShape,
        layer_count=st.integers(1, 4),
        kv_heads=st.integers(1, 3),
        head_dim=st.integers(1, 40),
        dtype=st.sampled_from(["f16", "q8_0"]),
    ),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_a_state_comes_back_bit_by_bit(token_count: int, shape: StateShape, seed: int) -> None:
    state = some_state(token_count, shape, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.state"
        write_state(path, FINGERPRINT, shape, state.token_ids, iter(state.layers))

        assert_same(read_state(path, FINGERPRINT, shape, token_count, VOCAB_SIZE), state)
        token_ids = read_state_tokens(path, FINGERPRINT, shape, token_count, VOCAB_SIZE)
        assert token_ids.tolist() == state.token_ids.tolist()


def test_planes_larger_than_a_chunk_come_back_bit_by_bit(path: Path) -> None:
    shape = StateShape(layer_count=1, kv_heads=8, head_dim=130)
    state = some_state(1000, shape)
    write_state(path, FINGERPRINT, shape, state.token_ids, state.layers)

    assert_same(read_state(path, FINGERPRINT, shape, 1000, VOCAB_SIZE), state)


def test_zeros_subnormals_and_the_largest_values_keep_their_bits(path: Path) -> None:
    bits = np.array([0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0, 1, 2, 3, 4, 5, 6], np.uint16)
    plane = bits.view(np.float16).reshape(3, 1, 4)
    state = StoredState(np.arange(3, dtype=np.uint32), [(plane, plane)] * 2)
    write(path, state)

    assert_same(read(path), state)


def test_a_file_of_version_1_0_is_read_as_it_was_written() -> None:
    assert_same(read(FIXTURES / "state-version-1.0.bin"), some_state())


def test_the_bytes_are_those_of_the_card(whole: bytes) -> None:
    state = some_state()
    parts = [state.token_ids.tobytes()] + [plane.tobytes() for layer in state.layers for plane in layer]
    padded = [part + bytes(-len(part) % 64) for part in parts]
    fields = struct.pack("<8sHHIII", bytes.fromhex("89544C4B0D0A1A0A"), 1, 0, 256, 0, 0)
    fields += FINGERPRINT.model + FINGERPRINT.configuration
    fields += struct.pack("<IIIIIIQQQ", 7, 1, 2, 1, 4, 5, 0, 3, len(whole)) + bytes(72)
    fields += b"".join(struct.pack("<I", zlib.crc32(part)) for part in padded)
    header = fields + bytes(252 - len(fields))

    assert whole == header + struct.pack("<I", zlib.crc32(header)) + b"".join(padded)


def test_the_bytes_do_not_change_from_one_release_to_the_next(whole: bytes) -> None:
    assert whole == (FIXTURES / "state-version-1.0.bin").read_bytes()


def test_a_higher_minor_version_and_unknown_compatible_features_are_read(path: Path, whole: bytes) -> None:
    content = sealed(whole, MINOR, struct.pack("<H", 9))
    path.write_bytes(sealed(content, COMPATIBLE, struct.pack("<I", 1)))

    assert_same(read(path), some_state())


# --- not this one -------------------------------------------------------------------------------------------


def test_a_missing_file_is_named_so(path: Path) -> None:
    with pytest.raises(StateFileError, match=r"^missing$"):
        read(path)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"model": bytes(32)}, "of another model"),
        ({"configuration": bytes(16)}, "of another cache configuration"),
        ({"engine_abi": 8}, "of another version of the engine"),
    ],
)
@pytest.mark.usefixtures("whole")
def test_a_state_that_belongs_to_something_else_is_refused(path: Path, change: dict[str, Any], cause: str) -> None:
    for reader in (read_state, read_state_tokens):
        with pytest.raises(StateFileError, match=rf"^{cause}$"):
            reader(path, replace(FINGERPRINT, **change), SHAPE, 8, VOCAB_SIZE)


@pytest.mark.parametrize("change", [{"layer_count": 3}, {"kv_heads": 2}, {"head_dim": 2}, {"dtype": "q8_0"}])
@pytest.mark.usefixtures("whole")
def test_a_state_of_another_shape_is_refused(path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(StateFileError, match=r"^of another shape$"):
        read_state(path, FINGERPRINT, replace(SHAPE, **change), 8, VOCAB_SIZE)


@pytest.mark.usefixtures("whole")
def test_a_state_longer_than_the_context_is_refused(path: Path) -> None:
    with pytest.raises(StateFileError, match=r"^longer than the context \(3 of 2 tokens\)$"):
        read_state(path, FINGERPRINT, SHAPE, 2, VOCAB_SIZE)


@pytest.mark.usefixtures("whole")
def test_a_token_that_the_vocabulary_lacks_is_refused(path: Path) -> None:
    highest = int(some_state().token_ids.max())

    assert len(read_state(path, FINGERPRINT, SHAPE, 8, highest + 1).token_ids) == TOKENS
    with pytest.raises(StateFileError, match=r"^of another vocabulary$"):
        read_state(path, FINGERPRINT, SHAPE, 8, highest)


@pytest.mark.parametrize(
    ("offset", "field", "cause"),
    [
        (0, b"GGUF", "not a state file"),
        (MAJOR, struct.pack("<H", 2), "of a newer version"),
        (MAJOR, struct.pack("<H", 0), "damaged"),
        (INCOMPATIBLE, struct.pack("<I", 1 << 31), "of a newer version"),
        (ELEMENT_TYPE, struct.pack("<I", 2), "of another shape"),
        (LAYERS, struct.pack("<I", 2**32 - 1), "of another shape"),
        (KV_HEADS, struct.pack("<I", 2**32 - 1), "of another shape"),
        (HEAD_DIM, struct.pack("<I", 0), "of another shape"),
        (PARTS, struct.pack("<I", 4), "damaged"),
        (FIRST_POSITION, struct.pack("<Q", 1), "damaged"),
        (FILE_LENGTH, struct.pack("<Q", 2**63), "damaged"),
        (TOKEN_COUNT, struct.pack("<Q", 2), "damaged"),
    ],
)
def test_a_header_that_promises_something_else_is_refused(
    path: Path, whole: bytes, offset: int, field: bytes, cause: str
) -> None:
    path.write_bytes(sealed(whole, offset, field))

    with pytest.raises(StateFileError, match=rf"^{cause}"):
        read(path)


@pytest.mark.parametrize("length", [0, 192, 252, 320, 2**31, 2**32 - 1])
def test_a_header_of_another_length_is_refused(path: Path, whole: bytes, length: int) -> None:
    path.write_bytes(sealed(whole, HEADER_LENGTH, struct.pack("<I", length)))

    with pytest.raises(StateFileError, match=r"damaged \(header\)|truncated"):
        read(path)


@pytest.mark.parametrize("token_count", [2**31, 2**61 + 1, 2**63, 2**64 - 1])
def test_nothing_is_allocated_for_more_than_the_file_holds(
    path: Path, whole: bytes, token_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = sealed(whole, TOKEN_COUNT, struct.pack("<Q", token_count))
    claimed = state_file._Layout(SHAPE, token_count).file_bytes % 2**64
    path.write_bytes(sealed(content, FILE_LENGTH, struct.pack("<Q", claimed)))

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("memory was asked for before the sizes were checked")

    monkeypatch.setattr(np, "empty", forbidden)
    for max_tokens in (8, 2**64):
        with pytest.raises(StateFileError, match=r"longer than the context|truncated|damaged \(header\)"):
            read_state(path, FINGERPRINT, SHAPE, max_tokens, VOCAB_SIZE)


# --- damage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_found(path: Path, whole: bytes, flip: int) -> None:
    undetected = []
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= flip
        path.write_bytes(content)
        try:
            read(path)
            undetected.append(place)
        except StateFileError:
            continue

    assert undetected == []


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        (150, "header"),
        (HEADER_BYTES, "token ids"),
        (HEADER_BYTES + 63, "token ids"),
        (HEADER_BYTES + 64, "layer 0 keys"),
        (HEADER_BYTES + 128, "layer 0 values"),
        (HEADER_BYTES + 192, "layer 1 keys"),
        (HEADER_BYTES + 319, "layer 1 values"),
    ],
)
def test_damage_is_named_by_its_place(path: Path, whole: bytes, place: int, cause: str) -> None:
    content = bytearray(whole)
    content[place] ^= 4
    path.write_bytes(content)

    with pytest.raises(StateFileError, match=rf"^damaged \({cause}\)$"):
        read(path)


def test_every_truncation_is_found(path: Path, whole: bytes) -> None:
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StateFileError, match=r"^truncated$|^empty$"):
            read(path)


@pytest.mark.parametrize("extra", [1, 64])
def test_a_longer_file_is_refused(path: Path, whole: bytes, extra: int) -> None:
    path.write_bytes(whole + bytes(extra))

    with pytest.raises(StateFileError, match=r"^longer than it says$"):
        read(path)


def test_parts_that_changed_places_are_found(path: Path, whole: bytes) -> None:
    first, second = HEADER_BYTES + 64, HEADER_BYTES + 128
    path.write_bytes(whole[:first] + whole[second : second + 64] + whole[first:second] + whole[second + 64 :])

    with pytest.raises(StateFileError, match="layer 0 keys"):
        read(path)


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00, 0xFFFF])
@pytest.mark.parametrize("place", [0, 11])
def test_values_that_are_not_finite_are_refused_under_a_right_checksum(path: Path, bits: int, place: int) -> None:
    state = some_state()
    state.layers[1][1].reshape(-1).view(np.uint16)[place] = bits
    write(path, state)

    with pytest.raises(StateFileError, match=r"^damaged \(layer 1 values: not finite\)$"):
        read(path)


def test_a_scale_that_is_not_finite_is_refused_under_a_right_checksum(path: Path) -> None:
    shape = replace(SHAPE, head_dim=40, dtype="q8_0")
    state = some_state(TOKENS, shape)
    state.layers[0][1][2, 0, 34:36] = [0x00, 0x7C]
    write_state(path, FINGERPRINT, shape, state.token_ids, state.layers)

    with pytest.raises(StateFileError, match=r"^damaged \(layer 0 values: not finite\)$"):
        read_state(path, FINGERPRINT, shape, 8, VOCAB_SIZE)


def mutated(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(damaged) + 1)
        length = chance.choice((1, 2, 4, 8, 64))
        match chance.randrange(4):
            case 0:
                damaged[place : place + length] = chance.randbytes(length)
            case 1:
                del damaged[place : place + length]
            case 2:
                damaged[place:place] = damaged[: chance.choice((1, 64, 300))]
            case _:
                damaged[place : place + length] = chance.choice((b"\0", b"\xff")) * length
        damaged = damaged or bytearray(b"\0")
    return bytes(damaged)


def test_random_damage_is_refused_and_nothing_worse(path: Path, whole: bytes) -> None:
    chance = random.Random(11)
    for _ in range(3000):
        content = mutated(whole, chance)
        path.write_bytes(content)
        if content != whole:
            with pytest.raises(StateFileError):
                read(path)


def test_evil_headers_with_right_checksums_are_refused_or_give_a_sound_state(path: Path, whole: bytes) -> None:
    chance = random.Random(12)
    fields = [*range(MAJOR, CHECKSUMS + 24)]
    refused = 0
    for _ in range(1000):
        content = whole
        for _ in range(chance.randint(1, 3)):
            content = sealed(content, chance.choice(fields), chance.randbytes(chance.choice((1, 2, 4))))
        path.write_bytes(content)
        try:
            assert_sound(read(path))
        except StateFileError:
            refused += 1

    assert refused > 500


def assert_sound(state: StoredState) -> None:
    """What a file says with right checksums throughout may be anything, as long as it does no harm."""
    assert len(state.token_ids) <= 8
    assert all(state.token_ids < VOCAB_SIZE)
    assert len(state.layers) == SHAPE.layer_count
    for plane in (plane for layer in state.layers for plane in layer):
        assert plane.shape == (len(state.token_ids), SHAPE.kv_heads, SHAPE.head_dim)
        assert np.isfinite(plane).all()


# --- what is at the path ------------------------------------------------------------------------------------


def test_a_link_is_not_followed(path: Path, tmp_path: Path, whole: bytes) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)

    with pytest.raises(StateFileError, match=r"^a link and not a file$"):
        read(link)

    write(link, some_state(seed=1))
    assert not link.is_symlink()
    assert path.read_bytes() == whole


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match=r"^not a regular file$"):
        read(tmp_path)


def test_a_named_pipe_is_refused_without_waiting_for_it(path: Path) -> None:
    os.mkfifo(path)

    with pytest.raises(StateFileError, match=r"^not a regular file$"):
        read(path)


def test_a_file_that_is_cut_while_it_is_read_is_truncated(
    path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.preadv

    def cutting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset >= HEADER_BYTES + 64:
            os.truncate(path, len(whole) - 100)
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", cutting)

    with pytest.raises(StateFileError, match=r"^truncated$"):
        read(path)


@pytest.mark.usefixtures("whole")
def test_short_reads_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda descriptor, buffers, offset: real(descriptor, [buffers[0][:5]], offset))

    assert_same(read(path), some_state())


@pytest.mark.usefixtures("whole")
def test_an_error_of_the_disk_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)

    with pytest.raises(StateFileError, match=r"^not readable \(Input/output error\)$"):
        read(path)


# --- writing ------------------------------------------------------------------------------------------------


def test_a_state_file_is_the_users_alone(path: Path) -> None:
    write(path, some_state())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_state_takes_the_place_of_the_old_one_and_leaves_nothing_beside_it(path: Path) -> None:
    write(path, some_state())
    write(path, some_state(5, seed=1))

    assert_same(read(path), some_state(5, seed=1))
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_the_old_file_goes_on_reading_it(path: Path, whole: bytes) -> None:
    with path.open("rb") as reader:
        write(path, some_state(seed=1))

        assert reader.read() == whole


def failing_at(number: int, code: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes the `number`-th call that changes the disk fail; returns the list in which calls are noted."""
    calls: list[str] = []

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == number:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        return call

    for name in ("open", "lseek", "write", "fsync", "replace"):
        monkeypatch.setattr(os, name, failing(name, getattr(os, name)))
    return calls


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_whatever_fails_the_old_state_or_the_new_one_is_there_in_full(path: Path, whole: bytes, code: int) -> None:
    new = some_state(5, seed=1)
    number, failures = 0, 0
    finished = False
    while not finished:
        number += 1
        path.write_bytes(whole)
        with pytest.MonkeyPatch.context() as monkeypatch:
            calls = failing_at(number, code, monkeypatch)
            try:
                write(path, new)
                finished = True
            except StateFileError as error:
                failures += 1
                assert str(error).startswith("not written (")
                assert ("the disk is full" in str(error)) == (code == errno.ENOSPC)
        renamed = "replace" in calls[: number - 1]
        assert_same(read(path), new if finished or renamed else some_state())
        assert list(path.parent.iterdir()) == [path]

    assert failures == len(calls) > 15


def test_short_writes_are_continued(path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:7]))

    write(path, some_state())

    assert path.read_bytes() == whole


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="the folder is missing"):
        write(tmp_path / "nowhere" / "chat.state", some_state())


def test_an_exception_from_the_layers_leaves_the_old_state(path: Path, whole: bytes) -> None:
    def broken() -> Iterator[tuple[Plane, Plane]]:
        yield some_state().layers[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_state(path, FINGERPRINT, SHAPE, some_state().token_ids, broken())

    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


ABANDON = """
import os, signal, sys
import numpy as np
from tui_llama.engine.state_file import StateFingerprint, StateShape, write_state

def layers():
    plane = np.zeros((3, 1, 4), np.float16)
    yield plane, plane
    print("half", flush=True)
    sys.stdin.read()
    yield plane, plane

fingerprint = StateFingerprint(bytes(range(32)), b"configuration 01", 7)
write_state(sys.argv[1], fingerprint, StateShape(2, 1, 4), np.zeros(3, np.uint32), layers())
"""


def test_what_a_killed_program_left_is_removed_and_what_a_living_one_writes_is_not(path: Path, whole: bytes) -> None:
    command = [sys.executable, "-c", ABANDON, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        write(path, some_state())
        assert len(list(path.parent.iterdir())) == 2

        writer.kill()
        writer.wait()

    assert path.read_bytes() == whole
    write(path, some_state())
    assert list(path.parent.iterdir()) == [path]


def test_writers_at_once_leave_one_whole_state(path: Path) -> None:
    states = [some_state(5, seed=seed) for seed in range(4)]

    def write_often(state: StoredState) -> None:
        for _ in range(10):
            write(path, state)

    writers = [threading.Thread(target=write_often, args=(state,)) for state in states]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    tokens = read(path).token_ids.tolist()
    assert tokens in [state.token_ids.tolist() for state in states]
    assert list(path.parent.iterdir()) == [path]


# --- mistakes of the caller ---------------------------------------------------------------------------------


def wrong_planes() -> list[Any]:
    sizes = (TOKENS, SHAPE.kv_heads, SHAPE.head_dim)
    return [
        np.zeros(sizes, np.float32),
        np.zeros((TOKENS + 1, *sizes[1:]), np.float16),
        np.zeros((TOKENS, 4, 1), np.float16),
        np.zeros((TOKENS, 1, 8), np.float16)[:, :, ::2],
        np.zeros(sizes, ">f2"),
    ]


@pytest.mark.parametrize("plane", wrong_planes())
def test_an_array_that_is_not_as_described_is_refused(path: Path, plane: Plane) -> None:
    state = some_state()
    for layer in ((plane, state.layers[1][1]), (state.layers[1][0], plane)):
        with pytest.raises(ShapeMismatchError, match="of layer 1 must be"):
            write(path, StoredState(state.token_ids, [state.layers[0], layer]))
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("token_ids", [np.zeros(3, np.int64), np.zeros((3, 1), np.uint32)])
def test_token_ids_that_are_not_as_described_are_refused(path: Path, token_ids: TokenIds) -> None:
    with pytest.raises(ShapeMismatchError, match="token ids must be"):
        write(path, StoredState(token_ids, some_state().layers))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_layers_is_refused(path: Path, count: int) -> None:
    state = some_state()

    with pytest.raises(ShapeMismatchError, match=f"{count} layers were given|more layers"):
        write(path, StoredState(state.token_ids, [state.layers[0]] * count))
    assert not list(path.parent.iterdir())


def test_fingerprints_and_shapes_that_do_not_fit_are_refused() -> None:
    for build in (
        lambda: StateFingerprint(b"short", bytes(16), 1),
        lambda: StateFingerprint(bytes(32), bytes(16), 1 << 32),
        lambda: StateShape(0, 1, 1),
        lambda: StateShape(5000, 1, 1),
        lambda: StateShape(1, 1, 1, "q4_0"),
    ):
        with pytest.raises(CallerError):
            build()
