"""What the screens are given, made from what the app has."""

import tomllib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.theme import Theme

from tui_llama import paths
from tui_llama.chat import Role, StopReason
from tui_llama.commands import COMMANDS
from tui_llama.conversation import MODEL_IS_LOADING, State
from tui_llama.engine.protocol import LoadStage, ModelInfo
from tui_llama.open_chat import Entry, OpenChat
from tui_llama.store import ChatSummary, StoredBranch
from tui_llama.turn_meter import TurnMeter
from tui_llama.widgets.empty_state import Stage
from tui_llama.widgets.message_view import ShownMessage

if TYPE_CHECKING:
    from tui_llama.models.library import FoundModel
    from tui_llama.screens.branch_list import ListedBranch
    from tui_llama.screens.chat_list import ListedChat
    from tui_llama.screens.model_picker import ListedModel

_ENDINGS = {
    StopReason.LENGTH: "ended at the limit of tokens",
    StopReason.CONTEXT_FULL: "ended because the context is full",
    StopReason.STOPPED: "stopped",
    StopReason.FAILED: "failed",
    StopReason.LOOP: "ended: it repeats itself",
}
_GO_ON = next(f"{command.shown_keys} goes on" for command in COMMANDS if command.name == "continue_answer")
_ENDED_BY_ITSELF = (StopReason.END_OF_GENERATION, StopReason.STOP_TEXT)
_READY_ADVICE = ("Write a message and press Enter.", "Ctrl+S chats · Ctrl+L model · F1 help")
_LOADING_ADVICE = ("You can write meanwhile: your message waits for the model.",)
_NO_MODEL_ADVICE = ("Press Ctrl+L to choose a model file.",)
_LOST_ADVICE = ("Your next message starts the engine again.",)


def themes() -> list[Theme]:
    """The program's own themes, from the style sheets' folder."""
    with (paths.style_folder() / "themes.toml").open("rb") as file:
        return [Theme(name=name, **colours) for name, colours in tomllib.load(file).items()]


def note_of(entry: Entry, *, is_last: bool = False) -> str:
    """What stands below a message: how it ended, which key goes on with the last one, and which version it is."""
    ending = "interrupted" if entry.is_interrupted else ""
    if entry.stop_reason is not None:
        ending = _ENDINGS.get(entry.stop_reason, "")
    version = f"version {entry.version} of {entry.version_count}" if entry.version_count > 1 else ""
    key = _GO_ON if is_last and entry.stop_reason is StopReason.LOOP else ""
    return " · ".join(part for part in (ending, key, version) if part)


def why_not_continued(chat: OpenChat) -> str:
    """Why the last answer cannot go on; empty if it can."""
    if not chat.ends_in_answer:
        return "There is no answer to go on with." if chat.is_empty else "There is no answer yet; Ctrl+R asks for one."
    reason = chat.entries[-1].stop_reason
    if reason in _ENDED_BY_ITSELF:
        return "This answer ended by itself; there is nothing to go on with."
    if reason is StopReason.CONTEXT_FULL:
        return "The context is full; this answer cannot go on."
    if chat.entries[-1].is_replied_to:
        return "Something was said after this answer in another branch; it stays as it is."
    if not chat.has_prompt:
        return "The tokens of this answer are not known; Ctrl+R answers again."
    return ""


def shown_messages(entries: Iterable[Entry]) -> list[ShownMessage]:
    """The messages as the transcript takes them."""
    shown = [entry for entry in entries if entry.role is not Role.SYSTEM]
    return [
        ShownMessage(entry.role is Role.ASSISTANT, entry.text, note_of(entry, is_last=entry is shown[-1]))
        for entry in shown
    ]


def model_line(model: ModelInfo | None) -> str:
    """A model in a few words; not safe to print."""
    if model is None:
        return ""
    is_told = model.quantization.casefold() in model.name.casefold()
    return model.name if is_told else f"{model.name} · {model.quantization}"


def stages(state: State, meter: TurnMeter) -> list[Stage]:
    """How far each stage of loading has come; nothing when nothing loads."""
    if state not in MODEL_IS_LOADING:
        return []
    names = [stage.value for stage in LoadStage]
    current = next((index for index, name in enumerate(names) if meter.load_fraction(name) is not None), -1)
    return [
        Stage(name, meter.load_fraction(name) or 0.0 if index >= current else 1.0) for index, name in enumerate(names)
    ]


def chat_title(chat: OpenChat) -> str:
    """What the chat is called on the screen; empty for a new one, and not safe to print."""
    if not chat.is_incognito:
        return chat.title
    return f"Incognito: {chat.title}" if chat.title else "Incognito chat"


def advice(state: State, chat: OpenChat) -> tuple[str, ...]:
    """What to do next in an empty chat."""
    promise = ("Nothing of this chat is kept.",) if chat.is_incognito else ()
    if state in MODEL_IS_LOADING:
        return (*promise, *_LOADING_ADVICE)
    return promise + {State.NO_MODEL: _NO_MODEL_ADVICE, State.LOST: _LOST_ADVICE}.get(state, _READY_ADVICE)


def listed_chat(summary: ChatSummary, open_chat_id: str | None) -> "ListedChat":
    """A chat as the list takes it."""
    from tui_llama.screens.chat_list import ListedChat

    return ListedChat(
        chat_id=summary.chat_id,
        title=summary.title,
        model_name=summary.model_name,
        message_count=summary.message_count,
        updated_at=summary.updated_at,
        is_open=summary.chat_id == open_chat_id,
    )


def listed_branch(branch: StoredBranch, tip_message_id: int | None) -> "ListedBranch":
    """A way that the chat went as the list takes it."""
    from tui_llama.screens.branch_list import ListedBranch

    return ListedBranch(
        tip_message_id=branch.tip_message_id,
        question=branch.question,
        answer=branch.answer,
        message_count=branch.message_count,
        created_at=branch.created_at,
        is_open=branch.tip_message_id == tip_message_id,
    )


def listed_model(model: "FoundModel") -> "ListedModel":
    """A model as the picker takes it."""
    from tui_llama.screens.model_picker import ListedModel

    return ListedModel(model.path, model.name, model.size_bytes, model.origin)
