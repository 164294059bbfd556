"""The persona of the settings, which new chats begin with."""

from typing import TYPE_CHECKING

from tui_llama.chats.open_chat import OpenChat
from tui_llama.errors import SettingsError

if TYPE_CHECKING:
    from tui_llama.settings import Settings


def give_persona(chat: OpenChat, name: str) -> None:
    """Lets a new chat begin with a persona; where that cannot be read, `why_no_persona` says why."""
    from tui_llama.personas.folder import find_persona

    try:
        persona = find_persona(name)
    except SettingsError:
        return
    chat.set_choices(persona.choices())
    if persona.system_prompt is not None:
        chat.set_system_prompt(persona.system_prompt.strip())


def why_no_persona(chat: OpenChat, settings: "Settings") -> str:
    """Returns why a new chat has not the persona of the settings; empty where it has."""
    if not settings.persona or chat.choices.persona:
        return ""
    from tui_llama.personas.folder import find_persona

    try:
        find_persona(settings.persona)
    except SettingsError as error:
        return f"{error}. {error.hint}"
    return ""
