"""The feed-forward block of a layer.

Source: Shazeer 2020 (GLU variants improve transformer).
"""

from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.forward.plan_writer import MatrixName, PlanWriter, Rows, Values
from tui_llama.engine.plan.forward.sublayer import emit_norm, emit_output


def emit_feed_forward(
    plan: PlanWriter[Values], architecture: Architecture, normed: Values, residual: Values, layer: int
) -> None:
    """Emits residual += down(activation(gate(normed)) · up(normed))."""
    block, behind = f"blk.{layer}.", architecture.norms.after_feed_forward
    hidden = emit_hidden(plan, architecture, normed, layer)
    if architecture.norms.before_down:
        hidden = emit_norm(plan, architecture, hidden, block + architecture.norms.before_down)
    emit_output(
        plan, architecture, hidden, block + "ffn_down", residual, behind and block + behind,
        bias_required="ffn_down" in architecture.required_biases,
    )  # fmt: skip


def emit_hidden(plan: PlanWriter[Values], architecture: Architecture, normed: Values, layer: int) -> Values:
    """Emits the first half of the block and returns what its second half, the down matrix, multiplies."""
    rules, block = architecture.feed_forward, f"blk.{layer}."
    width = plan.sizes.layers[layer].hidden_size
    bias_required = "ffn_up" in architecture.required_biases
    ups = plan.buffer("ups", width)
    if not rules.is_gated:
        plan.multiply(normed, {block + "ffn_up": ups}, bias_required=bias_required)
        plan.activate(ups, plan.sizes.activation, plan.sizes.layers[layer].activation_numbers)
        return ups
    gates = plan.buffer("gates", width)
    targets: dict[MatrixName, Values] = {block + "ffn_gate": gates, block + "ffn_up": ups}
    if rules.gate_is_above_up:
        fused = block + "ffn_up"
        targets = {Rows(fused, 0, 2 * width, block + "ffn_gate"): gates, Rows(fused, width, 2 * width, fused): ups}
    plan.multiply(normed, targets, bias_required=bias_required)
    return plan.gate(gates, ups, plan.sizes.activation, plan.sizes.layers[layer].hidden_limit)
