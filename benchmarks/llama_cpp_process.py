"""Runs llama.cpp in a process of its own, one repetition at a time, for `benchmarks.compare`.

It needs only an interpreter with `llama-cpp-python`, because it is run as a file. The first line that it prints is a
JSON object about itself. Then each line of input is a JSON object with `kind` ("pp" or "tg"), `tokens`, `depth` and
`flash` (whether to use flash attention). For each, the process fills the cache to that depth if necessary, reads the
tokens at once or one by one, removes them from the cache and prints a JSON object with `seconds`. With --once it loads
the model, reads one token and prints `seconds` for both together.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import llama_cpp

_SEQUENCE = 0


class _Context:
    """A context with a cache that holds some tokens."""

    def __init__(self, model: Any, vocab_size: int, flash: bool, options: argparse.Namespace) -> None:
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = options.context
        parameters.n_batch = parameters.n_ubatch = options.batch
        parameters.n_threads = options.threads
        parameters.n_threads_batch = options.batch_threads
        parameters.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        parameters.type_k = parameters.type_v = getattr(llama_cpp, f"GGML_TYPE_{options.cache_type.upper()}")
        parameters.no_perf = True
        self._context = llama_cpp.llama_init_from_model(model, parameters)
        if not self._context:
            raise SystemExit("llama.cpp made no context")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch, self._length = options.batch, 0
        numbers = random.Random(0)
        self._tokens = [numbers.randrange(vocab_size) for _ in range(options.context)]

    def seconds(self, kind: str, tokens: int, depth: int) -> float:
        """Runs one repetition and returns its seconds."""
        self._rewind(min(depth, self._length))
        if self._length < depth:
            self._feed(self._tokens[self._length : depth], self._batch)
        started = perf_counter()
        self._feed(self._tokens[depth : depth + tokens], self._batch if kind == "pp" else 1)
        seconds = perf_counter() - started
        self._rewind(depth)
        return seconds

    def _rewind(self, length: int) -> None:
        if not llama_cpp.llama_memory_seq_rm(self._memory, _SEQUENCE, length, -1):
            raise SystemExit("llama.cpp cannot forget tokens of this model")
        self._length = length

    def _feed(self, tokens: Sequence[int], batch: int) -> None:
        for first in range(0, len(tokens), batch):
            part = tokens[first : first + batch]
            array = (llama_cpp.llama_token * len(part))(*part)
            if llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(part))):
                raise SystemExit("llama.cpp could not read the tokens")
        llama_cpp.llama_synchronize(self._context)
        self._length += len(tokens)


def serve() -> None:
    """Answers requests until the input ends."""
    options = _parse_arguments()
    llama_cpp.llama_backend_init()
    started = perf_counter()
    model = _load(options.model)
    vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    if options.once:
        _Context(model, vocab_size, True, options).seconds("tg", 1, 0)
        _say({"seconds": perf_counter() - started})
        return
    _say({"version": llama_cpp.__version__, "system": llama_cpp.llama_print_system_info().decode()})
    contexts: dict[bool, _Context] = {}
    for line in sys.stdin:
        request = json.loads(line)
        flash = request["flash"]
        if flash not in contexts:
            contexts[flash] = _Context(model, vocab_size, flash, options)
        _say({"seconds": contexts[flash].seconds(request["kind"], request["tokens"], request["depth"])})


def _load(path: str) -> Any:
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
    if not model:
        raise SystemExit(f"llama.cpp does not load {path}")
    return model


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file")
    parser.add_argument("--context", type=int, required=True, help="tokens that a context holds")
    parser.add_argument("--threads", type=int, required=True, help="threads that write answers")
    parser.add_argument("--batch-threads", type=int, required=True, help="threads that read prompts")
    parser.add_argument("--batch", type=int, default=512, help="tokens read at once")
    parser.add_argument("--cache-type", default="f16", help="how keys and values are kept")
    parser.add_argument("--once", action="store_true", help="load, read one token, and end")
    return parser.parse_args()


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
