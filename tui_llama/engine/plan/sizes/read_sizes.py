"""Reads and checks all sizes of a model, layer by layer.

Unknown keys are ignored; a missing key is named in the error. `plan/architectures` says what the keys mean.

Source: llama.cpp, src/llama-model.cpp (`load_hparams`) and src/llama-arch.cpp.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.layouts.attention import MOST_ROWS
from tui_llama.engine.plan.architectures.declaration import Architecture, FeedForward
from tui_llama.engine.plan.sizes.experts import read_experts, read_limits
from tui_llama.engine.plan.sizes.keys import NOT_CONVERTED_HINT, OTHER_MODEL_HINT, Keys
from tui_llama.engine.plan.sizes.latent import check_latent, read_latent
from tui_llama.engine.plan.sizes.rotations import ASSUMED_CONTEXT, read_rotation
from tui_llama.engine.plan.sizes.windows import read_windows
from tui_llama.engine.tensors.hyperparameters import (
    MAX_CONTEXT,
    MAX_HEAD_DIM,
    MAX_HEADS,
    MAX_SIZE,
    Activation,
    Hyperparameters,
    LayerSizes,
    NormKind,
    Rotation,
)

_NO_CONTEXT_NOTICE: Final = (
    f"The model file does not give the length of its context (context_length is 0); {ASSUMED_CONTEXT} is assumed."
)
_LARGEST_NUMBER: Final = 1e30
"""Of factors and caps, far above all of real models and below the largest float32, 3e38."""
_ACTIVATION_KEY: Final = "hidden_activation"
_ACTIVATIONS: Final[Mapping[str, Activation]] = {"silu": "silu", "relu2": "relu_squared"}
_EPSILON_KEYS: Final[Mapping[NormKind, str]] = {
    "rms": "attention.layer_norm_rms_epsilon",
    "layer": "attention.layer_norm_epsilon",
}


@dataclass(frozen=True, slots=True)
class ReadSizes:
    """The sizes of a model, and what only the check of the file's content needs to know.

    Attributes:
        sizes: The sizes.
        used_keys: The keys that they were read from, without the architecture's name.
        predicting_blocks: Blocks behind the layers that predict several tokens; they are not used.
    """

    sizes: Hyperparameters
    used_keys: frozenset[str]
    predicting_blocks: int


def read_sizes(file: GgufFile, architecture: Architecture) -> ReadSizes:
    """Reads and checks the sizes of the model in `file`.

    Raises:
        ModelFileError: a key is missing, of the wrong type, out of bounds, or contradicts another.
    """
    keys = Keys(file)
    declared_context, norm_kind = _context_length(keys), _norm_kind(keys, architecture)
    sizes = Hyperparameters(
        architecture=keys.architecture,
        embedding_size=keys.embedding_size,
        layers=_layers(keys, architecture, declared_context),
        norm_kind=norm_kind,
        epsilon=_epsilon(keys, architecture, norm_kind),
        context_length=declared_context or ASSUMED_CONTEXT,
        vocab_size=keys.token_count,
        embedding_scale=architecture.embedding_scale(keys),
        residual_scale=architecture.residual_scale(keys),
        attention_output_scale=architecture.attention_output_scale(keys),
        logit_scale=architecture.logit_scale(keys),
        logit_cap=architecture.logit_cap(keys),
        projection_limit=architecture.projection_limit(keys),
        distance_bias=architecture.distance_bias(keys),
        is_side_by_side=architecture.side_by_side == "by key" and keys.flag("use_parallel_residual"),
        activation=_activation(keys, architecture.feed_forward),
        layer_embedding_size=_layer_embedding_size(keys, architecture),
        notices=() if declared_context else (_NO_CONTEXT_NOTICE,),
    )
    _check_factors(file, sizes)
    return ReadSizes(sizes, frozenset(keys.used), keys.predicting_blocks)


def _check_factors(file: GgufFile, sizes: Hyperparameters) -> None:
    """Checks that what is computed from several keys is still a number for kernels, which take float32."""
    factors = {
        "factor of embeddings": sizes.embedding_scale,
        "factor of layers": sizes.residual_scale,
        "factor of attention": sizes.attention_output_scale,
        "factor of logits": sizes.logit_scale,
        "cap of logits": sizes.logit_cap,
        "limit of projections": sizes.projection_limit,
        "steepness of scores": sizes.distance_bias,
    }
    for layer in sizes.layers:
        factors |= {"factor of scores": layer.attention_scale, "cap of scores": layer.score_cap}
        if layer.rotation is not None:
            factors["factor of rotations"] = layer.rotation.scaling.magnitude
        for name, number in factors.items():
            if not abs(number) <= _LARGEST_NUMBER:
                raise file.refuse(f"the {name} that its keys give, {number:g}, is too large", NOT_CONVERTED_HINT)


def _layers(keys: Keys, architecture: Architecture, context_length: int) -> tuple[LayerSizes, ...]:
    head_counts = keys.sizes("attention.head_count", MAX_HEADS, keys.layer_count)
    kv_head_counts = _kv_head_counts(keys, head_counts)
    halves = 2 if architecture.feed_forward.length_is_of_both_halves else 1
    lengths = keys.sizes("feed_forward_length", MAX_SIZE, keys.layer_count, least=halves)
    hidden_sizes = tuple(length // halves for length in lengths)
    windows = read_windows(keys, architecture.windows)
    latent = read_latent(keys, architecture.latent_query_rank) if architecture.latent_query_rank else None
    sources = _sources(keys, architecture, windows)
    experts = read_experts(keys, architecture.experts, hidden_sizes, tuple(window > 0 for window in windows))
    rotations: dict[tuple[int, bool], Rotation] = {}
    limits = read_limits(keys, architecture.feed_forward.limits)
    score_cap, temperature = architecture.score_cap(keys), architecture.temperature(keys)
    layers = []
    for layer, window in enumerate(windows):
        has_window = window > 0
        head_dim, value_dim = _head_dims(keys, head_counts[layer], has_window)
        if latent is not None:
            check_latent(keys, latent, (kv_head_counts[layer], head_dim, value_dim), head_counts[layer])
        if (head_dim, has_window) not in rotations:
            rotations[head_dim, has_window] = read_rotation(
                keys, architecture.rotation, head_dim, context_length, has_window=has_window
            )
        is_rotated = not architecture.rotation.unrotated(keys, layer, has_window)
        layers.append(
            LayerSizes(
                head_count=head_counts[layer],
                kv_head_count=kv_head_counts[layer],
                head_dim=head_dim,
                value_dim=value_dim,
                rotation=rotations[head_dim, has_window] if is_rotated else None,
                attention_scale=architecture.attention_scale(keys, head_dim),
                score_cap=score_cap,
                window=window,
                is_chunked=has_window and architecture.windows is not None and architecture.windows.is_chunked,
                temperature=temperature if architecture.has_temperature(keys, layer, has_window) else None,
                kv_source=sources[layer],
                hidden_size=hidden_sizes[layer],
                latent=latent,
                experts=experts[layer],
                attention_gates=architecture.attention_gates(
                    keys, layer, head_counts[layer], head_counts[layer] * value_dim
                ),
                hidden_limit=limits[layer],
                activation_numbers=architecture.feed_forward.activation_numbers(keys, layer),
            )
        )
    _check_sources(keys, layers)
    return tuple(layers)


def _check_sources(keys: Keys, layers: Sequence[LayerSizes]) -> None:
    """Checks that keys and values that a layer reads from another one have the sizes that it expects."""
    for number, layer in enumerate(layers):
        source = layers[layer.kv_source]
        for key, name in (
            ("head_count_kv", "kv_head_count"),
            ("key_length", "head_dim"),
            ("value_length", "value_dim"),
        ):
            own, stored = getattr(layer, name), getattr(source, name)
            if own != stored:
                what = (
                    f"layer {number} reads keys and values of layer {layer.kv_source}, but has {own} and not {stored}"
                )
                raise keys.refuse(f"attention.{key}", what)


def _context_length(keys: Keys) -> int:
    """Reads the context length; 0 if the file leaves it open."""
    return keys.count("context_length", MAX_CONTEXT, None)


def _kv_head_counts(keys: Keys, head_counts: tuple[int, ...]) -> tuple[int, ...]:
    key = "attention.head_count_kv"
    counts = keys.sizes(key, MAX_HEADS, len(head_counts)) if keys.has(key) else head_counts
    for head_count, kv_head_count in zip(head_counts, counts, strict=True):
        if head_count % kv_head_count:
            raise keys.refuse(key, f"{kv_head_count} does not divide the {head_count} query heads")
        group = head_count // kv_head_count
        if group > MOST_ROWS:
            what = f"{group} query heads share one, more than the {MOST_ROWS} supported"
            raise keys.refuse(key, what, OTHER_MODEL_HINT)
    return counts


def _sources(keys: Keys, architecture: Architecture, windows: tuple[int, ...]) -> list[int]:
    """Returns the layer whose keys and values each layer reads.

    A layer that stores none reads those of the last layer that stores some and sees as far as it does.
    """
    key = "attention.shared_kv_layers"
    layers = list(range(len(windows)))
    storing = len(windows) - (keys.count(key, len(windows) - 1) if architecture.shares_keys_and_values else 0)
    for layer in layers[storing:]:
        alike = [other for other in layers[:storing] if (windows[other] > 0) == (windows[layer] > 0)]
        if not alike:
            raise keys.refuse(key, f"no layer before the last {len(windows) - storing} sees as far as layer {layer}")
        layers[layer] = alike[-1]
    return layers


def _layer_embedding_size(keys: Keys, architecture: Architecture) -> int:
    key = "embedding_length_per_layer_input"
    size = keys.count(key, MAX_SIZE, None) if architecture.has_layer_embeddings else 0
    if size * keys.layer_count > MAX_SIZE:
        raise keys.refuse(key, f"{keys.layer_count} layers of {size} are more than {MAX_SIZE}")
    return size


def _head_dims(keys: Keys, head_count: int, has_window: bool) -> tuple[int, int]:
    """Returns the elements of a head's query and key, and of its value."""
    default = keys.embedding_size // head_count
    sizes = []
    for name in ("attention.key_length", "attention.value_length"):
        key = f"{name}_swa" if has_window and keys.has(f"{name}_swa") else name
        size = keys.size(key, MAX_HEAD_DIM, default)
        if head_count * size > MAX_SIZE:
            raise keys.refuse(key, f"{head_count} heads of {size} are more than {MAX_SIZE}")
        sizes.append(size)
    return sizes[0], sizes[1]


def _activation(keys: Keys, rules: FeedForward) -> Activation:
    """Returns the activation of feed-forward blocks: what the file says, if it does and may, or the declared one."""
    if not rules.activation_is_read or not keys.has(_ACTIVATION_KEY):
        return rules.activation
    name = keys.text(_ACTIVATION_KEY, "")
    if name not in _ACTIVATIONS:
        what = f"{name[:40]!a} is not an activation that this program knows here"
        raise keys.refuse(_ACTIVATION_KEY, what, OTHER_MODEL_HINT)
    return _ACTIVATIONS[name]


def _norm_kind(keys: Keys, architecture: Architecture) -> NormKind:
    if architecture.norms.kind != "by key":
        return architecture.norms.kind
    return "rms" if keys.has(_EPSILON_KEYS["rms"]) else "layer"


def _epsilon(keys: Keys, architecture: Architecture, norm_kind: NormKind) -> float:
    if not architecture.norms.epsilon_is_read:
        return 0.0
    key = _EPSILON_KEYS[norm_kind]
    epsilon = keys.number(key)
    if not 0 <= epsilon < 1:
        raise keys.refuse(key, f"{epsilon} is not between 0 and 1")
    return epsilon
