"""Reads the facts of a model file that users are shown: what the model is, what it needs, whether it can run.

Before the model is loaded, this reads only the header of the file. That takes milliseconds, and is safe for a file that
nobody has checked yet.
"""

import math
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from tui_llama.declarations import Value
from tui_llama.engine.descriptions import Capabilities, ModelFacts, ModelInfo
from tui_llama.engine.gguf.compiled_strings import compiled_find_strings
from tui_llama.engine.gguf.file import GgufFile, ValueType, open_gguf
from tui_llama.engine.model.coverage import check_coverage
from tui_llama.engine.model.file_kind import architecture_of
from tui_llama.engine.model.memory_need import bytes_in_memory, expert_bytes, layer_of_experts
from tui_llama.engine.plan.sizes.read_sizes import read_sizes
from tui_llama.engine.state_shape import StateShape
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.engine.templates.known import recognize_template
from tui_llama.engine.templates.template_text import stored_template
from tui_llama.engine.tensors.hyperparameters import MAX_CONTEXT, Hyperparameters
from tui_llama.engine.tensors.kv_cache import CacheShape, state_shape_of
from tui_llama.engine.tokenizer.tokenizer import check_tokenizer_kind
from tui_llama.errors import ModelFileError

_EMBEDDING: Final = "token_embd.weight"
_OUTPUT: Final = "output.weight"

_LONGEST: Final = 1000  # characters of a text; what a file says has no end of its own

_MIXTURES: Final = {
    **{11: ("Q3_K_S", "Q3_K"), 12: ("Q3_K_M", "Q3_K"), 13: ("Q3_K_L", "Q3_K"), 21: ("Q2_K_S", "Q2_K")},
    **{14: ("Q4_K_S", "Q4_K"), 15: ("Q4_K_M", "Q4_K"), 16: ("Q5_K_S", "Q5_K"), 17: ("Q5_K_M", "Q5_K")},
    **{22: ("IQ3_XS", "IQ3_S"), 27: ("IQ3_M", "IQ3_S"), 29: ("IQ2_M", "IQ2_S"), 38: ("MXFP4_MOE", "MXFP4")},
}
"""By `general.file_type` (`llama_ftype` in llama.h): what people call a file of several types, and one of these."""

_SAMPLING_KEYS: Final = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repeat_penalty": "general.sampling.penalty_repeat",
    "penalty_last_n": "general.sampling.penalty_last_n",
    "xtc_probability": "general.sampling.xtc_probability",
    "xtc_threshold": "general.sampling.xtc_threshold",
    "mirostat": "general.sampling.mirostat",
    "mirostat_tau": "general.sampling.mirostat_tau",
    "mirostat_eta": "general.sampling.mirostat_eta",
    "samplers": "general.sampling.sequence",
}
"""Fields of `chat.SamplingSettings`, and the keys that llama.cpp reads for them (src/llama-arch.cpp)."""


def read_model_facts(path: str | Path) -> ModelFacts:
    """Reads the header of a model file; any error in the file, or in reading it, becomes `refusal`."""
    try:
        with open_gguf(path, compiled_find_strings()) as file:
            return model_facts(file)
    except ModelFileError as error:
        return ModelFacts(_printable(path), refusal=_printable(error)[: 2 * _LONGEST])
    except Exception as error:  # a mistake of ours, which must not hide the other files of a list
        what = f"{Path(path).name}: it could not be read: {type(error).__name__}: {error}"
        return ModelFacts(_printable(path), refusal=_printable(what)[: 2 * _LONGEST])


def loaded_model_info(
    file: GgufFile,
    sizes: Hyperparameters,
    cache: CacheShape,
    weight_bytes: int,
    template: ChatTemplate,
    vocabulary: str,
) -> ModelInfo:
    """Returns what the screen says of a model that is loaded.

    Args:
        file: The model.
        sizes: Those of the model.
        cache: The shape of a sequence's keys and values.
        weight_bytes: What the matrices take in memory.
        template: The chat template.
        vocabulary: The fingerprint of what token ids mean.
    """
    name = file.metadata.get("general.name")
    return ModelInfo(
        name=name if isinstance(name, str) else file.path.stem,
        path=str(file.path),
        architecture=file.get_str("general.architecture"),
        quantization=quantization_name(file),
        parameter_count=_parameter_count(file),
        weight_bytes=weight_bytes,
        vocab_size=sizes.vocab_size,
        context_size=cache.context_size,
        trained_context_size=sizes.context_length,
        key_value_bytes_per_token=cache.state.token_bytes,
        template_source=template.source,
        sampling=recommended_sampling(file),
        vocabulary=vocabulary,
        template_marks=template.marks,
        thinking=template.thinking.choices,
        capabilities=Capabilities(has_probabilities=True, has_grammars=True),
    )


def quantization_name(file: GgufFile) -> str:
    """Returns the name of the mixture that a file says it is, if it has such weights; else the type of most matrices.

    The name is empty where there are no matrices.
    """
    types = [tensor.type_name for tensor in file.tensors.values() if len(tensor.shape) > 1]
    number = file.metadata.get("general.file_type")
    mixture, typical = _MIXTURES.get(number, ("", "")) if isinstance(number, int) else ("", "")
    # Where many rows are too short for that type, as in small models, most matrices have another one.
    if typical in types:
        return mixture
    return max(sorted(set(types)), key=types.count, default="")


def recommended_sampling(file: GgufFile) -> dict[str, Value]:
    """Returns the sampling that a file recommends, by the names of `chat.SamplingSettings`; ignores other types."""
    found: dict[str, Value] = {}
    for name, key in _SAMPLING_KEYS.items():
        value = file.metadata.get(key)
        if isinstance(value, str) and name == "samplers":
            found[name] = _printable(value)[:_LONGEST]
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            # As it was written: 0.6 in 32 bits is 0.6000000238418579 in 64.
            is_short = file.metadata_types[key] is ValueType.FLOAT32
            found[name] = float(str(np.float32(value))) if is_short else value
    return found


def model_facts(file: GgufFile) -> ModelFacts:
    """Returns the facts of an open file; that the engine cannot run it is `refusal`."""
    facts = ModelFacts(
        path=_printable(file.path),
        name=_text(file, "general.name")[:_LONGEST],
        architecture=_text(file, "general.architecture")[:_LONGEST],
        quantization=quantization_name(file),
        parameter_count=_parameter_count(file),
        file_bytes=file.size_bytes,
        weight_bytes=sum(map(bytes_in_memory, file.tensors.values())),
        expert_bytes=sum(expert_bytes(file.tensors).values()),
        bytes_read_per_token=_bytes_read_per_token(file),
        licence=_text(file, "general.license")[:_LONGEST],
        template_source=_template_source(file),
        sampling=recommended_sampling(file),
    )
    try:
        architecture = architecture_of(file)
        read = read_sizes(file, architecture)
        check_coverage(file, read, architecture)
        check_tokenizer_kind(file)
        cache = CacheShape(state_shape_of(read.sizes, "f16"), MAX_CONTEXT)
    except ModelFileError as error:
        return msgspec.structs.replace(facts, refusal=_printable(error)[: 2 * _LONGEST])
    windows = [group for group in cache.state.groups if group.window]
    return msgspec.structs.replace(
        facts,
        bytes_read_per_token=_bytes_read_per_token(file, read.sizes),
        layer_count=read.sizes.layer_count,
        trained_context_size=read.sizes.context_length,
        key_value_bytes_per_token=cache.state.token_bytes,
        window_bytes_per_token=StateShape(tuple(windows), "f16").token_bytes if windows else 0,
        window_positions=max(map(cache.positions, windows), default=0),
    )


def _parameter_count(file: GgufFile) -> int:
    return sum(math.prod(tensor.shape) for tensor in file.tensors.values())


def _bytes_read_per_token(file: GgufFile, sizes: Hyperparameters | None = None) -> int:
    """Returns the bytes of weights that one token reads; all experts count where the sizes are not known."""
    has_own_output = _OUTPUT in file.tensors
    read = [tensor for name, tensor in file.tensors.items() if name != _EMBEDDING or not has_own_output]
    return sum(round(bytes_in_memory(tensor) * _used_share(tensor.name, sizes)) for tensor in read)


def _used_share(name: str, sizes: Hyperparameters | None) -> float:
    """Returns the share of a tensor that one token uses: of experts those that are chosen, else all."""
    layer = layer_of_experts(name)
    if layer is None or sizes is None or layer >= sizes.layer_count:
        return 1.0
    experts = sizes.layers[layer].experts
    return 1.0 if experts is None else experts.used_count / experts.count


def _template_source(file: GgufFile) -> str:
    text, _ = stored_template(file)
    if not text:
        return "none in the file; a plain one is used"
    name = recognize_template(text)
    return "the model file" if name is None else f"the model file ({name})"


def _text(file: GgufFile, key: str) -> str:
    value = file.metadata.get(key)
    return value if isinstance(value, str) else ""


def _printable(text: object) -> str:
    """Returns a path, or an error that names one, without the bytes that are no text: no message can carry those."""
    return str(text).encode("utf-8", "replace").decode()
