"""Checks that the engine knows all of a model file that changes an answer.

An ignored tensor or key gives answers that are wrong and look right. So the forward pass reads every tensor, or the
tensor is named here as one without meaning. Keys that would change the forward pass are refused. Where llama.cpp
ignores such a key as well, the user gets a notice instead.

Source: llama.cpp, src/llama-model.cpp (`load_hparams`) and src/models, of October 2026.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tui_llama.engine.gguf.file import GgufFile, MetadataValue, quoted
from tui_llama.engine.plan.architectures import Architecture
from tui_llama.engine.plan.forward.decoder import emit_forward_pass
from tui_llama.engine.plan.forward.expert_writer import ExpertMatrixName
from tui_llama.engine.plan.forward.plan_writer import MatrixName, Rows
from tui_llama.engine.plan.sizes.read_sizes import ReadSizes
from tui_llama.engine.tensors.expert_sizes import ExpertSizes
from tui_llama.engine.tensors.hyperparameters import Activation, Hyperparameters, NormKind
from tui_llama.engine.tensors.weights import float_info, float_vector_info, has_number, matrix_info
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

_BLOCK: Final = re.compile(r"blk\.(\d{1,6})\.")

_REFUSED_KEYS: Final[Mapping[str, str]] = {
    "expert_count": "the model is a mixture of experts",
    "expert_used_count": "the model is a mixture of experts",
    "expert_group_count": "the model is a mixture of experts",
}
"""Keys that are 0 in files of an architecture that does not read them, and what another number means."""

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
"""Keys that some architectures read. llama.cpp ignores them for the others."""


def check_coverage(file: GgufFile, read: ReadSizes, architecture: Architecture) -> tuple[str, ...]:
    """Checks that the forward pass uses every tensor and key of a model.

    Returns:
        Notices to the user, one line each.

    Raises:
        ModelFileError: there are tensors or keys that this engine would have to know, or a tensor is missing or of
            another shape than the sizes ask for.
    """
    _check_keys(file, read.used_keys)
    census = TensorCensus(file, read.sizes)
    for rotation in read.sizes.rotations:
        for name in {rotation.factors, rotation.long_factors} - {""}:
            census.note_vector(name, rotation.factor_count)
    emit_forward_pass(census, architecture)
    unknown = [
        name
        for name, tensor in file.tensors.items()
        if name not in census.names
        and tensor.size_bytes
        and not _IGNORABLE.fullmatch(name)
        and not _predicts_several_tokens(name, read)
    ]
    if unknown:
        raise file.refuse(_unknown_words(unknown), _UNKNOWN_HINT)
    return tuple(_notices(file, read.used_keys))


def _predicts_several_tokens(name: str, read: ReadSizes) -> bool:
    """Tells whether a tensor is of a block behind the layers, which text can do without."""
    block = _BLOCK.match(name)
    first = read.sizes.layer_count
    return block is not None and first <= int(block[1]) < first + read.predicting_blocks


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

    @property
    def experts(self) -> "ExpertCensus":
        """The operations on mixtures of experts."""
        return ExpertCensus(self._file, self.names)

    def has(self, name: str) -> bool:
        """Tells whether the model has a tensor of that name."""
        return name in self._file.tensors

    def buffer(self, name: str, width: int) -> _Width:
        """Returns a buffer of `width` numbers for each token."""
        return _Width(width)

    def embed(self, name: str, target: _Width, scale: float) -> None:
        """Notes an embedding."""
        self._note_matrix(name, self.sizes.vocab_size, target.width)

    def embed_positions(self, name: str, target: _Width) -> None:
        """Notes the table."""
        full_name = f"{name}.weight"
        float_info(self._file, full_name, (target.width, self.sizes.context_length))
        self.names.add(full_name)

    def part(self, values: _Width, first: int, width: int) -> _Width:
        """Returns a buffer of `width` numbers for each token."""
        return _Width(width)

    def norm(
        self, source: _Width, name: str, kind: NormKind, *, bias_required: bool = False, target: str = "normed"
    ) -> _Width:
        """Notes a norm's weights and bias."""
        if name:
            self._note_norm(name, source.width, kind, bias_required)
        return source

    def norm_in_place(self, values: _Width, name: str, kind: NormKind) -> None:
        """Notes a norm's weights and bias."""
        if name:
            self._note_norm(name, values.width, kind, False)

    def head_norm(
        self, values: _Width, name: str, heads: int, kind: NormKind, *, vector_per_head: bool = False
    ) -> None:
        """Notes a norm's weights."""
        if name:
            full_name = f"{name}.weight"
            float_info(self._file, full_name, (values.width // heads, heads if vector_per_head else 1))
            self.names.add(full_name)

    def multiply(
        self, source: _Width, targets: Mapping[MatrixName, _Width], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Notes matrices, their factors and their biases."""
        for matrix, target in targets.items():
            tensor, total = (matrix.name, matrix.total) if isinstance(matrix, Rows) else (matrix, target.width)
            self._note_matrix(tensor, total, source.width)
            if has_number(self._file, f"{tensor}.scale"):
                self.note_vector(f"{tensor}.scale", 1)
            own_name = matrix.own_name if isinstance(matrix, Rows) else matrix
            if self.has(f"{tensor}.bias"):
                self.note_vector(f"{tensor}.bias", total)
            elif bias_required or self.has(f"{own_name}.bias"):
                self.note_vector(f"{own_name}.bias", target.width)

    def bare_head_norm(self, source: _Width, target: _Width, heads: int) -> None:
        """Reads no tensor."""

    def multiply_heads(self, sources: Sequence[_Width], matrices: Sequence[Rows], targets: Sequence[_Width]) -> None:
        """Notes a tensor of a matrix for each head; they lie one behind the other, in a third dimension."""
        rows, name = targets[0].width, matrices[0].name
        matrix_info(self._file, f"{name}.weight", (sources[0].width, rows, len(matrices)))
        self.names.add(f"{name}.weight")

    def copy_heads(self, source: _Width, source_step: int, target: _Width, target_step: int, heads: int) -> None:
        """Reads no tensor."""

    def add(self, target: _Width, source: _Width, scale: float) -> None:
        """Reads no tensor."""

    def rotate(self, queries: _Width, layer: int) -> _Width:
        """Reads no tensor."""
        return queries

    def rotate_in_place(self, values: _Width, layer: int, heads: int) -> None:
        """Reads no tensor."""

    def arrange(self, queries: _Width, layer: int) -> _Width:
        """Reads no tensor."""
        return queries

    def store(self, keys: _Width, values: _Width | None, layer: int, *, is_rotated: bool = False) -> None:
        """Reads no tensor."""

    def continue_with_output_tokens(self) -> None:
        """Reads no tensor."""

    def attention(self, rotated: _Width, layer: int, *, sinks: str = "") -> _Width:
        """Notes the sinks."""
        sizes = self.sizes.layers[layer]
        if sinks:
            self.note_vector(sinks, sizes.head_count)
        return _Width(sizes.head_count * sizes.value_dim)

    def gate(self, gates: _Width, ups: _Width, activation: Activation, limit: float = 0.0) -> _Width:
        """Reads no tensor."""
        return gates

    def weigh(self, values: _Width, weights: _Width) -> None:
        """Reads no tensor."""

    def weigh_heads(self, values: _Width, weights: _Width) -> None:
        """Reads no tensor."""

    def activate(self, values: _Width, activation: Activation, numbers: Sequence[float] = ()) -> None:
        """Reads no tensor."""

    def scale_and_cap(self, values: _Width, scale: float, cap: float) -> None:
        """Reads no tensor."""

    def limit(self, values: _Width, most: float) -> None:
        """Reads no tensor."""

    def multiply_by(self, values: _Width, name: str) -> None:
        """Notes the number."""
        self.note_vector(f"{name}.weight", 1)

    def _note_norm(self, name: str, count: int, kind: NormKind, bias_required: bool) -> None:
        self.note_vector(f"{name}.weight", count)
        if bias_required or (kind == "layer" and self.has(f"{name}.bias")):
            self.note_vector(f"{name}.bias", count)

    def _note_matrix(self, name: str, rows: int, columns: int) -> None:
        full_name = f"{name}.weight"
        matrix_info(self._file, full_name, (columns, rows))
        self.names.add(full_name)


class ExpertCensus:
    """An `ExpertWriter` that only notes the tensors that experts read in `names`, and checks each in the file.

    Raises:
        ModelFileError: one is missing or of another shape.
    """

    def __init__(self, file: GgufFile, names: set[str]) -> None:
        self._file = file
        self._names = names

    def norm_for_router(self, source: _Width, name: str, scale: float) -> _Width:
        """Notes a norm's weights. For this and everything below, see `ExpertWriter`."""
        self._note_floats(name, (source.width,))
        return source

    def choose(self, logits: _Width, experts: ExpertSizes, selection_bias: str) -> None:
        """Notes the selection bias."""
        if selection_bias:
            self._note_floats(selection_bias, (experts.count,))

    def buffer(self, name: str, width: int, experts: ExpertSizes) -> _Width:
        """Returns a buffer of `width` numbers for each expert of each token."""
        return _Width(width)

    def multiply(
        self,
        source: _Width,
        targets: Mapping[ExpertMatrixName, _Width],
        experts: ExpertSizes,
        *,
        bias_required: bool = False,
    ) -> None:
        """Notes the matrices of all experts, and their biases."""
        for matrix, target in targets.items():
            name, rows = (matrix, target.width) if isinstance(matrix, str) else (matrix.name, matrix.total)
            matrix_info(self._file, f"{name}.weight", (source.width, rows, experts.count))
            self._names.add(f"{name}.weight")
            if bias_required or f"{name}.bias" in self._file.tensors:
                self._note_floats(f"{name}.bias", (rows, experts.count))
            if f"{name}.scale" in self._file.tensors:
                self._note_floats(f"{name}.scale", (experts.count,))

    def add(self, target: _Width, outputs: _Width, experts: ExpertSizes, *, add: bool) -> None:
        """Reads no tensor."""

    def _note_floats(self, name: str, shape: tuple[int, ...]) -> None:
        float_info(self._file, name, shape)
        self._names.add(name)


def _check_keys(file: GgufFile, used_keys: frozenset[str]) -> None:
    for name, meaning in _REFUSED_KEYS.items():
        if name not in used_keys and _says(file, name, (0,)):
            raise _refusal(file, name, meaning)
    if _value(file, "attention.causal") is False:
        raise _refusal(file, "attention.causal", "the model reads text in both directions, so it cannot write")


def _refusal(file: GgufFile, name: str, meaning: str) -> ModelFileError:
    return file.refuse(f"{meaning} ({_full_name(file, name)}), which is not supported", _UNKNOWN_HINT)


def _notices(file: GgufFile, used_keys: frozenset[str]) -> list[str]:
    said = [name for name, neutral in _NEUTRAL_VALUES.items() if name not in used_keys and _says(file, name, neutral)]
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
