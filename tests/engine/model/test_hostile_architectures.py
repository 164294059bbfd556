"""Files of every architecture with one thing wrong: each is prepared as sound, or refused with one clear error.

What can be wrong: a key is missing, zero, huge, negative, no number, of another type, or an array of another length; a
tensor is missing, turned around, longer, or of a type that it cannot have. Files are made from the declarations, so a
new architecture is tried by itself. Vocabularies are the same in all of them, and tried once.
"""

import random
import re
import resource
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.engine.model.random_model import write_model_of
from tests.fakes.gguf_bytes import array, gguf_bytes, scalar, tensor
from tests.fakes.odd_models import metadata_entry
from tests.fakes.tiny_model import make_tiny_model
from tests.scale import scaled
from tui_llama.engine.gguf.file import TENSOR_TYPES, GgufFile, StringArray, TensorInfo, ValueType, open_gguf
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.engine.model.preparation import prepare_model
from tui_llama.engine.plan.architectures import ARCHITECTURES
from tui_llama.engine.templates.model_template import template_from_gguf
from tui_llama.engine.tokenizer.tokenizer import tokenizer_from_gguf
from tui_llama.errors import ModelFileError

pytestmark = pytest.mark.slow

MOST_BYTES = 1 << 27
"""By which the process may grow while it tries models of some hundred kilobytes, with all that is imported for them."""

Mutant = tuple[str, Callable[[], bytes]]
"""What is wrong with a file, and what makes it."""

Tensors = dict[str, tuple[Sequence[int], int]]
NUMBERS = (0, 1, 3, 7, 255, 2**16, 2**24, 2**31 - 1)
LONG_NUMBERS = (-1, -(2**31), 2**32, 2**62)
FLOATS = (0.0, -1.0, 1e-30, 1e14, 1e30, float("inf"), float("-inf"), float("nan"))
ALIGNMENT = 32


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_file_with_one_thing_wrong_is_prepared_or_refused(name: str, tmp_path: Path) -> None:
    sound = write_model_of(tmp_path / "sound.gguf", name)
    assert not read_model_facts(sound).refusal
    with open_gguf(sound) as file:
        mutants = [*with_wrong_keys(file, (f"{name}.", "xielu.")), *with_wrong_tensors(file)]
        copy = written({key: metadata_entry(file, key) for key in file.metadata}, tensors_of(file))
    sound.write_bytes(copy)
    prepare(sound)
    random.Random(name).shuffle(mutants)
    mutants = mutants[: scaled(12, len(mutants))]
    assert try_all(mutants, tmp_path / "mutant.gguf", prepare) > 2


def test_a_file_with_a_wrong_vocabulary_is_read_or_refused(tmp_path: Path) -> None:
    with open_gguf(make_tiny_model(tmp_path / "sound.gguf")) as file:
        mutants = [*with_wrong_keys(file, ("tokenizer.", "general."))]
    random.Random(7).shuffle(mutants)
    assert try_all(mutants[: scaled(60, len(mutants))], tmp_path / "mutant.gguf", read_texts) > 6


def try_all(mutants: Sequence[Mutant], path: Path, use: Callable[[Path], None]) -> int:
    """Uses files, which may raise `ModelFileError` only and take little memory; returns how many did."""
    refused, before_bytes = 0, peak_bytes()
    for what, content in mutants:
        path.write_bytes(content())
        try:
            use(path)
        except ModelFileError as error:
            assert error.hint, what
            assert "\n" not in str(error), what
            refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        assert peak_bytes() - before_bytes < MOST_BYTES, what
    return refused


def peak_bytes() -> int:
    """Returns the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def prepare(path: Path) -> None:
    """Does what a load does before it reads weights and texts."""
    with open_gguf(path) as file:
        prepare_model(file)


def read_texts(path: Path) -> None:
    """Reads the vocabulary and the template."""
    with open_gguf(path) as file:
        template_from_gguf(file, tokenizer_from_gguf(file))


def with_wrong_keys(file: GgufFile, prefixes: tuple[str, ...]) -> Iterator[Mutant]:
    """Yields files with one key wrong, and which one."""
    entries = {key: metadata_entry(file, key) for key in file.metadata}
    tensors = tensors_of(file)
    for key in entries:
        if key.startswith(prefixes):
            yield f"{key} is missing", partial(written, {**entries, key: b""}, tensors)
            for entry in wrong_entries(file, key):
                yield f"{key}: {entry[-40:]!r}", partial(written, {**entries, key: entry}, tensors)


def with_wrong_tensors(file: GgufFile) -> Iterator[Mutant]:
    """Yields files with one tensor wrong, and which one."""
    entries = {key: metadata_entry(file, key) for key in file.metadata}
    tensors = tensors_of(file)
    for name, info in file.tensors.items():
        if re.match(r"blk\.(?!0\.)", name):
            continue  # as in the first block
        yield f"{name} is missing", partial(written, entries, {key: tensors[key] for key in tensors if key != name})
        for shape, type_id in wrong_tensors(info):
            yield f"{name}: {shape} {type_id}", partial(written, entries, {**tensors, name: (shape, type_id)})
    yield "a tensor more", partial(written, entries, {**tensors, "blk.0.attn_more.weight": ((32,), 0)})


def tensors_of(file: GgufFile) -> Tensors:
    """Returns the shapes and types of a file's tensors."""
    return {name: (info.shape, info.type_id) for name, info in file.tensors.items()}


def wrong_entries(file: GgufFile, key: str) -> Iterator[bytes]:
    """Yields other entries of a key: other numbers, other types, other lengths."""
    value = file.metadata[key]
    for number in NUMBERS:
        yield scalar(key, ValueType.UINT32, number)
        yield array(key, ValueType.UINT32, [number] * 2)
    for number in LONG_NUMBERS:
        yield scalar(key, ValueType.INT64, number)
    for fraction in FLOATS:
        yield scalar(key, ValueType.FLOAT32, fraction)
    yield scalar(key, ValueType.FLOAT64, 1e300)
    yield scalar(key, ValueType.BOOL, 1)
    yield scalar(key, ValueType.STRING, "\x1b[31m\u202e" * 20)
    for kind in (ValueType.UINT32, ValueType.FLOAT32, ValueType.BOOL, ValueType.STRING):
        yield array(key, kind, [])
        yield array(key, kind, ["0"] * 5000 if kind is ValueType.STRING else [0] * 5000)
    if isinstance(value, np.ndarray | StringArray):
        yield from (metadata_entry(file, key, slice(None, -1)), metadata_entry(file, key, slice(1)))


def wrong_tensors(info: TensorInfo) -> Iterator[tuple[Sequence[int], int]]:
    """Yields other shapes and types of a tensor."""
    first = info.shape[0] if info.shape else 1
    yield info.shape[::-1], info.type_id
    yield (*info.shape[:-1], 2 * info.shape[-1]) if info.shape else (2,), info.type_id
    yield (first, *info.shape, 2), info.type_id
    yield (0, *info.shape[1:]), info.type_id
    yield (first,), info.type_id
    for type_id in TENSOR_TYPES:
        yield info.shape, type_id


def written(entries: dict[str, bytes], tensors: Tensors) -> bytes:
    """Returns a file with these entries and tensors. Floats are 1, as divisors must not be 0; all others are zeros."""
    rows, data = [], b""
    for name, (shape, type_id) in tensors.items():
        rows.append(tensor(name, shape, type_id, len(data)))
        kind, count = TENSOR_TYPES[type_id], int(np.prod(shape, dtype=np.int64))
        content = (
            np.ones(count, "<f4").tobytes() if type_id == 0 else bytes(count // kind.block_elements * kind.block_bytes)
        )
        data += content + bytes(-len(content) % ALIGNMENT)
    return gguf_bytes([entry for entry in entries.values() if entry], rows, data)
