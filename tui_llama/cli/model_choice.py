"""Chooses a command's model: a path, the name of a model on this machine, the one last used, or the starter.

The path may be the address of a model of a server, for commands that do not need the file.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui_llama import paths
from tui_llama.cli.errors import say
from tui_llama.cli.servers.choice import refuse_options_of_our_engine, server_model
from tui_llama.errors import ModelFileError, UserError
from tui_llama.files.model_parts import known_by, without_part
from tui_llama.servers.address import is_server_address, remote_model

if TYPE_CHECKING:
    from tui_llama.chats.find_chat import StoredChat
    from tui_llama.models.library import FoundModel
    from tui_llama.settings import Settings

_MOST_NAMES = 5
_ENDING = ".gguf"
_HUB = "hf:"
_SEE_NAMES = "tui-llama models list shows the names."
_NAME_A_FILE = "Name a model file with -m MODEL.gguf"


def answering_model(options: Mapping[str, object], settings: "Settings") -> str:
    """Returns the model of --server, else that of the other options, else the one last used, else the starter.

    Returns:
        The path of a file, or the address of a model of a server.

    Raises:
        click.UsageError: there is none of them, or an option has no effect on a model of a server.
        UserError: nothing on this machine, or more than one thing, is called as the options say.
    """
    named = server_model(options, settings) or given_model(options)
    model = named or last_model() or starter_model()
    if model is None:
        raise _none_was_used()
    if is_server_address(model):
        refuse_options_of_our_engine(options)
        if named is None:  # nothing in the command says that anything leaves this machine
            say("note", f"the question goes to {remote_model(model).url}, the server used last", "yellow")
    return model


def model_file(options: Mapping[str, object], chat: "StoredChat | None" = None) -> str:
    """Returns the model file that the options name, else the chat's, else the one last used, else the starter.

    Where the model last used is one of a server, it is the starter.

    Raises:
        click.UsageError: there is none of them, or the options name a server.
        UserError: nothing on this machine, or more than one thing, is called as the options say, or the model is one
            of a server.
    """
    if "server" in options:
        raise click.UsageError(f"This command needs the file of a model, which a server does not give. {_NAME_A_FILE}.")
    model = given_model(options) or (chat and chat.model_path)
    if model and is_server_address(model):
        whose = "" if given_model(options) else "the chat was last held with "
        raise ModelFileError(f"{whose}{model}: this is a model of a server, and not a file", f"{_NAME_A_FILE}.")
    last = last_model()
    is_of_server = last is not None and is_server_address(last)
    model = model or (None if is_of_server else last) or starter_model()
    if model is None:
        raise _none_was_used(is_of_server=is_of_server)
    return model


def _none_was_used(*, is_of_server: bool = False) -> click.UsageError:
    what = "The model last used is one of a server, and not a file" if is_of_server else "No model was used before"
    return click.UsageError(f"{what}. Name one with -m MODEL.gguf, or fetch one with: tui-llama pull starter")


def given_model(options: Mapping[str, object]) -> str | None:
    """Returns the path of the model that the options name, None if they name none; raises as `named_model`."""
    name = options.get("model")
    return None if name is None else named_model(str(name))


def named_model(name: str) -> str:
    """Returns the path that a name means: the file of that path, else the one model on this machine with that name.

    Any part of a split model means its first. A name that is written as a path is returned as one,
    even where there is no such file. So is the address of a model of a server.

    Raises:
        UserError: it is no path, and no model is called so, or several are.
    """
    if is_server_address(name):
        return str(remote_model(name))
    file = paths.typed_file(name)
    if file is not None:
        return str(known_by(file))
    path = paths.typed_path(name)
    is_path = path is not None and (os.sep in name or path.suffix.lower() == ".gguf")
    if path is not None and is_path and not name.casefold().startswith(_HUB) and not _models_called(name):
        return str(path.absolute())
    return str(model_called(name).path)


def model_called(name: str) -> "FoundModel":
    """Returns the one model on this machine with that name: the catalogue's name, its whole name, or a part of it.

    Raises:
        UserError: no model is called so, or several are.
    """
    fitting = _models_called(name)
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise _not_here(name)
    names = ", ".join(each.name for each in fitting[:_MOST_NAMES])
    raise UserError(f"{name!r} matches several models", f"Name one of them: {names}.")


def _not_here(name: str) -> ModelFileError:
    """Says how to get a model that is not here, if its name is known."""
    if is_server_address(name):
        hint = "tui-llama servers check lists the models of a server."
        return ModelFileError(f"{name[:80]} is a model of a server, and not a file", hint)
    from tui_llama.models.catalogue import find_entry
    from tui_llama.models.downloads import size_words

    entry = find_entry(name)
    if entry is not None:
        size = size_words(entry.size_bytes)
        return ModelFileError(
            f"{entry.title} is not on this machine", f"tui-llama pull {entry.name} fetches it ({size})."
        )
    if name.casefold().startswith(_HUB):
        return ModelFileError(
            f"{name[:80]} is not a file on this machine", "tui-llama pull fetches it and prints its path."
        )
    path = paths.typed_path(name)
    if name and path is not None and path.is_dir():
        return ModelFileError(f"{name[:80]} is a folder", "Give the path of a file whose name ends in .gguf.")
    return ModelFileError(f"there is no model {name[:80]!r} on this machine", _SEE_NAMES)


def last_model() -> str | None:
    """Returns the model last used in the chat: a file that is still there, or the address of a model of a server."""
    if not paths.is_there(paths.database_file()):
        return None
    from tui_llama.chats.store import LAST_MODEL, Store

    with Store(paths.database_file()) as store:
        model = store.preference(LAST_MODEL)
    return model if model and (is_server_address(model) or paths.is_file(Path(model))) else None


def starter_model() -> str | None:
    """Returns the starter, if it is on this machine."""
    from tui_llama.models.starter.file import STARTER_FILE

    path = paths.models_folder() / STARTER_FILE
    return str(path) if paths.is_file(path) else None


def _models_called(name: str) -> "list[FoundModel]":
    from tui_llama.models.catalogue import entry_for_file, find_entry
    from tui_llama.models.library import find_models

    name = without_part(name[: -len(_ENDING)] if name.lower().endswith(_ENDING) else name)
    found, wanted, entry = find_models(), _plain(name), find_entry(name)
    exact = [model for model in found if _plain(model.name) == wanted]
    known = [model for model in found if entry is not None and entry_for_file(model.name) is entry]
    if os.sep in name:
        return exact
    return exact or known or [model for model in found if wanted and wanted in _plain(model.name)]


def _plain(name: str) -> str:
    """Returns a name by which models are compared: letters and digits alone."""
    return "".join(character for character in name.casefold() if character.isalnum())
