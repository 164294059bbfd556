"""Writes llama.cpp's logits after each of some tokens, for `benchmarks.perplexity`.

It needs only an interpreter with `llama-cpp-python`, because it is run as a file. The input is a JSON array of token
ids; the output is float32 (tokens, vocab).
"""

import ctypes
import json
import sys

import llama_cpp

_BATCH_TOKENS = 512


def write_logits() -> None:
    """Reads the tokens and writes the logits."""
    ids = json.load(sys.stdin)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params())
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = len(ids), _BATCH_TOKENS, _BATCH_TOKENS
    context = llama_cpp.llama_init_from_model(model, parameters)
    vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    for first in range(0, len(ids), _BATCH_TOKENS):
        part = ids[first : first + _BATCH_TOKENS]
        batch = llama_cpp.llama_batch_init(len(part), 0, 1)
        batch.n_tokens = len(part)
        for place, token_id in enumerate(part):
            batch.token[place], batch.pos[place] = token_id, first + place
            batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, 0, 1
        if llama_cpp.llama_decode(context, batch):
            raise SystemExit("llama.cpp could not read the tokens")
        logits = llama_cpp.llama_get_logits(context)
        size = len(part) * vocab_size * ctypes.sizeof(ctypes.c_float)
        sys.stdout.buffer.write(ctypes.string_at(logits, size))
        llama_cpp.llama_batch_free(batch)


if __name__ == "__main__":
    write_logits()
