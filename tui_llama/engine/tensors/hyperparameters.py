"""Sizes and constants of a model, read from its metadata and checked, so that no later code has to doubt them.

Keys begin with the architecture's name, as in `llama.block_count`. Unknown keys are ignored; a missing key is named in
the error. Every size is bounded, so that no product of sizes requests an absurd amount of memory. The architectures
know what the sizes mean for the forward pass.

Source: llama.cpp, src/llama-model.cpp (`load_hparams`) and src/llama-arch.cpp.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from tui_llama.engine.gguf.file import GgufFile, StringArray
from tui_llama.engine.layouts.attention import MOST_ROWS
from tui_llama.errors import ModelFileError

MAX_LAYERS: Final = 1024
MAX_SIZE: Final = 1 << 20  # of a vector: embedding, hidden layer, all heads together
MAX_HEADS: Final = 1 << 12
MAX_HEAD_DIM: Final = 1 << 12
MAX_CONTEXT: Final = 1 << 30
MAX_VOCAB: Final = 1 << 21

ASSUMED_CONTEXT: Final = 1 << 13
"""Context in tokens that is assumed for a file that declares 0."""
_NO_CONTEXT_NOTICE: Final = (
    f"The model file does not give the length of its context (context_length is 0); {ASSUMED_CONTEXT} is assumed."
)
_DEFAULT_ROPE_BASE: Final = 10000.0
_OTHER_MODEL: Final = "Choose another model, or a newer version of this program."
_HINT: Final = "Choose another file of the same model; this one was not converted properly."

# llama.cpp loads models of these architectures only if rotary positions rotate whole heads.
_WHOLE_HEAD_ROTATION: Final = frozenset({"llama"})

ScalingKind: TypeAlias = Literal["none", "linear", "yarn"]
_SCALING_KINDS: Final[dict[str, ScalingKind]] = {
    "none": "none",
    "linear": "linear",
    "yarn": "yarn",
}


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Stretching of rotary positions beyond the context of the model's first training.

    The numbers are the file's own, or llama.cpp's defaults; rotary.py computes yarn's angles from them.
    """

    kind: ScalingKind
    """"none", "linear" or "yarn"; a linear scaling by the factor 1 becomes "none"."""
    factor: float
    """Factor by which the context becomes longer; 1 for "none". Angles are divided by it."""
    original_context: int
    """The context of the first training, in tokens."""
    attention_factor: float
    """Multiplies sine and cosine, on top of yarn's own factor."""
    extension_factor: float
    """Weight of yarn's mix of stretched and original angles: the file's own, else 1 for yarn and 0 for others."""
    beta_fast: float
    """Yarn: dimensions that rotate more often than this within the original context keep their angles."""
    beta_slow: float
    """Yarn: dimensions that rotate less often than this are stretched fully."""
    log_multiplier: float
    """Yarn: strength of the correction of the attention's temperature; 0 for the usual one."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The sizes of a transformer of the llama family. All are positive and bounded."""

    architecture: str
    """As in the file; not safe to print."""
    layer_count: int
    embedding_size: int
    """Elements of the residual stream."""
    hidden_size: int
    """Elements between the two halves of a feed-forward block."""
    head_count: int
    """Query heads; a multiple of `kv_head_count`."""
    kv_head_count: int
    head_dim: int
    """Elements of a head's query, key and value; `head_count * head_dim` may differ from `embedding_size`."""
    rope_dim: int
    """Elements of a head that rotary positions rotate; even, at most `head_dim`."""
    rope_base: float
    rope_scaling: RopeScaling
    rms_epsilon: float
    context_length: int
    """Context in tokens that the model was trained for."""
    vocab_size: int
    notices: tuple[str, ...] = ()
    """Notices for the user, one line each."""


def read_hyperparameters(file: GgufFile) -> Hyperparameters:
    """Reads and checks the sizes of the model in `file`.

    Raises:
        ModelFileError: a key is missing, of the wrong type, out of bounds, or contradicts another.
    """
    architecture = file.get_str("general.architecture")
    return _Reader(file, architecture).read()


class _Reader:
    """Reads the keys of one architecture."""

    def __init__(self, file: GgufFile, architecture: str) -> None:
        self._file = file
        self._architecture = architecture

    def read(self) -> Hyperparameters:
        layer_count = self._size("block_count", MAX_LAYERS)
        embedding_size = self._size("embedding_length", MAX_SIZE)
        head_count = self._layer_size("attention.head_count", MAX_HEADS, layer_count)
        kv_head_count = self._kv_head_count(head_count, layer_count)
        head_dim = self._head_dim(embedding_size, head_count)
        declared_context = self._context_length()
        return Hyperparameters(
            architecture=self._architecture,
            layer_count=layer_count,
            embedding_size=embedding_size,
            hidden_size=self._layer_size("feed_forward_length", MAX_SIZE, layer_count),
            head_count=head_count,
            kv_head_count=kv_head_count,
            head_dim=head_dim,
            rope_dim=self._rope_dim(head_dim),
            rope_base=self._rope_base(),
            rope_scaling=self._rope_scaling(declared_context),
            rms_epsilon=self._rms_epsilon(),
            context_length=declared_context or ASSUMED_CONTEXT,
            vocab_size=self._vocab_size(),
            notices=() if declared_context else (_NO_CONTEXT_NOTICE,),
        )

    def _context_length(self) -> int:
        """Reads the context length; 0 if the file leaves it open."""
        key = "context_length"
        declared = self._file.get_int(self._full(key))
        return self._bounded(key, declared, MAX_CONTEXT) if declared else 0

    def _kv_head_count(self, head_count: int, layer_count: int) -> int:
        key = "attention.head_count_kv"
        kv_head_count = self._layer_size(key, head_count, layer_count, default=head_count)
        if head_count % kv_head_count:
            raise self._refuse(key, f"{kv_head_count} does not divide the {head_count} query heads")
        group = head_count // kv_head_count
        if group > MOST_ROWS:
            raise self._refuse(key, f"{group} query heads share one, more than the {MOST_ROWS} supported", _OTHER_MODEL)
        return kv_head_count

    def _head_dim(self, embedding_size: int, head_count: int) -> int:
        head_dim = self._size("attention.key_length", MAX_HEAD_DIM, default=embedding_size // head_count)
        value_dim = self._size("attention.value_length", MAX_HEAD_DIM, default=embedding_size // head_count)
        if value_dim != head_dim:
            raise self._refuse("attention.value_length", f"{value_dim} differs from the key length, {head_dim}")
        if head_count * head_dim > MAX_SIZE:
            raise self._refuse("attention.key_length", f"{head_count} heads of {head_dim} are more than {MAX_SIZE}")
        return head_dim

    def _rope_dim(self, head_dim: int) -> int:
        key = "rope.dimension_count"
        rope_dim = self._size(key, head_dim, default=head_dim)
        if rope_dim % 2:
            raise self._refuse(key, f"{rope_dim} is odd, but must be even")
        if self._architecture in _WHOLE_HEAD_ROTATION and rope_dim != head_dim:
            raise self._refuse(key, f"{rope_dim} should be the whole head, {head_dim}")
        return rope_dim

    def _rope_base(self) -> float:
        key = "rope.freq_base"
        base = self._number(key, _DEFAULT_ROPE_BASE)
        if base <= 1:  # angles must shrink from pair to pair, and yarn divides by the logarithm
            raise self._refuse(key, f"{base} is not greater than 1")
        return base

    def _rope_scaling(self, context_length: int) -> RopeScaling:
        factor = self._scaling_factor()
        kind = self._scaling_kind(factor)
        extension_factor = self._number("rope.scaling.yarn_ext_factor", -1.0)
        if extension_factor < 0:
            extension_factor = 1.0 if kind == "yarn" else 0.0
        return RopeScaling(
            kind=kind,
            factor=1.0 if kind == "none" else factor,
            original_context=self._original_context(kind, context_length),
            attention_factor=self._positive("rope.scaling.attn_factor", 1.0),
            extension_factor=extension_factor,
            beta_fast=self._positive("rope.scaling.yarn_beta_fast", 32.0),
            beta_slow=self._positive("rope.scaling.yarn_beta_slow", 1.0),
            log_multiplier=self._number("rope.scaling.yarn_log_multiplier", 0.0),
        )

    def _original_context(self, kind: ScalingKind, context_length: int) -> int:
        """Reads the original context; if the context length is missing as well, that is an error for yarn only."""
        default = context_length if context_length or kind == "yarn" else ASSUMED_CONTEXT
        return self._size("rope.scaling.original_context_length", MAX_CONTEXT, default=default)

    def _scaling_factor(self) -> float:
        """Reads the scaling factor; absent or 0 means 1. Older files have the key `rope.scale_linear`."""
        for key in ("rope.scaling.factor", "rope.scale_linear"):
            factor = self._number(key, 0.0)
            if factor < 0:
                raise self._refuse(key, f"{factor} is negative")
            if factor > 0:
                return factor
        return 1.0

    def _scaling_kind(self, factor: float) -> ScalingKind:
        key = "rope.scaling.type"
        declared = self._file.get_str(self._full(key), "linear")
        kind = _SCALING_KINDS.get(declared)
        if kind is None:
            raise self._refuse(key, f"{declared[:40]!a} is not a kind of scaling that this program knows", _OTHER_MODEL)
        return "none" if kind == "linear" and factor == 1.0 else kind

    def _rms_epsilon(self) -> float:
        key = "attention.layer_norm_rms_epsilon"
        epsilon = self._file.get_float(self._full(key))
        if not 0 <= epsilon < 1:
            raise self._refuse(key, f"{epsilon} is not between 0 and 1")
        return epsilon

    def _vocab_size(self) -> int:
        """Reads the vocabulary's size: from the vocabulary, as in llama.cpp, or else from the key."""
        tokens = self._file.get_strings("tokenizer.ggml.tokens", None)
        if isinstance(tokens, StringArray):
            return self._bounded("vocab_size", len(tokens), MAX_VOCAB)
        return self._size("vocab_size", MAX_VOCAB)

    def _layer_size(self, key: str, most: int, layer_count: int, default: int | None = None) -> int:
        """Reads a size that some files give for each layer; here it must be the same for all layers."""
        values = self._file.metadata.get(self._full(key))
        if not isinstance(values, np.ndarray):
            return self._size(key, most, default)
        sizes = self._file.get_int_array(self._full(key))
        if len(sizes) != layer_count:
            raise self._refuse(key, f"it has {len(sizes)} values for {layer_count} layers")
        if (sizes != sizes[0]).any():
            raise self._refuse(
                key,
                "it differs from layer to layer, which is not supported",
                "Choose a model whose layers are all alike.",
            )
        return self._bounded(key, int(sizes[0]), most)

    def _size(self, key: str, most: int, default: int | None = None) -> int:
        if default is None:
            return self._bounded(key, self._file.get_int(self._full(key)), most)
        return self._bounded(key, self._file.get_int(self._full(key), default), most)

    def _bounded(self, key: str, size: int, most: int) -> int:
        if not 1 <= size <= most:
            raise self._refuse(key, f"{size} is not between 1 and {most}")
        return size

    def _positive(self, key: str, default: float) -> float:
        number = self._number(key, default)
        if number <= 0:
            raise self._refuse(key, f"{number} is not positive")
        return number

    def _number(self, key: str, default: float) -> float:
        number = self._file.get_float(self._full(key), default)
        if not math.isfinite(number):
            raise self._refuse(key, f"{number} is not a finite number")
        return number

    def _full(self, key: str) -> str:
        return f"{self._architecture}.{key}"

    def _refuse(self, key: str, what: str, hint: str = _HINT) -> ModelFileError:
        return self._file.refuse(f"metadata key {self._full(key)[:80]!a}: {what}", hint)
