"""Tells in words what a declaration makes of one layer."""

from collections.abc import Mapping, Sequence
from typing import cast

from tui_llama.engine.plan.architectures import Architecture
from tui_llama.engine.plan.forward.decoder import emit_forward_pass
from tui_llama.engine.plan.forward.plan_writer import MatrixName, PlanWriter
from tui_llama.engine.tensors.hyperparameters import Activation, Hyperparameters, NormKind


class StoryWriter:
    """Notes each operation of the usual layers as a few words; values are only their names. See `PlanWriter`.

    Attributes:
        story: The words, in the order of the operations.
    """

    def __init__(self, sizes: Hyperparameters, tensors: frozenset[str]) -> None:
        self.sizes = sizes
        self.story: list[str] = []
        self._tensors = tensors

    @property
    def logits(self) -> str:
        """The name of the logits."""
        return "logits"

    def has(self, name: str) -> bool:
        """Tells whether the test gave the model this tensor."""
        return name in self._tensors

    def buffer(self, name: str, width: int) -> str:
        """Returns the name."""
        return name

    def embed(self, name: str, target: str, scale: float) -> None:
        """Notes the scale."""
        self._note("embed" if scale == 1.0 else f"embed × {scale:.4g}")

    def embed_positions(self, name: str, target: str) -> None:
        """Notes the name."""
        self._note(f"embed {name}")

    def norm(
        self, source: str, name: str, kind: NormKind, *, bias_required: bool = False, target: str = "normed"
    ) -> str:
        """Notes kind and name, and whether there must be a bias."""
        self._note(f"{kind} {_short(name) or 'bare'}{' and bias' if bias_required else ''}")
        return target

    def norm_in_place(self, values: str, name: str, kind: NormKind) -> None:
        """Notes kind, name and place."""
        self._note(f"{kind} {_short(name)} in place")

    def head_norm(self, values: str, name: str, heads: int, kind: NormKind, *, vector_per_head: bool = False) -> None:
        """Notes kind and name, and whose weights they are."""
        self._note(f"{kind} {_short(name) or 'bare'} of each {'head by its own' if vector_per_head else 'head'}")

    def multiply(
        self, source: str, targets: Mapping[MatrixName, str], *, add: bool = False, bias_required: bool = False
    ) -> None:
        """Notes source, matrices and biases."""
        names = " ".join(_short(each if isinstance(each, str) else f"rows of {each.name}") for each in targets)
        self._note(f"{source} {'to residual ' if add else ''}by {names}{' and bias' if bias_required else ''}")

    def add(self, target: str, source: str, scale: float) -> None:
        """Notes the scale."""
        self._note("add" if scale == 1.0 else f"add × {scale:.4g}")

    def rotate(self, queries: str, layer: int) -> str:
        """Notes nothing: `store` and `attention` say it."""
        return "rotated"

    def rotate_in_place(self, values: str, layer: int, heads: int) -> None:
        """Notes what is rotated."""
        self._note(f"rotate {values}")

    def arrange(self, queries: str, layer: int) -> str:
        """Notes nothing."""
        return "arranged"

    def store(self, keys: str, values: str | None, layer: int, *, is_rotated: bool = False) -> None:
        """Notes nothing: `attention` says it."""

    def continue_with_output_tokens(self) -> None:
        """Notes nothing."""

    def attention(self, rotated: str, layer: int, *, sinks: str = "") -> str:
        """Notes in which state queries are."""
        self._note(f"attend {rotated}{' with sinks' if sinks else ''}")
        return "attended"

    def gate(self, gates: str, ups: str, activation: Activation, limit: float = 0.0) -> str:
        """Notes the activation and the limit."""
        self._note(f"{activation} {gates}{f' up to {limit:.4g}' if limit else ''}")
        return "hidden"

    def weigh_heads(self, values: str, weights: str) -> None:
        """Notes both."""
        self._note(f"weigh {values} by {weights}")

    def activate(self, values: str, activation: Activation, numbers: Sequence[float] = ()) -> None:
        """Notes the activation and its numbers."""
        self._note(" ".join([activation, *(f"{number:.4g}" for number in numbers)]))

    def scale_and_cap(self, values: str, scale: float, cap: float) -> None:
        """Notes both."""
        self._note(f"scale × {scale:.4g}, cap {cap:.4g}")

    def limit(self, values: str, most: float) -> None:
        """Notes the limit."""
        self._note(f"limit {values} to {most:g}")

    def _note(self, words: str) -> None:
        self.story.append(words)


def layer_story(sizes: Hyperparameters, architecture: Architecture, tensors: frozenset[str] = frozenset()) -> list[str]:
    """Returns the words for a whole forward pass."""
    writer = StoryWriter(sizes, tensors)
    emit_forward_pass(cast(PlanWriter[str], writer), architecture)  # others' operations are not told in words
    return writer.story


def _short(name: str) -> str:
    return name.replace("blk.0.", "")
