"""Sizes and constants of a model, layer by layer, as everything that computes uses them.

`plan/sizes` reads them from a file and checks them, so that no later code has to doubt them. Every size is bounded, so
that no product of sizes requests an absurd amount of memory.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tui_llama.engine.tensors.expert_sizes import ExpertSizes

MAX_LAYERS: Final = 1024
MAX_SIZE: Final = 1 << 20  # of a vector: embedding, hidden layer, all heads together
MAX_HEADS: Final = 1 << 12
MAX_HEAD_DIM: Final = 1 << 12
MAX_EXPERTS: Final = 1 << 12
MAX_CONTEXT: Final = 1 << 30
MAX_VOCAB: Final = 1 << 21

NormKind: TypeAlias = Literal["rms", "layer"]
"""Root-mean-square norm (Zhang and Sennrich 2019), or one that subtracts the mean too (Ba et al. 2016)."""
Activation: TypeAlias = Literal["silu", "gelu", "relu", "relu_squared", "clamped_silu", "xielu", "sigmoid", "softplus"]
"""SiLU; GELU in its tanh form (Hendrycks and Gimpel 2016); ReLU and its square (So et al. 2021); what gpt-oss has;
xIELU (Huang and Schlag 2024); the sigmoid; ln(1 + exp(x))."""

ScalingKind: TypeAlias = Literal["none", "linear", "yarn", "longrope"]


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Stretching of rotary positions beyond the context of the model's first training."""

    kind: ScalingKind
    """A linear scaling by the factor 1 becomes "none"."""
    factor: float
    """Factor by which the context becomes longer; 1 for "none". Angles are divided by it."""
    original_context: int
    """The context of the first training, in tokens."""
    magnitude: float = 1.0
    """Multiplies sine and cosine; yarn's own factor is in it."""
    beta_fast: float = 32.0
    """Yarn: dimensions that rotate more often than this within the original context keep their angles."""
    beta_slow: float = 1.0
    """Yarn: dimensions that rotate less often than this are stretched fully."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """How the positions of a layer's tokens enter its queries and keys. Layers that rotate alike have equal ones."""

    dim: int
    """Elements of a head that are rotated; even."""
    base: float
    scaling: RopeScaling
    neighbours: bool
    """True: pairs are components (2i, 2i + 1); else (i, i + dim / 2)."""
    first: int = 0
    """The first element of a head that is rotated."""
    still_pairs: tuple[int, ...] = ()
    """Pairs that do not turn: those of the fourth section of an image model's positions, which is 0 in text."""
    factors: str = ""
    """Tensor of divisors of the frequencies in contexts up to the original one, or ""."""
    long_factors: str = ""
    """The same in longer contexts."""
    spare_factors: int = 0
    """Divisors that the tensors have behind those of the pairs; others layers may use them."""

    @property
    def factor_count(self) -> int:
        """Divisors in a tensor of them."""
        return self.dim // 2 + self.spare_factors

    def factors_in(self, context_size: int) -> str:
        """Returns the name of the tensor of divisors that a context of so many tokens uses, or ""."""
        return self.long_factors if context_size > self.scaling.original_context else self.factors


@dataclass(frozen=True, slots=True)
class QueryTemperature:
    """A growth of queries with their position: · (1 + strength · ln(⌊(position + offset) / length⌋ + 1))."""

    strength: float
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class LatentSizes:
    """The sizes of multi-head latent attention, whose heads share one compressed vector of each token.

    Source: DeepSeek-AI 2024 (DeepSeek-V2), section 2.1.
    """

    query_rank: int
    """Elements of the compressed query; 0 where queries are not compressed."""
    rank: int
    """Elements of the compressed vector of keys and values."""
    plain_dim: int
    """Elements of a head's query that are not rotated; they come first."""
    rotated_dim: int
    """Elements of a head's query that are rotated; they come last."""
    value_dim: int
    """Elements of a head's value, after it has been expanded."""
    is_absorbed: bool
    """The cache holds the compressed vector; else it holds keys and values of each head."""


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """The sizes and rules of one layer. All sizes are positive and bounded."""

    head_count: int
    """Query heads; a multiple of `kv_head_count`."""
    kv_head_count: int
    head_dim: int
    """Elements of a head's query and key; `head_count * head_dim` may differ from the embedding."""
    value_dim: int
    """Elements of a head's value."""
    rotation: Rotation | None
    """None: positions do not enter this layer."""
    attention_scale: float
    """Multiplies scores."""
    score_cap: float
    """A score becomes cap · tanh(score / cap); 0 for no cap."""
    window: int
    """Positions that a token sees, its own included; 0 for all before it."""
    is_chunked: bool
    """The window is the chunk of `window` positions, from a multiple of it on, in which the token lies."""
    temperature: QueryTemperature | None
    kv_source: int
    """The layer whose keys and values this one reads: its own number, or an earlier layer's."""
    hidden_size: int
    """Elements between the two halves of the feed-forward block; 0 where experts have taken its place."""
    latent: LatentSizes | None = None
    experts: ExpertSizes | None = None
    """None: the layer has a dense feed-forward block only."""
    attention_gates: int = 0
    """Numbers that gate what attention gives: one for each head, one for each element, or 0 for none."""
    hidden_limit: float = 0.0
    """Limit of both factors of gated blocks, the shared expert's too; 0 for none."""
    activation_numbers: tuple[float, ...] = ()
    """Numbers of the activation of this layer."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The sizes of a transformer."""

    architecture: str
    """As in the file; not safe to print."""
    embedding_size: int
    """Elements of the residual stream."""
    layers: tuple[LayerSizes, ...]
    """At least one."""
    epsilon: float
    """What is added to the variance in norms."""
    context_length: int
    """Context in tokens that the model was trained for."""
    vocab_size: int
    embedding_scale: float = 1.0
    """Multiplies the embedding of a token."""
    residual_scale: float = 1.0
    """Multiplies what attention and feed-forward blocks add to the residual stream."""
    attention_output_scale: float = 1.0
    """Multiplies what attention blocks add, besides `residual_scale`."""
    logit_scale: float = 1.0
    """Multiplies logits."""
    logit_cap: float = 0.0
    """A logit becomes cap · tanh(logit / cap); 0 for no cap."""
    projection_limit: float = 0.0
    """Queries, keys and values are limited to numbers of at most this size; 0 for no limit."""
    distance_bias: float = 0.0
    """Scores fall with distance, by slopes of the heads from 2^-distance_bias up; 0: they do not. See `slopes_of`."""
    is_side_by_side: bool = False
    """Whether the file says that the blocks of a layer read the same input, where files of its architecture do."""
    norm_kind: NormKind = "rms"
    activation: Activation = "silu"
    """That of dense feed-forward blocks."""
    layer_embedding_size: int = 0
    """Elements of a token's embedding for each layer, besides the one that all share; 0 for none."""
    notices: tuple[str, ...] = ()
    """Notices for the user, one line each."""

    @property
    def layer_count(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def rotations(self) -> tuple[Rotation, ...]:
        """The different rotations of the layers, in order of first use."""
        return tuple(dict.fromkeys(layer.rotation for layer in self.layers if layer.rotation is not None))

    @property
    def storing_layers(self) -> tuple[int, ...]:
        """The layers that store keys and values of their own."""
        return tuple(index for index, layer in enumerate(self.layers) if layer.kv_source == index)
