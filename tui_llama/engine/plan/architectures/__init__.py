"""The architectures that the engine knows: one small declaration each, by families."""

from typing import Final

from tui_llama.engine.plan.architectures.afmoe import AFMOE
from tui_llama.engine.plan.architectures.alibi import BAICHUAN, BLOOM, JAIS, MPT, REFACT
from tui_llama.engine.plan.architectures.apertus import APERTUS
from tui_llama.engine.plan.architectures.bailing import BAILINGMOE2
from tui_llama.engine.plan.architectures.bitnet import BITNET
from tui_llama.engine.plan.architectures.cohere import COHERE2, COHERE2MOE, COMMAND_R
from tui_llama.engine.plan.architectures.dbrx import DBRX
from tui_llama.engine.plan.architectures.declaration import Architecture
from tui_llama.engine.plan.architectures.deepseek import DEEPSEEK2, MISTRAL4
from tui_llama.engine.plan.architectures.deepseek_moe import BAILINGMOE, DEEPSEEK, DOTS1
from tui_llama.engine.plan.architectures.exaone import EXAONE, EXAONE4, EXAONE_MOE
from tui_llama.engine.plan.architectures.gemma import GEMMA, GEMMA2, GEMMA3, GEMMA4
from tui_llama.engine.plan.architectures.glm import CHATGLM, GLM4, GLM4MOE
from tui_llama.engine.plan.architectures.gpt2 import GPT2, STARCODER
from tui_llama.engine.plan.architectures.gpt2_like import (
    FALCON,
    GPTNEOX,
    JAIS2,
    NEMOTRON,
    ORION,
    STABLELM,
    STARCODER2,
)
from tui_llama.engine.plan.architectures.gpt_oss import GPT_OSS
from tui_llama.engine.plan.architectures.granite import GRANITE, GRANITE_SWA, GRANITEMOE
from tui_llama.engine.plan.architectures.grok import GROK
from tui_llama.engine.plan.architectures.hunyuan import HUNYUAN_DENSE, HUNYUAN_MOE, HY_V3
from tui_llama.engine.plan.architectures.laguna import LAGUNA
from tui_llama.engine.plan.architectures.llama import (
    ARCEE,
    ERNIE4_5,
    ERNIE4_5_MOE,
    INTERNLM2,
    LLAMA,
    MAINCODER,
    MINICPM,
    MISTRAL3,
    PANGU_EMBEDDED,
    PLAMO,
    SMOLLM3,
    XVERSE,
)
from tui_llama.engine.plan.architectures.llama4 import LLAMA4
from tui_llama.engine.plan.architectures.mimo2 import MIMO2
from tui_llama.engine.plan.architectures.minicpm3 import MINICPM3
from tui_llama.engine.plan.architectures.olmo import OLMO, OLMO2, OLMOE
from tui_llama.engine.plan.architectures.phi import PHI2, PHI3, PHIMOE
from tui_llama.engine.plan.architectures.qwen import (
    MELLUM,
    MINIMAX_M2,
    QWEN,
    QWEN2,
    QWEN2MOE,
    QWEN2VL,
    QWEN3,
    QWEN3MOE,
    QWEN3VL,
    QWEN3VLMOE,
)
from tui_llama.engine.plan.architectures.seed_oss import SEED_OSS
from tui_llama.engine.plan.architectures.smallthinker import SMALLTHINKER
from tui_llama.engine.plan.architectures.step35 import STEP35
from tui_llama.errors import ModelFileError

ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        *(AFMOE, APERTUS, ARCEE),
        *(BAICHUAN, BAILINGMOE, BAILINGMOE2, BITNET, BLOOM),
        *(CHATGLM, COHERE2, COHERE2MOE, COMMAND_R),
        *(DBRX, DEEPSEEK, DEEPSEEK2, DOTS1),
        *(ERNIE4_5, ERNIE4_5_MOE, EXAONE, EXAONE4, EXAONE_MOE),
        *(FALCON,),
        *(GEMMA, GEMMA2, GEMMA3, GEMMA4, GLM4, GLM4MOE, GPT2, GPTNEOX, GPT_OSS, GRANITE, GRANITE_SWA, GRANITEMOE),
        *(GROK,),
        *(HUNYUAN_DENSE, HUNYUAN_MOE, HY_V3),
        *(INTERNLM2,),
        *(JAIS, JAIS2),
        *(LAGUNA, LLAMA, LLAMA4),
        *(MAINCODER, MELLUM, MIMO2, MINICPM, MINICPM3, MINIMAX_M2, MISTRAL3, MISTRAL4, MPT),
        *(NEMOTRON,),
        *(OLMO, OLMO2, OLMOE, ORION),
        *(PANGU_EMBEDDED, PHI2, PHI3, PHIMOE, PLAMO),
        *(QWEN, QWEN2, QWEN2MOE, QWEN2VL, QWEN3, QWEN3MOE, QWEN3VL, QWEN3VLMOE),
        *(REFACT,),
        *(SEED_OSS, SMALLTHINKER, SMOLLM3, STABLELM, STARCODER, STARCODER2, STEP35),
        *(XVERSE,),
    )
}

_UNKNOWN_HINT: Final = "Choose another model, or a newer version of this program; docs/models.md lists what runs."


def architecture_named(name: str) -> Architecture:
    """Returns the declaration of an architecture by its name in GGUF.

    Raises:
        ModelFileError: the architecture is not known.
    """
    if name not in ARCHITECTURES:
        raise ModelFileError(f"the architecture {name!r} is not supported", _UNKNOWN_HINT)
    return ARCHITECTURES[name]


__all__ = ["ARCHITECTURES", "Architecture", "architecture_named"]
