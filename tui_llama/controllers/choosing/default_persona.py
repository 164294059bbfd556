"""The persona of the settings, which new chats begin with."""

from pathlib import Path
from typing import TYPE_CHECKING

from tui_llama.chats.open_chat import OpenChat
from tui_llama.errors import SettingsError
from tui_llama.files.model_parts import without_part

if TYPE_CHECKING:
    from tui_llama.settings import Settings


def give_persona(chat: OpenChat, name: str) -> None:
    """Lets a new chat begin with a persona; where that cannot be read, `hint_of_persona` says why."""
    from tui_llama.personas.folder import find_persona

    try:
        persona = find_persona(name)
    except SettingsError:
        return
    chat.set_choices(persona.choices())
    if persona.system_prompt is not None:
        chat.set_system_prompt(persona.system_prompt.strip())


def hint_of_persona(chat: OpenChat, settings: "Settings", model_path: str) -> str:
    """Returns why a new chat has not the persona of the settings, or how to get the model of it; empty if it has both.

    Args:
        chat: The new chat.
        settings: They name the persona.
        model_path: The model that is loaded, or loading.
    """
    if not settings.persona:
        return ""
    from tui_llama.personas.folder import find_persona

    try:
        persona = find_persona(settings.persona)
    except SettingsError as error:
        return "" if chat.choices.persona else f"{error}. {error.hint}"
    has_model = not persona.model or persona.model == model_path
    if has_model or plain_name(Path(persona.model).name) == plain_name(Path(model_path).name):
        return ""
    return f"{persona.name} wants the model {Path(persona.model).name}: /persona {persona.name} loads it."


def plain_name(name: str) -> str:
    """Returns a model's name as names are compared: letters and digits alone, without what only files have."""
    name = without_part(name).casefold().removesuffix(".gguf")
    return "".join(character for character in name if character.isalnum())
