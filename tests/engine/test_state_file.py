"""A segment: what is appended comes back bit by bit, or is refused with a cause."""

import random
import resource
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.fakes.storage_wrappers import ForwardingStorage
from tests.naive.state_files import read_plainly
from tests.scale import scaled
from tui_llama.engine.prompt_cache.segment_scan import read_kv, scan, still_holds
from tui_llama.engine.prompt_cache.segment_writer import append, begin_segment, cut, cut_to_records
from tui_llama.engine.state_file import (
    NO_PARENT,
    PartPlace,
    RecordPlace,
    Segment,
    SegmentHeader,
    StateFingerprint,
    TokenIds,
    decoded_header,
    header_bytes,
)
from tui_llama.engine.state_shape import KvArray, LayerGroup, StateShape
from tui_llama.errors import CallerError, ShapeMismatchError, StateFileError, StateVersionError
from tui_llama.files.storage import DiskStorage
from tui_llama.files.token_digest import TokenChain

FIXTURES = Path(__file__).parents[1] / "fixtures"
FINGERPRINT = StateFingerprint(model=bytes(range(32)), configuration=b"configuration 01", engine_abi=7)
SHAPE = StateShape.uniform(layer_count=2, kv_heads=1, head_dim=4)
QUANTISED = StateShape.uniform(layer_count=1, kv_heads=2, head_dim=40, dtype="q8_0")
HEADER = SegmentHeader(
    FINGERPRINT, SHAPE, segment_id=b"0123456789abcdef", parent_id=NO_PARENT, first_position=0,
    chain_digest=FINGERPRINT.chain.digest, owner=b"owner of a chat.",
)  # fmt: skip
# Offsets of fields, from docs/state-file.md.
MAJOR, MINOR, HEADER_LENGTH, INCOMPATIBLE, COMPATIBLE = 8, 10, 12, 16, 20
ELEMENT_TYPE, GROUPS, LAYERS, PARENT, FIRST_POSITION = 76, 80, 84, 112, 128
KIND, KV_HEADS, KEY_DIM, VALUE_DIM, WINDOW, GROUP_LAYERS, FIRST_LAYER = 192, 196, 200, 204, 208, 212, 224
HEADER_BYTES = header_bytes(SHAPE)
WINDOWS = StateShape((LayerGroup((0, 2), 2, 6, 4, window=70), LayerGroup((1,), 1, 10, 0)))
"""Layers that differ: two with a window, and one whose values are in its keys."""
VOCABULARY = 1000


def some_tokens(count: int, seed: int = 0) -> TokenIds:
    return np.random.default_rng(seed).integers(0, VOCABULARY, count).astype(np.uint32)


def some_rows(count: int, shape: StateShape = SHAPE, seed: int = 0) -> KvArray:
    chance, sizes = np.random.default_rng(seed), shape.kv_shape(shape.groups[0], count)
    if shape.dtype == "f16":
        return chance.standard_normal(sizes).astype(np.float16)
    blocks = chance.integers(0, 256, (*sizes[:3], sizes[3] // 34, 34), np.uint8)
    blocks[..., 1] &= 0x3F  # the upper byte of a scale, which must be finite
    rows: NDArray[np.uint8] = blocks.reshape(sizes)
    return rows


class File:
    """A segment being written and read, as the prompt cache does it."""

    def __init__(self, folder: Path, header: SegmentHeader = HEADER, name: str = "segment") -> None:
        self.storage = DiskStorage(folder)
        self.path = folder / name
        self.descriptor = self.storage.create(name)
        self.segment = begin_segment(self.storage, self.descriptor, header)
        self.chain = TokenChain(header.chain_digest)
        self.rows = np.empty(header.shape.kv_shape(header.shape.groups[0], 0), header.shape.element)

    def append(self, token_ids: TokenIds, rows: KvArray) -> None:
        start = self.segment.end

        def rows_of(group: int, first: int, last: int) -> KvArray:
            return rows[:, first - start : last - start].copy()

        self.segment = append(self.storage, self.descriptor, self.segment, self.chain, token_ids, rows_of)
        self.chain = self.chain.extended(token_ids)
        self.rows = np.concatenate([self.rows, rows], axis=1)

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    def close(self) -> None:
        self.storage.close(self.descriptor)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    """A segment of three turns: 3, 64 and 70 tokens."""
    file = File(tmp_path)
    for turn, count in enumerate((3, 64, 70)):
        file.append(some_tokens(count, turn), some_rows(count, seed=turn))
    yield file
    file.close()


def reopened(content: bytes, folder: Path) -> tuple[Segment, list[KvArray]]:
    """What a file with that content holds."""
    (folder / "copy").write_bytes(content)
    storage = DiskStorage(folder)
    descriptor = storage.open("copy")
    try:
        segment = scan(storage, descriptor)
        return segment, [read_kv(storage, descriptor, segment.header.shape, place, 0) for place in segment.records]
    finally:
        storage.close(descriptor)


def sealed(content: bytes, offset: int, field: bytes) -> bytes:
    """The content with another field in its header, under a right checksum. The records' checksums are then wrong."""
    header = bytearray(content[:HEADER_BYTES])
    header[offset : offset + len(field)] = field
    header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    return bytes(header) + content[HEADER_BYTES:]


# --- there and back -------------------------------------------------------------------------------------------------


@given(
    turns=st.lists(st.integers(1, 150), min_size=1, max_size=4),
    shape=st.sampled_from([SHAPE, QUANTISED]),
    first=st.sampled_from([0, 5, 64, 130]),
)
@settings(max_examples=40)
def test_what_was_appended_comes_back(
    tmp_path_factory: pytest.TempPathFactory, turns: list[int], shape: StateShape, first: int
) -> None:
    folder = tmp_path_factory.mktemp("segment")
    parent = NO_PARENT if first == 0 else b"p" * 16
    file = File(folder, replace(HEADER, shape=shape, parent_id=parent, first_position=first))
    for turn, count in enumerate(turns):
        file.append(some_tokens(count, turn), some_rows(count, shape, turn))
    segment, rows = reopened(file.content, folder)
    file.close()
    plain = read_plainly(file.content)

    for name in ("header", "end_digest", "records", "commits", "has_lost_tail"):
        assert getattr(segment, name) == getattr(file.segment, name)
    assert np.array_equal(segment.token_ids, file.segment.token_ids)
    assert plain.token_ids == segment.token_ids.tolist()
    assert [commit.position - first for commit in segment.commits] == np.cumsum(turns).tolist()
    assert (segment.end, segment.size) == (first + sum(turns), len(file.content))
    assert np.concatenate(rows, axis=1).tobytes() == file.rows.tobytes() == plain.rows[0].tobytes()


def test_records_begin_at_multiples_of_64_positions(file: File) -> None:
    assert [(place.position, place.token_count) for place in file.segment.records] == [
        (0, 3), (3, 61), (64, 3), (67, 61), (128, 9),
    ]  # fmt: skip


def test_a_turn_costs_little_more_than_its_keys_and_values(tmp_path: Path) -> None:
    shape = StateShape.uniform(layer_count=16, kv_heads=8, head_dim=64)
    file = File(tmp_path, replace(HEADER, shape=shape))
    file.append(some_tokens(200), some_rows(200, shape))
    file.close()
    assert len(file.content) <= 1.01 * 200 * shape.token_bytes + 8192


def test_zeros_subnormals_and_the_largest_values_keep_their_bits(tmp_path: Path) -> None:
    bits = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x7BFF, 0xFBFF, 0x3C00], np.uint16)
    rows = bits.view(np.float16).repeat(2).reshape(SHAPE.kv_shape(SHAPE.groups[0], 1))
    file = File(tmp_path)
    file.append(some_tokens(1), rows)
    file.close()
    assert reopened(file.content, tmp_path)[1][0].tobytes() == rows.tobytes()


def test_the_digest_is_that_of_all_tokens_however_they_came(file: File) -> None:
    tokens = np.concatenate([some_tokens(count, turn) for turn, count in enumerate((3, 64, 70))])
    assert file.segment.end_digest == FINGERPRINT.chain.extended(tokens).digest == file.chain.digest


def test_the_mark_of_what_was_computed_elsewhere_is_a_bit_that_others_need_not_know(tmp_path: Path) -> None:
    file = File(tmp_path, replace(HEADER, is_foreign=True))
    file.append(some_tokens(3), some_rows(3))
    file.close()
    segment, _ = reopened(file.content, tmp_path)
    assert segment.header == replace(HEADER, is_foreign=True)
    assert file.content[INCOMPATIBLE : COMPATIBLE + 4] == bytes(4) + struct.pack("<I", 1)
    assert read_plainly(file.content).token_ids == some_tokens(3).tolist()


# --- versions -------------------------------------------------------------------------------------------------------


def test_the_bytes_do_not_change_from_one_release_to_the_next(tmp_path: Path) -> None:
    file = File(tmp_path, replace(HEADER, shape=StateShape.uniform(1, 1, 4)))
    file.append(np.array([5, 6], np.uint32), np.arange(16, dtype=np.float16).reshape(1, 2, 1, 8))
    file.append(np.array([7], np.uint32), np.ones((1, 1, 1, 8), np.float16))
    file.close()
    assert file.content == (FIXTURES / "state-version-3.0.bin").read_bytes()


def test_the_bytes_are_those_of_the_card() -> None:
    content = (FIXTURES / "state-version-3.0.bin").read_bytes()
    header = struct.pack("<8sHHIII", bytes.fromhex("89544C4B0D0A1A0A"), 3, 0, 256, 0, 0)
    header += FINGERPRINT.model + FINGERPRINT.configuration + struct.pack("<4I", 7, 1, 1, 1) + bytes(8)
    header += HEADER.segment_id + bytes(16) + bytes(8) + FINGERPRINT.chain.digest + HEADER.owner + bytes(24)
    header += struct.pack("<6I", 1, 1, 4, 4, 0, 1) + bytes(8) + struct.pack("<I", 0)
    header += bytes(252 - len(header))
    header_checksum = zlib.crc32(header)
    part = np.arange(16, dtype="<f2").tobytes().ljust(64, b"\0")
    chain = FINGERPRINT.chain.extended(np.array([5, 6], np.uint32))
    head = struct.pack("<4sIQ8sI", b"TOKS", 2, 0, b"01234567", 0) + chain.digest + struct.pack("<Q", 1) + bytes(8)
    ids = struct.pack("<3I", 5, 6, zlib.crc32(part)).ljust(64, b"\0")
    checksum = zlib.crc32(ids, zlib.crc32(head, header_checksum))
    record = head + struct.pack("<I", checksum) + ids + part
    done = struct.pack("<4sIQ8sI", b"DONE", 0, 2, b"01234567", 1) + chain.digest + bytes(16)
    done += struct.pack("<I", zlib.crc32(done, checksum))
    assert content.startswith(header + struct.pack("<I", header_checksum) + record + done)


@pytest.mark.parametrize(("version", "sizes"), [(1, (2, 2, 3, 1, 4)), (2, (1, 2, 3, 1, 4))])
def test_a_file_of_an_older_version_is_refused_by_name_and_its_reader_still_reads_it(
    tmp_path: Path, version: int, sizes: tuple[int, ...]
) -> None:
    content = (FIXTURES / f"state-version-{version}.0.bin").read_bytes()
    with pytest.raises(StateVersionError, match="of an older version"):
        reopened(content, tmp_path)
    plain = read_plainly(content)
    assert (plain.first_position, len(plain.token_ids), plain.rows[0].shape) == (0, 3, sizes)


def test_a_file_of_version_3_is_read_as_it_was_written(tmp_path: Path) -> None:
    segment, rows = reopened((FIXTURES / "state-version-3.0.bin").read_bytes(), tmp_path)
    assert segment.token_ids.tolist() == [5, 6, 7]
    assert rows[0].reshape(-1).tolist() == list(range(16))
    assert rows[1].reshape(-1).tolist() == [1.0] * 8


def test_layers_that_differ_have_parts_of_their_own_and_a_window_may_lack_some(tmp_path: Path) -> None:
    file, ids = File(tmp_path, replace(HEADER, shape=WINDOWS)), some_tokens(150)
    wide, latent = (some_rows(150, StateShape((group,))) for group in WINDOWS.groups)

    def rows_of(group: int, first: int, last: int) -> KvArray | None:
        return None if group == 0 and first < 64 else (wide, latent)[group][:, first:last].copy()

    append(file.storage, file.descriptor, file.segment, file.chain, ids, rows_of)
    segment = scan(file.storage, file.descriptor)
    assert segment.header.shape == WINDOWS
    assert [[part is not None for part in place.parts] for place in segment.records] == [
        [False, True], [True, True], [True, True],
    ]  # fmt: skip
    for group, expected, places in ((0, wide[:, 64:], segment.records[1:]), (1, latent, segment.records)):
        rows = [read_kv(file.storage, file.descriptor, WINDOWS, place, group) for place in places]
        assert np.concatenate(rows, axis=1).tobytes() == expected.tobytes()
    with pytest.raises(StateFileError, match="not stored"):
        read_kv(file.storage, file.descriptor, WINDOWS, segment.records[0], 0)
    plain = read_plainly(file.content)
    assert plain.rows[1].tobytes() == latent.tobytes()
    assert plain.rows[0].tobytes() == wide[:, 64:].tobytes()
    file.close()


def test_keys_and_values_of_all_positions_cannot_be_absent(tmp_path: Path) -> None:
    file = File(tmp_path, replace(HEADER, shape=WINDOWS))
    with pytest.raises(ShapeMismatchError):
        append(file.storage, file.descriptor, file.segment, file.chain, some_tokens(3), lambda *_: None)
    file.close()


def test_a_higher_minor_version_and_unknown_compatible_features_are_read(file: File) -> None:
    content = sealed(sealed(file.content, MINOR, b"\x05\x00"), COMPATIBLE, b"\xfe\xff\xff\xff")
    assert decoded_header(content[:HEADER_BYTES])[0] == HEADER


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "field", "cause"),
    [
        (0, b"\x88", "not a state file"),
        (MAJOR, b"\x04\x00", "of a newer version"),
        (HEADER_LENGTH, struct.pack("<I", 320), "damaged"),
        (INCOMPATIBLE, b"\x01\x00\x00\x00", "of a newer version"),
        (ELEMENT_TYPE, struct.pack("<I", 3), "damaged"),
        (HEADER_LENGTH, struct.pack("<I", 2**31), "damaged"),
        (GROUPS, struct.pack("<I", 0), "damaged"),
        (GROUPS, struct.pack("<I", 2**32 - 1), "damaged"),
        (LAYERS, struct.pack("<I", 0), "damaged"),
        (LAYERS, struct.pack("<I", 5000), "damaged"),
        (KIND, struct.pack("<I", 2), "damaged"),
        (KV_HEADS, struct.pack("<I", 2**32 - 1), "damaged"),
        (KEY_DIM, struct.pack("<I", 2**31), "damaged"),
        (KEY_DIM, struct.pack("<I", 0), "damaged"),
        (VALUE_DIM, struct.pack("<I", 2**32 - 1), "damaged"),
        (GROUP_LAYERS, struct.pack("<I", 1), "damaged"),
        (GROUP_LAYERS, struct.pack("<I", 3), "damaged"),
        (FIRST_LAYER, struct.pack("<I", 1), "damaged"),
        (FIRST_LAYER, struct.pack("<I", 4096), "damaged"),
        (FIRST_POSITION, struct.pack("<Q", 4), "damaged"),
        (FIRST_POSITION, struct.pack("<Q", 2**63), "damaged"),
        (PARENT, b"x", "nothing was committed"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(
    tmp_path: Path, file: File, offset: int, field: bytes, cause: str
) -> None:
    with pytest.raises(StateFileError, match=cause):
        reopened(sealed(file.content, offset, field), tmp_path)


def test_every_flipped_byte_is_found_or_lies_behind_what_counts(tmp_path: Path, file: File) -> None:
    content, expected = file.content, [rows.tobytes() for rows in reopened(file.content, tmp_path)[1]]
    for place in [*range(700), *range(700, len(content), 7)]:
        damaged = content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :]
        try:
            segment, rows = reopened(damaged, tmp_path)
        except StateFileError:
            continue
        # A damaged end: what comes before it is whole.
        assert segment.has_lost_tail or segment.end < file.segment.end
        assert [each.tobytes() for each in rows] == expected[: len(rows)]


def test_every_truncation_leaves_the_turns_before_it(tmp_path: Path, file: File) -> None:
    ends = [commit.offset for commit in file.segment.commits]
    for length in range(0, len(file.content), 7):
        if length < ends[0]:
            with pytest.raises(StateFileError):
                reopened(file.content[:length], tmp_path)
        else:
            segment, _ = reopened(file.content[:length], tmp_path)
            assert segment.size == max(end for end in ends if end <= length)
            assert not segment.has_lost_tail


def test_what_was_written_and_not_committed_does_not_count(tmp_path: Path, file: File) -> None:
    before = file.content
    file.append(some_tokens(5), some_rows(5))
    segment, _ = reopened(file.content[:-64], tmp_path)  # without the commit
    assert segment.size == len(before)
    assert not segment.has_lost_tail


def test_records_of_another_segment_or_another_place_do_not_count(tmp_path: Path, file: File) -> None:
    other = File(tmp_path, replace(HEADER, segment_id=b"another segment."), "other")
    other.append(some_tokens(3), some_rows(3))
    first_turn = file.segment.commits[0].offset
    assert reopened(file.content[:first_turn] + other.content[HEADER_BYTES:], tmp_path)[0].size == first_turn
    repeated = file.content[:first_turn] + file.content[HEADER_BYTES:first_turn]
    assert reopened(repeated, tmp_path)[0].size == first_turn
    other.close()


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00, 0xFFFF])
@pytest.mark.parametrize("shape", [SHAPE, QUANTISED])
def test_values_that_are_not_finite_are_refused_under_a_right_checksum(
    tmp_path: Path, bits: int, shape: StateShape
) -> None:
    rows = some_rows(3, shape)
    rows.reshape(-1).view(np.uint16)[0 if shape is QUANTISED else 5] = bits
    file = File(tmp_path, replace(HEADER, shape=shape))
    file.append(some_tokens(3), rows)
    file.close()
    with pytest.raises(StateFileError, match="not finite"):
        reopened(file.content, tmp_path)


def test_rows_of_another_shape_are_refused_and_nothing_is_committed(tmp_path: Path, file: File) -> None:
    before = file.segment
    with pytest.raises(ShapeMismatchError):
        file.append(some_tokens(3), some_rows(3, StateShape.uniform(2, 1, 8)))
    assert reopened(file.content, tmp_path)[0].size == before.size


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (4097, 1, 1), (1, 2**32, 1), (4096, 1024, 1024)])
def test_shapes_that_make_no_sense_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(CallerError):
        StateShape.uniform(*sizes)


def test_a_file_holds_what_is_known_of_it_until_that_is_cut_or_written_over(tmp_path: Path, file: File) -> None:
    def holds() -> bool:
        return still_holds(file.storage, file.descriptor, known)

    known = file.segment
    file.append(some_tokens(5, 9), some_rows(5, seed=9))
    assert holds()
    cut(file.storage, file.descriptor, known.size - 1)
    assert not holds()
    cut(file.storage, file.descriptor, known.commits[0].offset)
    assert not holds()
    file.segment = reopened(file.content, tmp_path)[0]
    file.chain = FINGERPRINT.chain.extended(file.segment.token_ids)
    for turn, count in enumerate((64, 70), 5):
        file.append(some_tokens(count, turn), some_rows(count, seed=turn))
    assert len(file.content) == known.size
    assert not holds()


def test_a_file_that_is_cut_while_it_is_looked_at_does_not_hold_what_is_known(file: File) -> None:
    class CutBeforeReading(ForwardingStorage):
        def before(self, method: str) -> None:
            if method == "read":
                self.inner.truncate(file.descriptor, file.segment.commits[0].offset)

    assert still_holds(file.storage, file.descriptor, file.segment)
    assert not still_holds(CutBeforeReading(file.storage), file.descriptor, file.segment)


def test_cutting_leaves_the_turns_before(tmp_path: Path, file: File) -> None:
    cut(file.storage, file.descriptor, file.segment.commits[0].offset)
    assert reopened(file.content, tmp_path)[0].end == 3


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_cutting_to_records_commits_them_and_the_segment_goes_on_from_there(
    tmp_path: Path, file: File, count: int
) -> None:
    kept = file.segment.records[:count]
    end = kept[-1].position + kept[-1].token_count
    expected = [rows.tobytes() for rows in reopened(file.content, tmp_path)[1]]
    cut_to_records(file.storage, file.descriptor, file.segment, count)
    segment, rows = reopened(file.content, tmp_path)
    assert segment.records == kept
    assert (segment.end, segment.size, segment.has_lost_tail) == (end, len(file.content), False)
    assert segment.end_digest == FINGERPRINT.chain.extended(segment.token_ids).digest
    assert [each.tobytes() for each in rows] == expected[:count]

    file.segment, file.chain = segment, FINGERPRINT.chain.extended(segment.token_ids)
    file.append(some_tokens(70, 9), some_rows(70, seed=9))
    assert reopened(file.content, tmp_path)[0].end == end + 70
    assert read_plainly(file.content).token_ids == [*segment.token_ids, *some_tokens(70, 9)]


# --- hostile --------------------------------------------------------------------------------------------------------


def most_memory_bytes() -> int:
    """The most memory that this process ever had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # kilobytes elsewhere


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with something done to it at random: flips, cuts, insertions, repetitions, evil numbers."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if data:
                data[place % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[place : place + chance.randrange(200)]
            case 2:
                data[place:place] = chance.randbytes(chance.randrange(200))
            case 3:
                data[place:place] = data[chance.randrange(len(data) + 1) :][:200]
            case 4:
                number = chance.choice([0, 1, 63, 65, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
                data[place : place + 8] = struct.pack("<Q", number)
    return bytes(data)


def resealed(content: bytes) -> bytes:
    """The content with right checksums, as far as its records can be followed: what an attacker would write."""
    data = bytearray(content)
    if len(data) < HEADER_BYTES:
        return content
    data[252:256] = struct.pack("<I", zlib.crc32(data[:252]))
    checksum, offset = zlib.crc32(data[:252]), HEADER_BYTES
    (element,) = struct.unpack_from("<I", data, ELEMENT_TYPE)
    heads, key_dim, value_dim, _, layers = struct.unpack_from("<5I", data, KV_HEADS)
    head_bytes = [2 * dim if element == 1 else -(-dim // 32) * 34 for dim in (key_dim, value_dim)]
    while offset + 64 <= len(data):
        count = struct.unpack_from("<I", data, offset + 4)[0]
        payload = offset + 64 + (-(-4 * (count + 1) // 64) * 64 if count else 0)
        end = payload + -(-count * layers * heads * sum(head_bytes) // 64) * 64
        if end > len(data):
            break
        if count:
            struct.pack_into("<I", data, offset + 64 + 4 * count, zlib.crc32(data[payload:end]))
        checksum = zlib.crc32(data[offset + 64 : payload], zlib.crc32(data[offset : offset + 60], checksum))
        struct.pack_into("<I", data, offset + 60, checksum)
        offset = end
    return bytes(data)


@pytest.mark.parametrize("prepare", [bytes, resealed])
def test_hostile_files_are_refused_or_sound(tmp_path: Path, file: File, prepare: Any) -> None:
    chance, content, refused = random.Random(1), file.content, 0
    count = scaled(4_000, 500_000)
    memory = most_memory_bytes()
    for _ in range(count):
        try:
            segment, rows = reopened(prepare(mutated(content, chance)), tmp_path)
        except StateFileError:
            refused += 1
            continue
        assert len(segment.token_ids) == sum(place.token_count for place in segment.records)
        assert all(np.isfinite(each.astype(np.float32)).all() for each in rows if each.dtype == np.float16)
    assert refused > count // 7
    assert most_memory_bytes() - memory <= 64 << 20


def test_a_place_behind_the_end_of_the_file_is_truncated(tmp_path: Path, file: File) -> None:
    place = RecordPlace(0, 3, 0, (PartPlace(len(file.content) - 10, 0),), 0)
    with pytest.raises(StateFileError, match="truncated"):
        read_kv(file.storage, file.descriptor, SHAPE, place, 0)
