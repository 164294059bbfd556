"""The persona of a command: what it chooses, below what was written on the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tui_llama import paths
from tui_llama.errors import UserError
from tui_llama.servers.address import is_server_address
from tui_llama.settings import SAMPLING

if TYPE_CHECKING:
    from tui_llama.personas.persona import Persona
    from tui_llama.settings import Settings


def chosen_persona(settings: "Settings") -> "Persona | None":
    """Returns the persona of the settings; None for none.

    Raises:
        SettingsError: there is none of that name, or its file is broken.
    """
    if not settings.persona:
        return None
    from tui_llama.personas.folder import find_persona

    return find_persona(settings.persona)


def settings_with(persona: "Persona", settings: "Settings", options: Mapping[str, object]) -> "Settings":
    """Returns the settings with what a persona chooses, except where the command line says otherwise."""
    sampling = {name: value for name, value in persona.sampling.items() if name not in options}
    prompt = persona.system_prompt
    keeps_prompt = prompt is None or "system_prompt" in options
    return msgspec.structs.replace(
        settings,
        system_prompt=settings.system_prompt if keeps_prompt else prompt,
        sampling=msgspec.structs.replace(settings.sampling, **sampling),
        given=settings.given | {f"{SAMPLING}.{name}" for name in sampling},
    )


def options_with(persona: "Persona", options: Mapping[str, object]) -> dict[str, object]:
    """Returns the options with the model of a persona, unless the command line names one."""
    names_model = not persona.model or "model" in options or "server" in options
    return {**options} if names_model else {**options, "model": persona.model}


def options_with_default(persona: "Persona", options: Mapping[str, object]) -> tuple[dict[str, object], str]:
    """Returns the same for the persona that all new chats have: where its model is not there, a line that says so.

    Nobody has asked for that model just now. So the program begins with the one used last then.
    """
    from tui_llama.cli.model_choice import given_model

    chosen = options_with(persona, options)
    if chosen == options:
        return chosen, ""
    try:
        path = given_model(chosen)
    except UserError:
        path = None
    if path is not None and (is_server_address(path) or paths.is_file(Path(path))):
        return {**options, "model": path}, ""
    return {**options}, f"The model of {persona.name} is not on this machine: {persona.model}."
