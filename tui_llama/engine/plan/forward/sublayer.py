"""The way from the residual stream into a block of a layer, and back."""

from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.forward.plan_writer import PlanWriter, Values


def emit_norm(
    plan: PlanWriter[Values], architecture: Architecture, source: Values, name: str, target: str = "normed"
) -> Values:
    """Emits norm(source), and returns it; the next norm with that target overwrites it."""
    norms = architecture.norms
    name = name if norms.has_weights else ""
    return plan.norm(source, name, plan.sizes.norm_kind, bias_required=norms.biases_required, target=target)


def emit_output(
    plan: PlanWriter[Values],
    architecture: Architecture,
    source: Values,
    matrix: str,
    residual: Values,
    norm_behind: str,
    *,
    bias_required: bool,
) -> None:
    """Emits residual += scale · norm(matrix · source); the norm's whole name is "" where there is none."""
    scale = plan.sizes.residual_scale
    if not norm_behind and scale == 1.0:
        plan.multiply(source, {matrix: residual}, add=True, bias_required=bias_required)
        return
    output = plan.buffer("block output", plan.sizes.embedding_size)
    plan.multiply(source, {matrix: output}, bias_required=bias_required)
    add_output(plan, output, residual, norm_behind)


def add_output(plan: PlanWriter[Values], output: Values, residual: Values, norm_behind: str) -> None:
    """Emits residual += scale · norm(output)."""
    if norm_behind:
        plan.norm_in_place(output, norm_behind, plan.sizes.norm_kind)
    plan.add(residual, output, plan.sizes.residual_scale)
