"""Runs llama.cpp's own samplers over given logits, for `benchmarks.samplers`.

It needs only an interpreter with `llama-cpp-python`, because it is run as a file. The input is JSON: `vocabulary`, a
model file or null; the `prompt`, tokens; the `rounds`, logits of one token each; and the `cases`, each the samplers in
their order, names and arguments of llama.cpp's functions `llama_sampler_init_…`. For every case and round the output
has the candidates before the last sampler, as pairs of a token and its logit, and the token that the last one takes.
"""

import ctypes
import json
import sys
from typing import Any

import llama_cpp


def run_samplers() -> None:
    """Reads the cases and writes what the samplers did."""
    asked = json.load(sys.stdin)
    llama_cpp.llama_backend_init()
    vocabulary = None
    if asked["vocabulary"]:
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        model = llama_cpp.llama_model_load_from_file(asked["vocabulary"].encode(), parameters)
        vocabulary = llama_cpp.llama_model_get_vocab(model)
    chains = ([_sampler(name, arguments, vocabulary) for name, arguments in case] for case in asked["cases"])
    json.dump([_run(chain, asked["prompt"], asked["rounds"]) for chain in chains], sys.stdout)


def _run(samplers: list[Any], prompt: list[int], rounds: list[list[float]]) -> list[dict[str, Any]]:
    for token_id in prompt:
        _accept(samplers, token_id)
    done = []
    for logits in rounds:
        size = len(logits)
        data = (llama_cpp.llama_token_data * size)(*((each, logit, 0.0) for each, logit in enumerate(logits)))
        array = llama_cpp.llama_token_data_array(data, size, -1, False)
        for sampler in samplers[:-1]:
            llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        left = [(array.data[place].id, array.data[place].logit) for place in range(array.size)]
        llama_cpp.llama_sampler_apply(samplers[-1], ctypes.byref(array))
        chosen = array.data[array.selected].id
        _accept(samplers, chosen)
        done.append({"left": left, "chosen": chosen})
    return done


def _accept(samplers: list[Any], token_id: int) -> None:
    for sampler in samplers:
        llama_cpp.llama_sampler_accept(sampler, token_id)


def _sampler(name: str, arguments: list[Any], vocabulary: Any) -> Any:
    make = getattr(llama_cpp, f"llama_sampler_init_{name}")
    if name == "logit_bias":
        vocab_size, biases = arguments
        pairs = (llama_cpp.llama_logit_bias * len(biases))(*map(tuple, biases))
        return make(vocab_size, len(biases), pairs)
    if name == "dry":
        *numbers, breakers = arguments
        texts = (ctypes.c_char_p * len(breakers))(*(each.encode() for each in breakers))
        return make(vocabulary, *numbers, texts, len(breakers))
    return make(*arguments)


if __name__ == "__main__":
    run_samplers()
