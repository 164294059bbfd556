"""`tui-llama serve`: the engine as a server for other programs."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.model_choice import model_file
from tui_llama.cli.options import (
    ENGINE,
    GENERATING,
    MODEL_OPTION,
    PLACEMENT,
    THINKING,
    given,
    setting_options,
    value_option,
    with_options,
)
from tui_llama.errors import UserError
from tui_llama.serve.settings import SERVE_SETTINGS

if TYPE_CHECKING:
    from socket import socket

    from tui_llama.engine.protocol import Engine
    from tui_llama.output import Output
    from tui_llama.serve.http.access import Access
    from tui_llama.serve.running import Service

_NEEDED: Final = ("starlette", "uvicorn", "prometheus_client")
_NO_KEY: Final = ""
_KEY_HINT: Final = "Put the key into the variable TUI_LLAMA_SERVE_KEY, or into a file: --api-key-file FILE."

_ADDRESS: Final = with_options(
    (
        click.option("--host", default="127.0.0.1", show_default=True, help="Name or address to listen on."),
        value_option(SERVE_SETTINGS["port"], default=SERVE_SETTINGS["port"].default, show_default=True),
        click.option(
            *("--allow-host", "allowed_hosts"),
            multiple=True,
            metavar="NAME",
            help="A name under which clients may reach the server. May be repeated.",
        ),
        click.option(
            *("--cors", "origins"),
            multiple=True,
            metavar="ORIGIN",
            help="Pages of this origin may ask, such as http://localhost:3000. May be repeated.",
        ),
    )
)
_KEYS: Final = with_options(
    (
        click.option(
            *("--api-key", "key_on_command_line"),
            is_flag=False,
            flag_value=_NO_KEY,
            metavar="",
            help="Clients need the key that the variable TUI_LLAMA_SERVE_KEY has.",
        ),
        click.option(
            "--api-key-file", type=click.Path(path_type=Path), help="Clients need one of the keys in this file."
        ),
    )
)


@click.command()
@MODEL_OPTION
@click.option("--any-model", is_flag=True, help="Answer requests whatever model they name.")
@_ADDRESS
@_KEYS
@setting_options(*ENGINE, *PLACEMENT, *GENERATING, *THINKING, "max_tokens", "prompt_cache_mib")
@click.pass_obj
def serve(group_options: dict[str, object], /, **options: object) -> None:
    """Serves a model to editors, agents and other programs over OpenAI's protocol.

    Needs: pip install 'tui-llama[serve]'. Without a key only programs on this machine can ask. Requests are answered
    one after the other. Ctrl+C ends the server.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"the server needs {', '.join(missing)}", "pip install 'tui-llama[serve]'")
    options = {**group_options, **given(options)}
    sys.exit(_serve(options))


def _serve(options: Mapping[str, object]) -> int:
    import asyncio

    from tui_llama.output import Output
    from tui_llama.serve.running import serve as run_server

    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        service = _service(options)
        return asyncio.run(run_server(service, output, lambda name: _tell(name, str(options["host"]), service, output)))


def _service(options: Mapping[str, object]) -> "Service":
    from tui_llama.chats.chat_prompt_cache import with_prompt_cache
    from tui_llama.serve.http.listening import bound_sockets
    from tui_llama.serve.running import Service

    access = _access(options)
    settings, model = settings_from(options), model_file(options)
    host, port = str(options["host"]), options["port"]
    assert isinstance(port, int)
    sockets = bound_sockets(host, port)
    _check_that_strangers_need_a_key(sockets, access)
    return Service(
        load=with_prompt_cache(settings.load_request(model), settings.prompt_cache_mib),
        settings=settings,
        access=access,
        sockets=sockets,
        make_engine=_make_engine,
        any_model=bool(options.get("any_model")),
    )


def _access(options: Mapping[str, object]) -> "Access":
    """Returns who may ask; raises `UserError` where that cannot be meant."""
    import os

    from tui_llama.serve.http.access import Access
    from tui_llama.serve.http.keys import read_keys

    given_key, key_file = options.get("key_on_command_line"), options.get("api_key_file")
    if given_key:
        raise click.UsageError(f"A key is not taken from the command line, which other users can see. {_KEY_HINT}")
    assert key_file is None or isinstance(key_file, Path)
    keys = read_keys(os.environ, key_file)
    if given_key == _NO_KEY and not keys:
        raise click.UsageError(f"There is no key. {_KEY_HINT}")
    origins = [origin.rstrip("/") for origin in _texts(options, "origins")]
    for origin in origins:
        if origin != "*" and "://" not in origin:
            raise click.UsageError(f"{origin!r} is no origin; one is such as http://localhost:3000")
    if "*" in origins and not keys:
        raise click.UsageError(f"--cors '*' lets every page of a browser ask, so it needs a key. {_KEY_HINT}")
    hosts = [name.lower().strip("[]") for name in (*_texts(options, "allowed_hosts"), str(options["host"]))]
    return Access(keys=keys, hosts=frozenset(hosts), origins=frozenset(origins))


def _texts(options: Mapping[str, object], name: str) -> tuple[str, ...]:
    texts = options.get(name, ())
    assert isinstance(texts, tuple)
    return texts


def _check_that_strangers_need_a_key(sockets: "list[socket]", access: "Access") -> None:
    from tui_llama.serve.http.listening import are_on_loopback

    if not access.keys and not are_on_loopback(sockets):
        for each in sockets:
            each.close()
        raise click.UsageError(f"Programs on other machines could use this address, so it needs a key. {_KEY_HINT}")


def _tell(name: str, host: str, service: "Service", output: "Output") -> None:
    from tui_llama.serve.http.listening import url_of
    from tui_llama.text_safety import sanitize_line

    output.progress("")  # nothing is loading any more
    url = url_of(host, service.sockets[0].getsockname()[1])
    sys.stderr.write(sanitize_line(f"Serving {name} at {url}/v1 – Ctrl+C ends it.") + "\n")
    sys.stderr.flush()


def _make_engine() -> "Engine":
    from tui_llama.engine.process.worker import EngineWorker

    return EngineWorker()
