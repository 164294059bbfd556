"""What an architecture declares: the properties in which decoders differ, as data.

The forward pass (`plan/forward`) and the reader of sizes (`plan/sizes`) do what a declaration says, and know no names
of architectures. Where a property hangs on the file, it is a small function of the file's keys.

Source: llama.cpp, src/models and src/llama-model.cpp (`load_hparams`) of October 2026.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tui_llama.engine.tensors.hyperparameters import Activation, NormKind

if TYPE_CHECKING:
    from tui_llama.engine.plan.sizes.keys import Keys
    from tui_llama.engine.tensors.expert_sizes import Gating
    from tui_llama.engine.tensors.hyperparameters import Hyperparameters, LayerSizes, QueryTemperature

NumberRule: TypeAlias = Callable[["Keys"], float]
"""Returns a number of a model, from its keys."""
ScaleRule: TypeAlias = Callable[["Keys", int], float]
"""Returns the factor of scores, from the keys and a head's elements."""
LayerRule: TypeAlias = Callable[["Keys", int, bool], bool]
"""Tells something of a layer, from the keys, the layer's number and whether it has a window."""
SizesRule: TypeAlias = Callable[["Hyperparameters", "LayerSizes"], bool]
"""Tells something of a layer, from the sizes of the model and of the layer."""
FlagRule: TypeAlias = Callable[["Keys"], bool]
GatingRule: TypeAlias = Callable[["Keys"], "Gating"]
ExpertSizeRule: TypeAlias = Callable[["Keys", int, int], int]
"""Returns the size of an expert, from the keys, the dense block's size and the number of experts that a token uses."""
SharedSizeRule: TypeAlias = Callable[["Keys", int, int], int]
"""Returns the size of the shared expert, from the keys and the sizes of the dense block and of an expert."""
NumbersRule: TypeAlias = Callable[["Keys"], Sequence[float]]
"""Returns a number of each layer, from the keys."""
ActivationRule: TypeAlias = Callable[["Keys", int], tuple[float, ...]]
"""Returns the numbers that an activation has in a layer, from the keys and the layer's number."""
GateRule: TypeAlias = Callable[["Keys", int, int, int], int]
"""Returns how many numbers gate what attention gives in a layer, from the keys, the layer's number, its heads and their
elements together: 0, or one of the two."""
TemperatureRule: TypeAlias = Callable[["Keys"], "QueryTemperature | None"]


def one(keys: "Keys") -> float:
    """Returns the factor that changes nothing."""
    return 1.0


def no_cap(keys: "Keys") -> float:
    """Returns the cap that changes nothing."""
    return 0.0


def by_head_size(keys: "Keys", head_dim: int) -> float:
    """Returns 1 / √head_dim (Vaswani et al. 2017)."""
    return float(head_dim**-0.5)


def factor(key: str, default: float | None = 1.0) -> NumberRule:
    """Makes the rule that reads a factor from a key; 0 stands for 1, as in llama.cpp."""
    return lambda keys: keys.not_negative(key, default) or 1.0


def cap(key: str, default: float | None = 0.0) -> NumberRule:
    """Makes the rule that reads a cap from a key; 0 is none, and without a default the file must have the key."""
    return lambda keys: keys.not_negative(key, default)


def no_gates(keys: "Keys", layer: int, heads: int, elements: int) -> int:
    """Tells that nothing gates what attention gives."""
    return 0


def each_element(keys: "Keys", layer: int, heads: int, elements: int) -> int:
    """Tells that every element has a gate of its own."""
    return elements


def no_limits(keys: "Keys") -> tuple[float, ...]:
    """Returns the limit that changes nothing, for each layer."""
    return (0.0,) * keys.layer_count


def no_layer(keys: "Keys", layer: int, has_window: bool) -> bool:
    """Tells of no layer that it is meant."""
    return False


def every_layer(keys: "Keys", layer: int, has_window: bool) -> bool:
    """Tells of every layer that it is meant."""
    return True


@dataclass(frozen=True, slots=True)
class Norms:
    """The norms of a block, by the names of their tensors; "" where there is none."""

    kind: NormKind | Literal["by key"] = "rms"
    """By key: the one whose epsilon the file has; of the first kind if it has both."""
    before_attention: str = "attn_norm"
    of_attention_alone: str = ""
    """Where a file has it: what attention reads instead, while a feed-forward block side by side reads the first."""
    before_attention_output: str = ""
    after_attention: str = ""
    before_feed_forward: str = "ffn_norm"
    before_down: str = ""
    after_feed_forward: str = ""
    has_weights: bool = True
    """False: rows are only brought to mean 0 and deviation 1, here and behind the last layer."""
    biases_required: bool = False
    epsilon_is_read: bool = True
    """False: the file's key is not used, and nothing is added to the variance."""


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Norms of queries and keys; of the kind and with the epsilon of the other norms."""

    spans: Literal["head", "all heads"] = "head"
    """What is normed at once: each head, or all heads as one vector."""
    vector_per_head: bool = False
    """Every head has weights of its own; else all heads share them."""
    is_after_rotation: bool = False
    has_weights: bool = True
    is_optional: bool = False
    applies: SizesRule = lambda sizes, layer: True


@dataclass(frozen=True, slots=True)
class RotationRules:
    """How positions enter queries and keys."""

    neighbours: bool = False
    """Pairs are (2i, 2i + 1); else (i, i + half of the rotated elements)."""
    sections: Literal["", "mrope", "imrope"] = ""
    """The order of the position sections of image models, where a file has sections."""
    sections_required: bool = False
    whole_heads: bool = False
    """Files in which only a part of a head is rotated are refused, as llama.cpp does."""
    has_factors: bool = False
    """Files may have a tensor of divisors of the frequencies (Llama 3's scaling)."""
    long_factors: Literal["never", "with longrope", "always"] = "never"
    """When files have divisors for short and for long contexts."""
    reads_yarn_bounds: bool = False
    usual_beta_fast: float = 32.0
    """Yarn's faster bound where the file does not give it, or none is read."""
    yarn_factors_are_read: bool = False
    """Files may say how much of yarn is applied; anything but all of it is refused."""
    yarn_multiplier: Literal["ignored", "divides", "replaces"] = "ignored"
    """What the file's multiplier does to yarn's own factor of sine and cosine."""
    half_without_window: bool = False
    """Layers without a window rotate half of the elements that the file says."""
    at_end_of_head: bool = False
    """The last elements of a head are rotated; else the first."""
    window_base_is_read: bool = False
    """Layers with a window have a base of their own."""
    window_base: float | None = None
    """That base where the file does not give it; None for that of the other layers."""
    window_scaling: Literal["as full", "factor 1", "plain"] = "as full"
    window_has_factors: bool = True
    base: Callable[["Keys", float, int], float] = lambda keys, base, dim: base
    """Changes the base, for heads of so many elements."""
    unrotated: LayerRule = no_layer


@dataclass(frozen=True, slots=True)
class Windows:
    """Which layers see only the positions near by, and how many."""

    size: int | None
    """Positions where the file does not say; None: the file must say; 0: then no layer has a window."""
    period: int | None
    """Of so many layers the last sees everything, where the file has no pattern; None: the file must have one."""
    fixed_size: int = 0
    """Positions where the file says any number but 0; 0: as many as it says."""
    full_comes_first: bool = False
    """Not the last but the first layer of a period sees everything."""
    is_chunked: bool = False
    applies: Callable[["Keys"], bool] = lambda keys: True


@dataclass(frozen=True, slots=True)
class FeedForward:
    """The dense feed-forward block."""

    activation: Activation = "silu"
    is_gated: bool = True
    """down(activation(gate(x)) · up(x)); else down(activation(up(x)))."""
    gate_is_above_up: bool = False
    """One matrix holds the rows of the gate and, below them, those of the other half (`ffn_up`)."""
    length_is_of_both_halves: bool = False
    """The length in the file counts the rows of the gate and of the other half."""
    activation_is_read: bool = False
    """A file may say another activation."""
    activation_numbers: ActivationRule = lambda keys, layer: ()
    limits: NumbersRule = no_limits
    """Limits of activation(gate) and up; in the shared expert as well."""


@dataclass(frozen=True, slots=True)
class Experts:
    """Mixtures of experts in the place of the dense feed-forward block."""

    required: bool = True
    """Files must have experts; else layers are dense in files without."""
    gating: GatingRule = lambda keys: "softmax"
    normalises: FlagRule = lambda keys: False
    weights_scale: NumberRule = one
    reads_layer_input: bool = False
    """The router reads what comes into the layer; else it reads what the experts read."""
    selects_by_logits: bool = False
    weighs_input: bool = False
    selection_bias: Literal["never", "optional", "required"] = "never"
    hidden_size: ExpertSizeRule = field(default=lambda keys, hidden, used: hidden)
    """Returns the elements between the two halves of an expert, from the dense block's and the experts used."""
    shared_hidden_size: SharedSizeRule = lambda keys, hidden, own: 0
    """The same of the expert that every token uses, from the dense block's and an expert's."""
    shared_gate_is_above_up: bool = False
    """One matrix holds the shared expert's gate and, below it, the other half (`ffn_up_shexp`)."""
    shared_is_averaged: bool = False
    """The layer adds half of the sum of what the chosen and the shared expert return."""
    shared_is_weighed: bool = False
    """A number of the token's own weighs what the shared expert returns."""
    has_experts: LayerRule = every_layer
    """Layers that have experts, where a file has any."""
    activation: Activation = "silu"
    biases_required: bool = False
    """The router and all experts must have biases."""
    limits: NumbersRule = no_limits
    """Limits of activation(gate) and up."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Properties in which architectures differ.

    Args:
        name: Its name in GGUF.
        rotation: How positions enter.
        norms: The norms of a block.
        side_by_side: Attention and feed-forward block read the same normed input, and both are added to the residual
            stream: never, always, where a layer has no norm before the feed-forward block, or where the file's key says
            so; then each has a norm of its own.
        head_norms: Norms of queries and keys.
        required_biases: Matrices that must have biases. Other biases are added where a file has them.
        feed_forward: The dense feed-forward block.
        experts: What takes its place in some or all layers; None: nothing does.
        windows: Which layers have a window; None: none.
        projection_limit: What queries, keys and values are limited to, before they are normed or rotated; 0: nothing.
        attention_scale: Factor of scores.
        score_cap: Cap of scores.
        distance_bias: How steeply scores fall with distance (ALiBi): the exponent of the least slope; 0: not at all.
        attention_gates: What attention gives is multiplied by so many numbers: activation(`attn_gate` · its input).
        gate_activation: The activation.
        attention_output_scale: Factor of what attention adds.
        sinks: Every head has a score without a value (`attn_sinks`): in no layer, in those with the tensor, or in all.
        temperature: Growth of queries with their position.
        has_temperature: Layers that have it.
        embedding_scale: Factor of embeddings.
        residual_scale: Factor of what the two blocks of a layer add.
        logit_scale: Factor of logits.
        logit_cap: Cap of logits.
        output: Where the output matrix is: in a tensor of its own if the file has one, always there, or never.
        latent_query_rank: For multi-head latent attention, the elements of a compressed query, 0 where it is not
            compressed. None: attention is the common one.
        shares_keys_and_values: Layers at the end may read keys and values of earlier layers.
        has_layer_embeddings: Tokens may have an embedding for each layer.
        emit_before_layers: Emits what comes between the embedding and the first layer; None: nothing.
        emit_layer: Emits one layer, where this declaration cannot express it; see `plan/forward/decoder.py`.
    """

    name: str
    rotation: RotationRules
    norms: Norms = field(default_factory=Norms)
    side_by_side: Literal["never", "always", "without a second norm", "by key"] = "never"
    head_norms: HeadNorms | None = None
    required_biases: frozenset[str] = frozenset()
    feed_forward: FeedForward = field(default_factory=FeedForward)
    experts: Experts | None = None
    windows: Windows | None = None
    projection_limit: NumberRule = no_cap
    attention_scale: ScaleRule = by_head_size
    score_cap: NumberRule = no_cap
    distance_bias: NumberRule = no_cap
    attention_gates: GateRule = no_gates
    gate_activation: Activation = "sigmoid"
    attention_output_scale: NumberRule = one
    sinks: Literal["never", "optional", "required"] = "never"
    temperature: TemperatureRule = lambda keys: None
    has_temperature: LayerRule = every_layer
    embedding_scale: NumberRule = one
    residual_scale: NumberRule = one
    logit_scale: NumberRule = one
    logit_cap: NumberRule = no_cap
    output: Literal["own or embedding", "own", "embedding"] = "own or embedding"
    latent_query_rank: Callable[["Keys"], int] | None = None
    shares_keys_and_values: bool = False
    has_layer_embeddings: bool = False
    emit_before_layers: Callable[[Any, "Architecture", Any], None] | None = None
    emit_layer: Callable[[Any, "Architecture", Any, int], None] | None = None


NOWHERE = RotationRules(unrotated=every_layer)
"""Positions do not rotate any layer."""
QUERY_KEY_VALUE = frozenset({"attn_q", "attn_k", "attn_v"})
"""The matrices whose biases Qwen 2 and others have."""
EVERY_MATRIX = QUERY_KEY_VALUE | {"attn_output", "ffn_up", "ffn_down"}
"""The matrices whose biases models after GPT-2's manner have."""
SECOND_NORM_NAMED_POST = Norms(before_feed_forward="post_attention_norm")
"""Norms whose second is, in spite of its name, the one before the feed-forward block."""
NORMS_ON_BOTH_SIDES = Norms(after_attention="post_attention_norm", after_feed_forward="post_ffw_norm")
NORMS_BEHIND = Norms(
    before_attention="",
    after_attention="post_attention_norm",
    before_feed_forward="",
    after_feed_forward="post_ffw_norm",
)
"""Norms of the two blocks' outputs only."""
ONE_NORM = Norms(kind="layer", before_feed_forward="")
"""The single norm of blocks that work side by side."""
