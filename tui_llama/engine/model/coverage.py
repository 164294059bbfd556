"""Checks that the engine knows all of a model file that changes an answer.

An ignored tensor or key gives answers that are wrong and look right. So the forward pass reads every tensor, or the
tensor is named here as one without meaning. Keys that would change the forward pass are refused. Where llama.cpp
ignores such a key as well, the user gets a notice instead.

Source: llama.cpp, src/llama-model.cpp (`load_hparams`) and src/models, of October 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tui_llama.engine.gguf.file import GgufFile, MetadataValue, quoted
from tui_llama.engine.plan.architectures import Architecture
from tui_llama.engine.plan.architectures.decoder import emit_forward_pass
from tui_llama.engine.tensors.hyperparameters import Hyperparameters
from tui_llama.engine.tensors.rotary import FREQUENCY_FACTORS
from tui_llama.engine.tensors.weights import float_vector_info
from tui_llama.errors import ModelFileError

_UNKNOWN_HINT: Final = "Without it, answers would be wrong. Choose another model, or a newer version of this program."
_NAMED_TENSORS: Final = 3

_IGNORABLE: Final = re.compile(
    r"""
    blk\.\d+\.attn_rot_embd\.weight |  # old converters' tables of what `rope.freq_base` says
    rope\.freqs(\.weight)? |
    .*\.input_scale  # for processors that quantise activations by tables
    """,
    re.VERBOSE,
)

_REFUSED_KEYS: Final[Mapping[str, str]] = {
    "expert_count": "the model is a mixture of experts",
    "expert_used_count": "the model is a mixture of experts",
    "expert_group_count": "the model is a mixture of experts",
    "nextn_predict_layers": "the model has blocks that predict several tokens",
}
"""Keys that are 0 in every model that this engine runs, and what another number means."""

_NEUTRAL_VALUES: Final[Mapping[str, tuple[float, ...]]] = {
    "attention.sliding_window": (0,),
    "attention.scale": (0,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.temperature_scale": (0,),
    "attention.output_scale": (0, 1),
    "attention.value_scale": (0, 1),
    "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,),
    "router_logit_softcapping": (0,),
    "embedding_scale": (0, 1),
    "residual_scale": (0, 1),
    "logit_scale": (0, 1),
    "use_parallel_residual": (0,),
}
"""Keys that other architectures read. llama.cpp ignores them for the architectures of this engine."""


def check_coverage(file: GgufFile, sizes: Hyperparameters, architecture: Architecture) -> tuple[str, ...]:
    """Checks that the forward pass uses every tensor and key of a model.

    Returns:
        Notices to the user, one line each.

    Raises:
        ModelFileError: there are tensors or keys that this engine would have to know, or a tensor is missing or of
            another shape than the sizes ask for.
    """
    _check_keys(file)
    census = TensorCensus(file, sizes)
    if architecture.frequency_factors and census.has(FREQUENCY_FACTORS):
        census.note_vector(FREQUENCY_FACTORS, sizes.rope_dim // 2)
    emit_forward_pass(census, architecture)
    unknown = [
        name
        for name, tensor in file.tensors.items()
        if name not in census.names and tensor.size_bytes and not _IGNORABLE.fullmatch(name)
    ]
    if unknown:
        raise file.refuse(_unknown_words(unknown), _UNKNOWN_HINT)
    return tuple(_notices(file))


@dataclass(frozen=True, slots=True)
class _Width:
    """A buffer without memory: the census needs only its width."""

    width: int


class TensorCensus:
    """A `PlanWriter` that only notes the tensors that a forward pass reads, in `names`, and checks each in the file.

    Raises:
        ModelFileError: one is missing or of another shape.
    """

    def __init__(self, file: GgufFile, sizes: Hyperparameters) -> None:
        self._file = file
        self.sizes = sizes
        self.names: set[str] = set()

    @property
    def logits(self) -> _Width:
        """The buffer for the logits. For this and everything below, see `PlanWriter`."""
        return _Width(self.sizes.vocab_size)

    def note_vector(self, name: str, count: int) -> None:
        """Notes that a vector is read."""
        float_vector_info(self._file, name, count)
        self.names.add(name)

    def has(self, name: str) -> bool:
        """Tells whether the model has a tensor of that name."""
        return name in self._file.tensors

    def buffer(self, name: str, width: int) -> _Width:
        """Returns a buffer of `width` numbers for each token."""
        return _Width(width)

    def embed(self, name: str) -> _Width:
        """Notes an embedding."""
        self._note_matrix(name, self.sizes.vocab_size, self.sizes.embedding_size)
        return _Width(self.sizes.embedding_size)

    def rms_norm(self, source: _Width, name: str) -> _Width:
        """Notes a norm's weights."""
        self.note_vector(f"{name}.weight", source.width)
        return source

    def head_norm(self, buffer: _Width, name: str, heads: int) -> None:
        """Notes a norm's weights."""
        self.note_vector(f"{name}.weight", self.sizes.head_dim)

    def multiply(
        self, source: _Width, targets: Mapping[str, _Width], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Notes matrices, and their biases."""
        for name, target in targets.items():
            self._note_matrix(name, target.width, source.width)
            if bias_required or self.has(f"{name}.bias"):
                self.note_vector(f"{name}.bias", target.width)

    def rotate(self, queries: _Width, neighbours: bool) -> _Width:
        """Reads no tensor."""
        return queries

    def store(self, keys: _Width, values: _Width, layer: int, neighbours: bool) -> None:
        """Reads no tensor."""

    def continue_with_output_tokens(self) -> None:
        """Reads no tensor."""

    def attention(
        self, rotated: _Width, layer: int, scale: float, *, window: int = 0, soft_cap: float = 0.0, sinks: str = ""
    ) -> _Width:
        """Notes the sinks."""
        if sinks:
            self.note_vector(sinks, self.sizes.head_count)
        return _Width(self.sizes.head_count * self.sizes.head_dim)

    def swiglu(self, gates: _Width, ups: _Width) -> _Width:
        """Reads no tensor."""
        return gates

    def _note_matrix(self, name: str, rows: int, columns: int) -> None:
        full_name = f"{name}.weight"
        self._file.tensor_of_shape(full_name, (columns, rows))
        self.names.add(full_name)


def _check_keys(file: GgufFile) -> None:
    for name, meaning in _REFUSED_KEYS.items():
        if _says(file, name, (0,)):
            raise _refusal(file, name, meaning)
    if _value(file, "attention.causal") is False:
        raise _refusal(file, "attention.causal", "the model reads text in both directions, so it cannot write")


def _refusal(file: GgufFile, name: str, meaning: str) -> ModelFileError:
    return file.refuse(f"{meaning} ({_full_name(file, name)}), which is not supported", _UNKNOWN_HINT)


def _notices(file: GgufFile) -> list[str]:
    said = [name for name, neutral in _NEUTRAL_VALUES.items() if _says(file, name, neutral)]
    notices = []
    if said:
        notices.append(
            f"The model file has {', '.join(said)}, which neither llama.cpp nor this program uses for models of this "
            "kind; answers may be worse."
        )
    if _says(file, "pooling_type", (0,)):
        notices.append(
            "The model was made for embeddings, not for writing (pooling_type); its answers may be nonsense."
        )
    return notices


def _says(file: GgufFile, name: str, neutral: tuple[float, ...]) -> bool:
    """Tells whether the file has the key with another value than those."""
    value = _value(file, name)
    if value is None:
        return False
    return not np.isin(value, neutral).all() if isinstance(value, np.ndarray) else value not in neutral


def _value(file: GgufFile, name: str) -> MetadataValue | None:
    return file.metadata.get(_full_name(file, name))


def _full_name(file: GgufFile, name: str) -> str:
    return f"{file.get_str('general.architecture')}.{name}"


def _unknown_words(names: list[str]) -> str:
    named = ", ".join(quoted(name) for name in names[:_NAMED_TENSORS])
    more = f" and {len(names) - _NAMED_TENSORS} more" if len(names) > _NAMED_TENSORS else ""
    tensors = "a tensor" if len(names) == 1 else f"{len(names)} tensors"
    return f"the model has {tensors} that this program cannot use: {named}{more}"
