"""Prepares a model as far as its header goes: sizes, checks and the plan. No weights are read, nothing is compiled.

What is wrong with a file shows here, except damaged vocabularies and templates.
"""

from dataclasses import dataclass

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.machine.free_memory import OVERHEAD_BYTES, memory_and_free, most_new_bytes
from tui_llama.engine.model.coverage import check_coverage
from tui_llama.engine.model.file_kind import architecture_of
from tui_llama.engine.model.memory_need import expert_bytes, experts_in_file, other_bytes
from tui_llama.engine.plan.builder import PlanBuilder
from tui_llama.engine.plan.forward.decoder import emit_forward_pass
from tui_llama.engine.plan.plan import Plan
from tui_llama.engine.plan.sizes.read_sizes import read_sizes
from tui_llama.engine.requests import DEFAULT_CONTEXT_SIZE, IN_FILE, WHEREVER_THEY_FIT
from tui_llama.engine.tensors.hyperparameters import Hyperparameters
from tui_llama.engine.tensors.kv_cache import CacheShape, state_shape_of
from tui_llama.engine.tensors.rotary import RotaryTables
from tui_llama.engine.tensors.weights import Weights


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model of which everything is known but its weights.

    Args:
        sizes: Its sizes.
        cache_shape: The shape of a sequence's keys and values.
        batch_tokens: Most tokens that one pass over the weights reads.
        weights: The weights; zeros until they are repacked.
        plan: The operations of a forward pass.
        notices: What the user should know of the file, one line each.
    """

    sizes: Hyperparameters
    cache_shape: CacheShape
    batch_tokens: int
    weights: Weights
    plan: Plan
    notices: tuple[str, ...]


def prepare_model(
    file: GgufFile,
    context_size: int = 0,
    batch_tokens: int = 512,
    cache_type: str = "f16",
    experts: str = WHEREVER_THEY_FIT,
) -> PreparedModel:
    """Checks a file and builds its plan. Memory is reserved, and used only when something is written to it.

    Args:
        file: The model.
        context_size: Tokens that a sequence may hold; 0 for the smaller of the model's own and 8192.
        batch_tokens: Most tokens that one pass over the weights reads.
        cache_type: How keys and values are kept.
        experts: Where the weights of experts are, one of `EXPERT_PLACES`.

    Raises:
        ModelFileError: the file cannot be used.
    """
    architecture = architecture_of(file)
    read = read_sizes(file, architecture)
    sizes = read.sizes
    notices = (*sizes.notices, *check_coverage(file, read, architecture))
    context_size = context_size or min(sizes.context_length, DEFAULT_CONTEXT_SIZE)
    batch_tokens = min(batch_tokens, context_size)
    cache_shape = CacheShape(state_shape_of(sizes, cache_type), context_size, batch_tokens)
    in_file, why = _place_experts(file, cache_shape, experts)
    weights = Weights(file, in_file)
    rotary = RotaryTables(sizes, weights.vector, cache_shape.padded_context, context_size)
    builder = PlanBuilder(sizes, weights, rotary, cache_shape, batch_tokens)
    emit_forward_pass(builder, architecture)
    return PreparedModel(sizes, cache_shape, batch_tokens, weights, builder.build(), (*notices, *why))


def _place_experts(file: GgufFile, cache: CacheShape, place: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Returns the tensors of experts that stay in the file, and what the user should know of that."""
    experts, free_bytes = expert_bytes(file.tensors), memory_and_free()[1]
    needed_bytes = other_bytes(file.tensors) + cache.keys_bytes + cache.values_bytes + OVERHEAD_BYTES
    in_file = experts_in_file(experts, needed_bytes, free_bytes, place)
    if not in_file:
        return in_file, ()
    size = sum(file.tensors[name].size_bytes for name in in_file)
    why = "as chosen" if place == IN_FILE else f"because only {(free_bytes or 0) / 1e9:.1f} GB of memory are free"
    slow = "answers are slower, and only as fast as the disk where the system does not keep them in memory"
    return in_file, (f"{size / 1e9:.1f} GB of the weights of experts stay in the model file, {why}; {slow}.",)


def check_memory(file: GgufFile, weights: Weights) -> None:
    """Refuses weights that cannot fit, before the system ends this process, or another one, for them.

    Raises:
        ModelFileError: there is less memory than the weights need.
    """
    most, needed = most_new_bytes(), weights.matrix_bytes
    if most is not None and needed > most:
        raise file.refuse(
            f"the weights need {needed / 1e9:.1f} GB of memory, but only {most / 1e9:.1f} GB are free",
            "Close other programs, or choose a smaller model or quantization.",
        )
