"""The mixture of experts of a layer.

Source: Shazeer et al. 2017 (Sparsely-gated mixture of experts); Dai et al. 2024 (DeepSeekMoE) for shared experts.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts
from tui_llama.engine.plan.forward.expert_writer import ExpertMatrixName, ExpertRows
from tui_llama.engine.plan.forward.plan_writer import MatrixName, PlanWriter, Rows, Values
from tui_llama.engine.plan.forward.sublayer import add_output
from tui_llama.engine.tensors.expert_sizes import ExpertSizes

_ROUTER = "router"


def emit_experts(
    plan: PlanWriter[Values], architecture: Architecture, normed: Values, residual: Values, layer: int
) -> None:
    """Emits residual += Σ weight · expert(normed) + shared(normed)."""
    rules, experts = architecture.experts, plan.sizes.layers[layer].experts
    assert rules is not None and experts is not None
    block, behind = f"blk.{layer}.", architecture.norms.after_feed_forward
    emit_choice(plan, rules, experts, None if rules.reads_layer_input else normed, block)
    is_alone = experts.shared_hidden_size == 0 and not behind and plan.sizes.residual_scale == 1.0
    if is_alone:
        emit_chosen(plan, rules, experts, normed, residual, block, add=True)
        return
    output = plan.buffer("block output", plan.sizes.embedding_size)
    emit_chosen(plan, rules, experts, normed, output, block, add=False)
    if experts.shared_hidden_size:
        _emit_shared(plan, rules, experts, normed, output, block, plan.sizes.layers[layer].hidden_limit)
        if rules.shared_is_averaged:
            plan.scale_and_cap(output, 0.5, 0.0)
    add_output(plan, output, residual, behind and block + behind)


def emit_router(plan: PlanWriter[Values], rules: Experts, experts: ExpertSizes, source: Values, block: str) -> None:
    """Emits the router's numbers, which the choice of experts finds in a buffer."""
    logits = plan.buffer(_ROUTER, experts.count)
    plan.multiply(source, {f"{block}ffn_gate_inp": logits}, bias_required=rules.biases_required)


def emit_choice(
    plan: PlanWriter[Values], rules: Experts, experts: ExpertSizes, source: Values | None, block: str
) -> None:
    """Emits the router, unless it has no source since that was done before, and the choice that its numbers make."""
    if source is not None:
        emit_router(plan, rules, experts, source, block)
    plan.experts.choose(plan.buffer(_ROUTER, experts.count), experts, _selection_bias(plan, rules, block))


def _selection_bias(plan: PlanWriter[Values], rules: Experts, block: str) -> str:
    """Returns the name of the tensor that is added to the scores that choose, "" if there is none.

    Converters name it as a bias, but for one of Hunyuan's models.
    """
    names = (f"{block}exp_probs_b.bias", f"{block}exp_probs_b")
    if rules.selection_bias == "never":
        return ""
    return next(filter(plan.has, names), names[0] if rules.selection_bias == "required" else "")


def emit_chosen(
    plan: PlanWriter[Values],
    rules: Experts,
    experts: ExpertSizes,
    source: Values,
    target: Values,
    block: str,
    *,
    add: bool,
) -> None:
    """Emits target = Σ weight · down(activation(gate(source)) · up(source)) over the chosen experts, or adds it."""
    size, writer = experts.hidden_size, plan.experts
    gates, ups = (writer.buffer(f"experts' {name}", size, experts) for name in ("gates", "ups"))
    fused = f"{block}ffn_gate_up_exps"
    names: tuple[ExpertMatrixName, ExpertMatrixName] = (f"{block}ffn_gate_exps", f"{block}ffn_up_exps")
    if plan.has(f"{fused}.weight"):
        names = ExpertRows(fused, 0, 2 * size), ExpertRows(fused, size, 2 * size)
    targets = dict(zip(names, (gates, ups), strict=True))
    writer.multiply(source, targets, experts, bias_required=rules.biases_required)
    hidden = plan.gate(gates, ups, rules.activation, experts.limit)
    outputs = writer.buffer("experts' outputs", plan.sizes.embedding_size, experts)
    down = f"{block}ffn_down_exps"
    writer.multiply(hidden, {down: outputs}, experts, bias_required=rules.biases_required)
    writer.add(target, outputs, experts, add=add)


def _emit_shared(
    plan: PlanWriter[Values],
    rules: Experts,
    experts: ExpertSizes,
    normed: Values,
    output: Values,
    block: str,
    limit: float,
) -> None:
    """Emits output += shared(normed): the expert that every token uses.

    Its weight, where it has one, multiplies what the down matrix gets: the matrix is linear.
    """
    size = experts.shared_hidden_size
    gates, ups = plan.buffer("shared gates", size), plan.buffer("shared ups", size)
    targets: dict[MatrixName, Values] = {f"{block}ffn_gate_shexp": gates, f"{block}ffn_up_shexp": ups}
    if rules.shared_gate_is_above_up:
        fused = f"{block}ffn_up_shexp"
        targets = {Rows(fused, 0, 2 * size, f"{block}ffn_gate_shexp"): gates, Rows(fused, size, 2 * size, fused): ups}
    plan.multiply(normed, targets)
    hidden = plan.gate(gates, ups, rules.activation, limit)
    if rules.shared_is_weighed:
        weight = plan.buffer("shared weight", 1)
        plan.multiply(normed, {f"{block}ffn_gate_inp_shexp": weight})
        plan.weigh(hidden, weight)
    plan.multiply(hidden, {f"{block}ffn_down_shexp": output}, add=True)
