"""Writes small random models that a real engine can load and run, so that tests need no downloads.

Their vocabularies can tokenise any text, because they have all byte tokens or the whole byte-level alphabet. The
spread of every matrix keeps activations near one. The same arguments always give the same file.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import gguf
import numpy as np
import numpy.typing as npt

from tui_llama.engine.gguf.types import TENSOR_TYPES

Architecture: TypeAlias = Literal["llama", "qwen2", "qwen3", "qwen3moe"]
VocabularyKind: TypeAlias = Literal["spm", "bpe"]
ScalingKind: TypeAlias = Literal["none", "linear", "yarn", "factors"]

CHATML_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

SCALING_FACTOR: Final = 4.0
MERGE_COUNT: Final = 80
EXPERT_COUNT: Final = 7
USED_EXPERTS: Final = 3

_SAMPLE_TEXT: Final = (
    "once upon a time there was a little girl who lived in a house near the forest and one day she said to "
    "her mother that she wanted to see what was on the other side of the hill so they went there together "
    "and the sun was shining and the birds were singing while the wind was whispering in the trees"
)


@dataclass(frozen=True)
class TinyShape:
    """The sizes of a model. Rows of matrices have `embedding`, `hidden` or `heads * head_dim` elements."""

    embedding: int = 64
    hidden: int = 96
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    context: int = 512


@dataclass(frozen=True)
class TinyVocabulary:
    """The tokens in the order of their ids, with their metadata in the file."""

    model: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...] = ()
    merges: tuple[str, ...] = ()

    def token_id(self, token: str) -> int:
        return self.tokens.index(token)


@dataclass(frozen=True)
class _BlockFormat:
    """The format of quantised blocks, which may hold any bytes except float16 factors at given places.

    The wanted standard deviation of the weights, divided by a place's divisor, is the factor that gives it. `type` is
    the number of the type in GGUF: the gguf package does not know all of them.
    """

    type: int
    factors: Mapping[int, float]


# The types that the gguf package does not encode.
_BLOCK_FORMATS: Final[Mapping[str, _BlockFormat]] = {
    "Q2_K": _BlockFormat(gguf.GGMLQuantizationType.Q2_K, {80: 13.9, 82: 13.9 / 1.5}),
    "Q3_K": _BlockFormat(gguf.GGMLQuantizationType.Q3_K, {108: 43.0}),
    "Q4_K": _BlockFormat(gguf.GGMLQuantizationType.Q4_K, {0: 257.0, 2: 257.0 / 7.5}),
    "Q5_K": _BlockFormat(gguf.GGMLQuantizationType.Q5_K, {0: 524.0, 2: 524.0 / 15.5}),
    "Q6_K": _BlockFormat(gguf.GGMLQuantizationType.Q6_K, {208: 1376.0}),
    "IQ4_NL": _BlockFormat(gguf.GGMLQuantizationType.IQ4_NL, {0: 63.0}),
    "IQ4_XS": _BlockFormat(gguf.GGMLQuantizationType.IQ4_XS, {0: 1170.0}),
    "IQ1_S": _BlockFormat(gguf.GGMLQuantizationType.IQ1_S, {0: 7.0}),
    "IQ1_M": _BlockFormat(gguf.GGMLQuantizationType.IQ1_M, {48: 7.0}),
    "IQ2_XXS": _BlockFormat(gguf.GGMLQuantizationType.IQ2_XXS, {0: 65.0}),
    "IQ2_XS": _BlockFormat(gguf.GGMLQuantizationType.IQ2_XS, {0: 65.0}),
    "IQ2_S": _BlockFormat(gguf.GGMLQuantizationType.IQ2_S, {0: 65.0}),
    "IQ3_XXS": _BlockFormat(gguf.GGMLQuantizationType.IQ3_XXS, {0: 150.0}),
    "IQ3_S": _BlockFormat(gguf.GGMLQuantizationType.IQ3_S, {0: 165.0}),
    "NVFP4": _BlockFormat(gguf.GGMLQuantizationType.NVFP4, {}),
    "Q1_0": _BlockFormat(41, {0: 1.0}),
    "Q2_0": _BlockFormat(42, {0: 1.2}),
}

_DEVIATION_OF_RANDOM_NVFP4: Final = 324.0  # its small floats are scaled by a tensor of their own instead

# A mix: the type of most matrices, and the type of the output and the more sensitive matrices.
_MIXES: Final[Mapping[str, tuple[str, str]]] = {"Q4_K_M": ("Q4_K", "Q6_K"), "Q5_K_M": ("Q5_K", "Q6_K")}
_SENSITIVE: Final = frozenset({"output", "attn_v", "ffn_down"})


def make_tiny_model(
    path: Path,
    architecture: Architecture = "llama",
    quantization: str = "F32",
    vocabulary: VocabularyKind = "bpe",
    layers: int = 2,
    *,
    seed: int = 0,
    shape: TinyShape | None = None,
    tied: bool = False,
    rope_scaling: ScalingKind = "none",
    chat_template: str | None = CHATML_TEMPLATE,
    end_of_turn: str | None = "<|im_end|>",
    add_bos: bool | None = None,
    name: str = "Tiny",
    metadata: Mapping[str, str | bool | int | float] | None = None,
    tensors_per_part: int = 0,
) -> Path:
    """Writes a model of a megabyte or less.

    Args:
        path: The path of the file, whose folder must exist.
        architecture: Decides the tensors (biases in qwen2, head norms in qwen3, experts too in qwen3moe) and the
            byte-pair splitting rule.
        quantization: The type of the matrices, such as "Q8_0" or "Q4_K", or a mix, "Q4_K_M" or "Q5_K_M".
        vocabulary: The kind of vocabulary, score-based ("spm") or byte-pair ("bpe").
        layers: The number of transformer blocks.
        seed: The seed of the weights.
        shape: The sizes, by default small ones that the quantisation's blocks divide.
        tied: Whether `output.weight` is left out, so that the embedding replaces it.
        rope_scaling: The kind of scaling by `SCALING_FACTOR` in the metadata, or the tensor of frequency factors.
        chat_template: The Jinja source, or None for a model without a template.
        end_of_turn: The control token whose id `tokenizer.ggml.eot_token_id` gives, or None for no such key.
        add_bos: Whether prompts begin with the beginning-of-text token, by default not in the qwen family.
        name: The model's name in its metadata.
        metadata: More keys of the file, with their values.
        tensors_per_part: Where it is not 0, the model is split into files of at most so many tensors.

    Returns:
        `path`, or the path of the first part.
    """
    shape = shape or default_shape(architecture, quantization)
    words = make_vocabulary(vocabulary)
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=tensors_per_part)
    writer.add_name(name)
    _add_metadata(writer, metadata or {})
    _add_sizes(writer, architecture, shape, layers)
    _add_scaling(writer, rope_scaling, shape)
    _add_vocabulary(writer, words, "llama-bpe" if architecture == "llama" else "qwen2")
    writer.add_add_bos_token(architecture == "llama" if add_bos is None else add_bos)
    if end_of_turn is not None:
        writer.add_eot_token_id(words.token_id(end_of_turn))
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    weights = _WeightWriter(writer, quantization, np.random.default_rng(seed))
    _add_weights(weights, architecture, shape, layers, vocab=len(words.tokens), tied=tied)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=False)
    writer.close()
    return next(path.parent.glob(f"{path.stem}-00001-of-*.gguf")) if tensors_per_part else path


def default_shape(architecture: Architecture = "llama", quantization: str = "F32") -> TinyShape:
    """Returns small sizes whose rows the blocks of `quantization` divide. Qwen 3 gets wider heads than usual."""
    wide = any(block_elements(name) > 32 for name in _MIXES.get(quantization, (quantization,)))
    shape = TinyShape(256, 256, 4, 2, 64) if wide else TinyShape()
    if not architecture.startswith("qwen3"):
        return shape
    return TinyShape(shape.embedding, shape.hidden, shape.heads, shape.kv_heads, 2 * shape.head_dim, shape.context)


def block_elements(type_name: str) -> int:
    """Returns the number of elements of a row that share a block of a type."""
    return next(kind.block_elements for kind in TENSOR_TYPES.values() if kind.name == type_name)


def make_vocabulary(kind: VocabularyKind) -> TinyVocabulary:
    """Returns the vocabulary of every tiny model of a kind: control tokens, all bytes, some pieces of English."""
    return _score_vocabulary() if kind == "spm" else _pair_vocabulary()


def _score_vocabulary() -> TinyVocabulary:
    control = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
    as_bytes = tuple(f"<0x{value:02X}>" for value in range(256))
    text = "▁" + _SAMPLE_TEXT.replace(" ", " ▁")
    letters = tuple(sorted(set(text) - {" "}))
    pieces = tuple(left + right for left, right in _train_merges(text.split(" "))) + letters
    kinds = gguf.TokenType
    return TinyVocabulary(
        model="llama",
        tokens=("<unk>", *control, *as_bytes, *pieces),
        types=(
            kinds.UNKNOWN,
            *[kinds.CONTROL] * len(control),
            *[kinds.BYTE] * len(as_bytes),
            *[kinds.NORMAL] * len(pieces),
        ),
        scores=(*[0.0] * (1 + len(control) + len(as_bytes)), *[-float(rank) for rank in range(len(pieces))]),
    )


def _pair_vocabulary() -> TinyVocabulary:
    control = ("<|begin_of_text|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    merges = _train_merges(("Ġ" + _SAMPLE_TEXT.replace(" ", " Ġ")).split(" "))
    tokens = (*_byte_alphabet(), *(left + right for left, right in merges))
    return TinyVocabulary(
        model="gpt2",
        tokens=(*tokens, *control),
        types=(*[gguf.TokenType.NORMAL] * len(tokens), *[gguf.TokenType.CONTROL] * len(control)),
        merges=tuple(f"{left} {right}" for left, right in merges),
    )


def _byte_alphabet() -> tuple[str, ...]:
    """Returns GPT-2's printable character for each byte."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [value for value in range(256) if value not in printable]
    return tuple(chr(value) if value in printable else chr(256 + others.index(value)) for value in range(256))


def _train_merges(words: list[str]) -> list[tuple[str, str]]:
    """Trains byte-pair merges: the most frequent pair of neighbours becomes one piece, again and again."""
    split = [list(word) for word in words]
    merges: list[tuple[str, str]] = []
    while len(merges) < MERGE_COUNT:
        pairs = Counter(pair for word in split for pair in pairwise(word))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        split = [_merge(word, best) for word in split]
    return merges


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _add_sizes(writer: gguf.GGUFWriter, architecture: Architecture, shape: TinyShape, layers: int) -> None:
    writer.add_block_count(layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embedding)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-5 if architecture == "llama" else 1e-6)
    if architecture == "qwen3moe":
        writer.add_expert_count(EXPERT_COUNT)
        writer.add_expert_used_count(USED_EXPERTS)
        writer.add_expert_feed_forward_length(shape.hidden)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(shape.head_dim)


def _add_metadata(writer: gguf.GGUFWriter, metadata: Mapping[str, str | bool | int | float]) -> None:
    for key, value in metadata.items():
        kinds = gguf.GGUFValueType
        kind = {str: kinds.STRING, bool: kinds.BOOL, int: kinds.INT32, float: kinds.FLOAT32}[type(value)]
        writer.add_key_value(key, value, kind)


def _add_scaling(writer: gguf.GGUFWriter, kind: ScalingKind, shape: TinyShape) -> None:
    if kind == "factors":
        factors = np.geomspace(1.0, SCALING_FACTOR, shape.head_dim // 2, dtype=np.float32)
        writer.add_tensor("rope_freqs.weight", factors)
    elif kind != "none":
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(SCALING_FACTOR)
        writer.add_rope_scaling_orig_ctx_len(int(shape.context / SCALING_FACTOR))


def _add_vocabulary(writer: gguf.GGUFWriter, words: TinyVocabulary, splitting_rule: str) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.model == "llama":
        writer.add_token_scores(words.scores)
        writer.add_unk_token_id(words.token_id("<unk>"))
        writer.add_bos_token_id(words.token_id("<s>"))
        writer.add_eos_token_id(words.token_id("</s>"))
    else:
        writer.add_tokenizer_pre(splitting_rule)
        writer.add_token_merges(words.merges)
        writer.add_bos_token_id(words.token_id("<|begin_of_text|>"))
        writer.add_eos_token_id(words.token_id("<|endoftext|>"))


class _WeightWriter:
    """Draws random tensors one after another. Their order decides their values."""

    def __init__(self, writer: gguf.GGUFWriter, quantization: str, rng: np.random.Generator) -> None:
        self._writer = writer
        self._usual, self._better = _MIXES.get(quantization, (quantization, quantization))
        self._rng = rng

    def vector(self, name: str, size: int, mean: float = 1.0) -> None:
        values = self._rng.normal(mean, 0.1, size).astype(np.float32)
        self._writer.add_tensor(name, values)

    def matrix(self, name: str, rows: int, columns: int, deviation: float | None = None) -> None:
        """Adds a matrix of `rows` outputs and `columns` inputs. By default its outputs vary as much as its inputs."""
        type_name = self._better if name.split(".")[-2] in _SENSITIVE else self._usual
        deviation = columns**-0.5 if deviation is None else deviation
        data, kind = self._rows(type_name, rows, columns, deviation)
        if type_name == "NVFP4" and name != "token_embd.weight":
            factor = np.array([deviation / _DEVIATION_OF_RANDOM_NVFP4], np.float32)
            self._writer.add_tensor(f"{name.removesuffix('weight')}scale", factor)
        if type_name in _BLOCK_FORMATS:
            # The writer takes the shape as it is where the bytes are not unsigned.
            self._writer.add_tensor(name, data.view(np.int8), raw_shape=(rows, columns), raw_dtype=kind)
        else:
            self._writer.add_tensor(name, data, raw_dtype=kind)

    def floats(self, name: str, rows: int, columns: int) -> None:
        """Adds a matrix of float32, whatever the type of the others."""
        data, kind = self._rows("F32", rows, columns, columns**-0.5)
        self._writer.add_tensor(name, data, raw_dtype=kind)

    def experts(self, name: str, rows: int, columns: int) -> None:
        """Adds a matrix for each expert, as `matrix` adds one."""
        type_name = self._better if name.split(".")[-2] in _SENSITIVE else self._usual
        data, kind = self._rows(type_name, EXPERT_COUNT * rows, columns, columns**-0.5)
        self._writer.add_tensor(name, data.reshape(EXPERT_COUNT, rows, -1), raw_dtype=kind)

    def _rows(self, type_name: str, rows: int, columns: int, deviation: float) -> tuple[npt.NDArray[Any], Any]:
        if type_name in _BLOCK_FORMATS:
            blocks = _BLOCK_FORMATS[type_name]
            return self._random_blocks(blocks, rows, columns, deviation), blocks.type
        values = self._rng.normal(0.0, deviation, (rows, columns)).astype(np.float32)
        kind = gguf.GGMLQuantizationType[type_name]
        return gguf.quants.quantize(values, kind), kind

    def _random_blocks(self, blocks: _BlockFormat, rows: int, columns: int, deviation: float) -> npt.NDArray[np.uint8]:
        kind = TENSOR_TYPES[blocks.type]
        block_count = rows * columns // kind.block_elements
        data = self._rng.integers(0, 256, (block_count, kind.block_bytes), dtype=np.uint8)
        spread = self._rng.uniform(0.7, 1.3, block_count)
        for place, divisor in blocks.factors.items():
            factors = (spread * deviation / divisor).astype("<f2")
            if blocks.type == gguf.GGMLQuantizationType.IQ1_M:  # a nibble in the upper half of each of four words
                for word in range(4):
                    nibbles = (factors.view("<u2") >> 4 * word & 15).astype(np.uint8)
                    data[:, place + 2 * word + 1] = data[:, place + 2 * word + 1] & 15 | nibbles << 4
            else:
                data[:, place : place + 2] = factors[:, None].view(np.uint8)
        return data.reshape(rows, -1)


def _add_weights(
    weights: _WeightWriter,
    architecture: Architecture,
    shape: TinyShape,
    layers: int,
    *,
    vocab: int,
    tied: bool,
) -> None:
    weights.matrix("token_embd.weight", vocab, shape.embedding, deviation=1.0)
    for layer in range(layers):
        _add_attention(weights, f"blk.{layer}.", architecture, shape)
        add_block = _add_experts if architecture == "qwen3moe" else _add_feed_forward
        add_block(weights, f"blk.{layer}.", shape)
    weights.vector("output_norm.weight", shape.embedding)
    if not tied:
        weights.matrix("output.weight", vocab, shape.embedding)


def _add_attention(weights: _WeightWriter, block: str, architecture: Architecture, shape: TinyShape) -> None:
    query_size, kv_size = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    weights.vector(f"{block}attn_norm.weight", shape.embedding)
    for part, size in (("q", query_size), ("k", kv_size), ("v", kv_size)):
        weights.matrix(f"{block}attn_{part}.weight", size, shape.embedding)
        if architecture == "qwen2":
            weights.vector(f"{block}attn_{part}.bias", size, mean=0.0)
    if architecture.startswith("qwen3"):
        weights.vector(f"{block}attn_q_norm.weight", shape.head_dim)
        weights.vector(f"{block}attn_k_norm.weight", shape.head_dim)
    weights.matrix(f"{block}attn_output.weight", shape.embedding, query_size)


def _add_feed_forward(weights: _WeightWriter, block: str, shape: TinyShape) -> None:
    weights.vector(f"{block}ffn_norm.weight", shape.embedding)
    weights.matrix(f"{block}ffn_gate.weight", shape.hidden, shape.embedding)
    weights.matrix(f"{block}ffn_up.weight", shape.hidden, shape.embedding)
    weights.matrix(f"{block}ffn_down.weight", shape.embedding, shape.hidden)


def _add_experts(weights: _WeightWriter, block: str, shape: TinyShape) -> None:
    weights.vector(f"{block}ffn_norm.weight", shape.embedding)
    weights.floats(f"{block}ffn_gate_inp.weight", EXPERT_COUNT, shape.embedding)
    weights.experts(f"{block}ffn_gate_exps.weight", shape.hidden, shape.embedding)
    weights.experts(f"{block}ffn_up_exps.weight", shape.hidden, shape.embedding)
    weights.experts(f"{block}ffn_down_exps.weight", shape.embedding, shape.hidden)
