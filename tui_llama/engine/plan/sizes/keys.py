"""The metadata keys of one architecture, read and checked one by one."""

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from tui_llama.engine.gguf.file import GgufFile, StringArray
from tui_llama.engine.tensors.hyperparameters import MAX_LAYERS, MAX_SIZE, MAX_VOCAB
from tui_llama.errors import ModelFileError

OTHER_MODEL_HINT: Final = "Choose another model, or a newer version of this program."
MAX_NUMBER: Final = 1e15
"""Of what is no whole number; so that a float32 can hold products of a few of them."""
NOT_CONVERTED_HINT: Final = "Choose another file of the same model; this one was not converted properly."


class Keys:
    """The keys of a file that begin with its architecture's name, as in `llama.block_count`.

    Names are given without that beginning. Every method raises `ModelFileError`, which names the key, if it is missing
    and has no default, if its value is of another type, or if it is out of bounds. `used` collects the names of all
    keys that were asked for.
    """

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        self.architecture = file.get_str("general.architecture")
        self.used: set[str] = set()

    @cached_property
    def layer_count(self) -> int:
        """Blocks that generate text."""
        blocks = self.size("block_count", MAX_LAYERS)
        if self.predicting_blocks >= blocks:
            what = f"{self.predicting_blocks} of {blocks} blocks leave none to write with"
            raise self.refuse("nextn_predict_layers", what)
        return blocks - self.predicting_blocks

    @cached_property
    def predicting_blocks(self) -> int:
        """Blocks at the end that predict several tokens; the block count has them too."""
        return self.count("nextn_predict_layers", MAX_LAYERS)

    @cached_property
    def embedding_size(self) -> int:
        """Elements of the residual stream."""
        return self.size("embedding_length", MAX_SIZE)

    @cached_property
    def token_count(self) -> int:
        """Size of the vocabulary: of the list of tokens, as in llama.cpp, or else as the key says."""
        tokens = self.file.get_strings("tokenizer.ggml.tokens", None)
        if isinstance(tokens, StringArray):
            return self.bounded("vocab_size", len(tokens), MAX_VOCAB)
        return self.size("vocab_size", MAX_VOCAB)

    def has(self, key: str) -> bool:
        """Tells whether the file has the key."""
        self.used.add(key)
        return self._full(key) in self.file.metadata

    def size(self, key: str, most: int, default: int | None = None, *, least: int = 1) -> int:
        """Returns a whole number from `least` to `most`."""
        self.used.add(key)
        full = self._full(key)
        value = self.file.get_int(full) if default is None else self.file.get_int(full, default)
        return self.bounded(key, value, most, least=least)

    def count(self, key: str, most: int, default: int | None = 0) -> int:
        """Returns a whole number from 0 to `most`."""
        return self.size(key, most, default, least=0)

    def sizes(
        self, key: str, most: int, layer_count: int, default: int | None = None, *, least: int = 1
    ) -> tuple[int, ...]:
        """Returns a size of each layer, which the file gives once for all or in an array of at least `layer_count`."""
        self.used.add(key)
        full = self._full(key)
        if not isinstance(self.file.metadata.get(full), np.ndarray):
            return (self.size(key, most, default, least=least),) * layer_count
        values = self.file.get_int_array(full)
        if len(values) < layer_count:
            raise self.refuse(key, f"it has {len(values)} values for {layer_count} layers")
        return tuple(self.bounded(key, int(value), most, least=least) for value in values[:layer_count])

    def flags(self, key: str, layer_count: int) -> tuple[bool, ...]:
        """Returns an array of truths, or of numbers that are 0 or not, one for each layer."""
        self.used.add(key)
        values = self.file.metadata.get(self._full(key))
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "biu":
            raise self.refuse(key, "it should be an array of truths")
        if len(values) < layer_count:
            raise self.refuse(key, f"it has {len(values)} values for {layer_count} layers")
        return tuple(bool(value) for value in values[:layer_count])

    def is_array(self, key: str) -> bool:
        """Tells whether the key's value is an array."""
        self.used.add(key)
        return isinstance(self.file.metadata.get(self._full(key)), np.ndarray)

    def integers(self, key: str) -> Sequence[int]:
        """Returns an array of whole numbers."""
        self.used.add(key)
        return [int(value) for value in self.file.get_int_array(self._full(key))]

    def number(self, key: str, default: float | None = None) -> float:
        """Returns a number of at most `MAX_NUMBER`, with either sign."""
        self.used.add(key)
        full = self._full(key)
        number = self.file.get_float(full) if default is None else self.file.get_float(full, default)
        if not abs(number) <= MAX_NUMBER:
            raise self.refuse(key, f"{number} is not a number between -{MAX_NUMBER:g} and {MAX_NUMBER:g}")
        return number

    def numbers(self, key: str, default: float | None = None, *, is_general: bool = False) -> tuple[float, ...]:
        """Returns a number of each layer, which the file gives once for all or in an array.

        The name of a key that is general does not begin with the architecture's.
        """
        self.used.add(key)
        full = key if is_general else self._full(key)
        if isinstance(self.file.metadata.get(full), np.ndarray):
            values = tuple(float(value) for value in self.file.get_float_array(full)[: self.layer_count])
        else:
            value = self.file.get_float(full) if default is None else self.file.get_float(full, default)
            values = (value,) * self.layer_count
        if len(values) < self.layer_count:
            what = f"it has {len(values)} values for {self.layer_count} layers"
            raise self.file.refuse(f"metadata key {full[:80]!a}: {what}", NOT_CONVERTED_HINT)
        for value in values:
            if not abs(value) <= MAX_NUMBER:
                what = f"{value} is not a number between -{MAX_NUMBER:g} and {MAX_NUMBER:g}"
                raise self.file.refuse(f"metadata key {full[:80]!a}: {what}", NOT_CONVERTED_HINT)
        return values

    def positive(self, key: str, default: float | None = None) -> float:
        """Returns a number above 0."""
        number = self.number(key, default)
        if number <= 0:
            raise self.refuse(key, f"{number} is not positive")
        return number

    def not_negative(self, key: str, default: float | None = None) -> float:
        """Returns a number that is at least 0."""
        number = self.number(key, default)
        if number < 0:
            raise self.refuse(key, f"{number} is negative")
        return number

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Returns a truth."""
        self.used.add(key)
        full = self._full(key)
        return self.file.get_bool(full) if default is None else self.file.get_bool(full, default)

    def text(self, key: str, default: str) -> str:
        """Returns a text, not safe to print."""
        self.used.add(key)
        return self.file.get_str(self._full(key), default)

    def bounded(self, key: str, size: int, most: int, *, least: int = 1) -> int:
        """Returns the size if it is within its bounds."""
        if not least <= size <= most:
            raise self.refuse(key, f"{size} is not between {least} and {most}")
        return size

    def refuse(self, key: str, what: str, hint: str = NOT_CONVERTED_HINT) -> ModelFileError:
        """Makes the error that says what is wrong with a key, for the caller to raise."""
        return self.file.refuse(f"metadata key {self._full(key)[:80]!a}: {what}", hint)

    def _full(self, key: str) -> str:
        return f"{self.architecture}.{key}"
