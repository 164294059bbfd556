"""The lines of the settings screen that are about the open chat, and what a change of one does to the chat."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import msgspec

from tui_llama.chat import Thinking
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chosen_sampling import choose_sampling
from tui_llama.declarations import Applies, Setting, Value
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.screens.settings.rows import SettingRow
from tui_llama.settings import SAMPLING, SETTINGS, Settings

_OF_CHAT: Final = "this chat"


def _for_chat(name: str, explanation: str = "") -> Setting:
    """Returns the declaration of a setting as it counts for one chat, which no file, variable or option sets."""
    declared = SETTINGS[name]
    explanation = explanation or declared.explanation
    return replace(declared, explanation=explanation, applies=Applies.NEXT_ANSWER, flags=(), switches=())


_THINKING: Final = _for_chat("thinking")
_THINKING_TOKENS: Final = _for_chat("thinking_tokens")
_SYSTEM_PROMPT: Final = _for_chat("system_prompt", "What the model is told before all messages of this chat.")
_PERSONA: Final = _for_chat("persona", "Name of the persona that this chat has taken; /persona takes another one.")
_REPLY_START: Final = replace(
    _SYSTEM_PROMPT, name="reply_start", default="", explanation="How every answer of this chat begins."
)
_KNOWN: Final = frozenset(each.name for each in (_THINKING, _THINKING_TOKENS, _SYSTEM_PROMPT, _PERSONA, _REPLY_START))


def rows_of_chat(settings: Settings, model: ModelInfo | None, chat: OpenChat) -> Iterator[SettingRow]:
    """Yields the lines; what was chosen for the chat is marked, and differs from what it would have without.

    Args:
        settings: As the user set them.
        model: The loaded model, which may have settings of its own.
        chat: The chat.
    """
    choices = chat.choices
    of_model = settings if model is None else settings.for_model(model.path)
    thinking, most_tokens = choices.thinking, choices.thinking_tokens
    yield _row(_THINKING, of_model.thinking if thinking is None else thinking.value, thinking is not None)
    yield _row(
        _THINKING_TOKENS, of_model.thinking_tokens if most_tokens is None else most_tokens, most_tokens is not None
    )
    yield _row(_SYSTEM_PROMPT, chat.system_prompt, chat.system_prompt.strip() != settings.system_prompt.strip())
    yield _row(_REPLY_START, choices.reply_start, bool(choices.reply_start))
    if choices.persona:
        yield _row(_PERSONA, choices.persona, True)
    usual = choose_sampling(settings, model).sampling
    for setting in (each for each in SETTINGS.values() if each.name.startswith(f"{SAMPLING}.")):
        is_set = setting.key in choices.sampling
        yield _row(setting, choices.sampling[setting.key] if is_set else getattr(usual, setting.key), is_set)


def choose_for_chat(chat: OpenChat, settings: Settings, setting: Setting, value: Value, *, is_reset: bool) -> None:
    """Lets a chat have another value of a setting, or the usual one again.

    Args:
        chat: The chat.
        settings: As the user set them.
        setting: The setting, of `rows_of_chat`.
        value: The value.
        is_reset: Whether the chat goes back to what it would have without a choice.
    """
    choices, change = chat.choices, msgspec.structs.replace
    if setting.name == _SYSTEM_PROMPT.name:
        chat.set_system_prompt(settings.system_prompt if is_reset else str(value or "").strip())
    elif setting.name == _REPLY_START.name:
        chat.set_choices(change(choices, reply_start="" if is_reset else str(value or "")))
    elif setting.name == _THINKING.name:
        chat.set_choices(change(choices, thinking=None if is_reset else Thinking(str(value))))
    elif setting.name == _THINKING_TOKENS.name:
        limit = None if is_reset or not isinstance(value, int) else value
        chat.set_choices(change(choices, thinking_tokens=limit))
    elif setting.name == _PERSONA.name:
        chat.set_choices(change(choices, persona="" if is_reset else str(value or "")))
    else:
        others = {name: each for name, each in choices.sampling.items() if name != setting.key}
        chat.set_choices(change(choices, sampling=others if is_reset else {**others, setting.key: value}))


def _row(setting: Setting, value: Value, is_set: bool) -> SettingRow:
    # A name without a note would be shown with the variable that sets it everywhere.
    note = "Set for this chat only." if is_set and setting.name in _KNOWN else ""
    return SettingRow(setting, value, is_set, _OF_CHAT if is_set else "", note)
