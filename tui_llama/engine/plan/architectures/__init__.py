"""The architectures that the engine knows: one small declaration each, by families."""

from tui_llama.engine.plan.architectures.bailing import BAILINGMOE2
from tui_llama.engine.plan.architectures.cohere import COHERE2, COMMAND_R
from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.architectures.deepseek import DEEPSEEK2
from tui_llama.engine.plan.architectures.exaone import EXAONE4
from tui_llama.engine.plan.architectures.gemma import GEMMA, GEMMA2, GEMMA3, GEMMA4
from tui_llama.engine.plan.architectures.glm import GLM4, GLM4MOE
from tui_llama.engine.plan.architectures.gpt2_like import STABLELM, STARCODER2
from tui_llama.engine.plan.architectures.gpt_oss import GPT_OSS
from tui_llama.engine.plan.architectures.granite import GRANITE, GRANITEMOE
from tui_llama.engine.plan.architectures.hunyuan import HUNYUAN_DENSE, HUNYUAN_MOE
from tui_llama.engine.plan.architectures.llama import (
    ARCEE,
    ERNIE4_5,
    ERNIE4_5_MOE,
    INTERNLM2,
    LLAMA,
    MINICPM,
    MISTRAL3,
    SMOLLM3,
)
from tui_llama.engine.plan.architectures.olmo import OLMO2, OLMOE
from tui_llama.engine.plan.architectures.phi import PHI2, PHI3
from tui_llama.engine.plan.architectures.qwen import QWEN2, QWEN2MOE, QWEN2VL, QWEN3, QWEN3MOE, QWEN3VL, QWEN3VLMOE
from tui_llama.engine.plan.architectures.seed_oss import SEED_OSS
from tui_llama.errors import ModelFileError

ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        *(
            ARCEE,
            COHERE2,
            COMMAND_R,
            DEEPSEEK2,
            ERNIE4_5,
            EXAONE4,
            GEMMA,
            GEMMA2,
            GEMMA3,
            GEMMA4,
            GLM4,
            GRANITE,
            HUNYUAN_DENSE,
            INTERNLM2,
        ),
        *(LLAMA, MINICPM, MISTRAL3, OLMO2, PHI2, PHI3, QWEN2, QWEN2VL, QWEN3, QWEN3VL, SEED_OSS, SMOLLM3, STABLELM),
        STARCODER2,
        *(BAILINGMOE2, ERNIE4_5_MOE, GLM4MOE, GPT_OSS, GRANITEMOE, HUNYUAN_MOE, OLMOE, QWEN2MOE, QWEN3MOE, QWEN3VLMOE),
    )
}


def architecture_named(name: str) -> Architecture:
    """Returns the declaration of an architecture by its name in GGUF.

    Raises:
        ModelFileError: the architecture is not known.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelFileError(f"the architecture {name!r} is not supported", f"Supported architectures: {known}.")
    return ARCHITECTURES[name]


__all__ = ["ARCHITECTURES", "Architecture", "architecture_named"]
