"""What some architectures do between the embedding of tokens and the first layer."""

from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.forward.plan_writer import PlanWriter, Values


def add_learned_positions(plan: PlanWriter[Values], architecture: Architecture, residual: Values) -> None:
    """Emits residual += the learned vector of each token's position.

    Source: Radford et al. 2018 (Improving language understanding by generative pre-training).
    """
    positions = plan.buffer("positions", plan.sizes.embedding_size)
    plan.embed_positions("position_embd", positions)
    plan.add(residual, positions, 1.0)


def add_positions_if_any(plan: PlanWriter[Values], architecture: Architecture, residual: Values) -> None:
    """Does as `add_learned_positions` where the model has such vectors."""
    if plan.has("position_embd.weight"):
        add_learned_positions(plan, architecture, residual)


def norm_embeddings(plan: PlanWriter[Values], architecture: Architecture, residual: Values) -> None:
    """Emits residual = norm(residual).

    Source: BigScience 2022 (BLOOM).
    """
    plan.norm_in_place(residual, "token_embd_norm", plan.sizes.norm_kind)
