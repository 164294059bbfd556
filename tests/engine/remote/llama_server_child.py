"""A process with llama-server in it, as `xllamacpp` packs it: prints its address, and ends with its input.

Arguments: the model file, the context size in tokens, and a key, which may be empty.
"""

import importlib
import sys


def main() -> None:
    """Serves until the input ends."""
    model_path, context_size, key = sys.argv[1:]
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = model_path
    params.n_ctx, params.n_parallel = int(context_size), 1
    # Its threads wait for each other by asking again and again, which takes forever where they share a processor.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if key:
        params.api_keys = [key]
    server = xllamacpp.Server(params)
    print(f"listening {server.listening_address}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
