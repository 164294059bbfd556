"""Turns the app's data into the data and texts that the screens take."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from tui_llama import conversation, paths
from tui_llama.chat import ENDED_BY_ITSELF, AnswerBounds, Role, StopReason, Usage
from tui_llama.chats.open_chat import Entry, OpenChat
from tui_llama.conversation import MODEL_IS_LOADING, State
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import LoadStage
from tui_llama.models.downloads import FIRST_STEP, DownloadMeter, size_words
from tui_llama.models.names import short_name
from tui_llama.models.starter.file import STARTER_BYTES, STARTER_FILE
from tui_llama.screens.commands import COMMANDS
from tui_llama.servers.address import RemoteModel
from tui_llama.turn.meter import TurnMeter
from tui_llama.turn.notices import LOAD_AGAIN
from tui_llama.widgets.empty_state import Stage
from tui_llama.widgets.message_view import ShownMessage
from tui_llama.widgets.status_line import FIGURE_GAP

if TYPE_CHECKING:
    from tui_llama.engine.remote.models import ServerModel
    from tui_llama.models.described import DescribedModel, OfferedModel
    from tui_llama.screens.dialogs.model_picker import ListedModel
    from tui_llama.servers.address import Server

_ENDINGS = {
    StopReason.LENGTH: "ended at the token limit",
    StopReason.CONTEXT_FULL: "ended because the context is full",
    StopReason.STOPPED: "stopped",
    StopReason.FAILED: "failed",
    StopReason.LOOP: "ended: it repeats itself",
    StopReason.EDITED: "edited",
}
_NO_MODEL_HINT: Final = "There is no model yet. Ctrl+L shows which you can get."
_NOT_NOW: Final = {
    conversation.SendMessage: "Wait for the answer; your text stays here.",
    conversation.EditMessage: "Wait for the answer; your text stays here.",
    conversation.Regenerate: "Wait for this answer, or stop it with Esc; then Ctrl+R answers again.",
    conversation.Continue: "The engine is busy. Esc stops it.",
    conversation.LoadModel: "The engine is busy. Esc stops it.",
    conversation.Stop: "There is nothing to stop.",
}
_JSON_BEGINS: Final = ("", "{", "[", '"')
_GO_ON = next(f"{command.shown_keys} goes on" for command in COMMANDS if command.name == "continue_answer")
_AGAIN = next(f"{command.shown_keys} answers again" for command in COMMANDS if command.name == "regenerate")
_READY_ADVICE = ("Write a message and press Enter.", "Ctrl+S chats · Ctrl+L model · F1 help")
_LOADING_ADVICE = ("Write meanwhile: your message waits for the model.",)
_COMING_ADVICE = ("Write meanwhile, and send it when the model is here.",)
_STARTER_ADVICE = ("A very small model to try this with · Ctrl+L: better ones",)
_LOST_ADVICE = ("Your next message starts the engine again.",)


def note_of(entry: Entry, *, is_last: bool = False, model: ModelInfo | None = None) -> str:
    """Returns the note below a message: how it ended, which key continues the last one, and which version it is.

    Below a message of the user it says what binds its answers, where that was chosen for this one alone.

    Args:
        entry: The message.
        is_last: Whether nothing follows it.
        model: The loaded model, which may not be able to continue it; None: as far as is known, it is.
    """
    ending = "interrupted" if entry.is_interrupted else ""
    if entry.stop_reason is not None:
        ending = _ENDINGS.get(entry.stop_reason, "")
    if _has_ended_without_text(entry):
        ending = "ended without an answer"
    if ending and entry.usage is not None and entry.usage.is_incomplete:
        ending = f"{ending} · {_incomplete_words(entry.text)}"
    bound = _bound_words(entry.bounds) if entry.role is Role.USER and entry.bounds else ""
    version = f"version {entry.version} of {entry.version_count}" if entry.version_count > 1 else ""
    key = _next_key(entry, model) if ending and is_last else ""
    return " · ".join(part for part in (ending, key, bound, version) if part)


def _bound_words(bounds: AnswerBounds) -> str:
    return "its answer fits a grammar" if bounds.grammar else "its answer is JSON"


def _incomplete_words(text: str) -> str:
    """Returns what is said of a bound answer that ended too soon: what it was to be shows in how it begins."""
    return "the JSON is not complete" if text.lstrip()[:1] in _JSON_BEGINS else "it does not fit its grammar yet"


def _next_key(entry: Entry, model: ModelInfo | None) -> str:
    """Says which key is useful behind an answer that has not ended by itself; empty if none is."""
    if not _why_not_gone_on(entry, model):
        return _GO_ON
    return _AGAIN if _has_ended_without_text(entry) or not (entry.text or entry.thought) else ""


def _has_ended_without_text(entry: Entry) -> bool:
    """Returns whether the model ended an answer by itself before its first word, perhaps within its thought."""
    return entry.role is Role.ASSISTANT and entry.stop_reason in ENDED_BY_ITSELF and not entry.text.strip()


def why_not_now(event: conversation.Event) -> str:
    """Says that what the user wants cannot be done now."""
    if isinstance(event, conversation.ChangePath):
        return "Wait for the answer, or stop it with Esc."
    return _NOT_NOW.get(type(event), "This is not possible now.")


def no_model_hint(model_path: str) -> str:
    """Says what to do while no model is loaded; `model_path` is the one whose load failed, empty if none did."""
    return f"The model is not loaded. {LOAD_AGAIN}; Ctrl+L shows others." if model_path else _NO_MODEL_HINT


def why_not_continued(chat: OpenChat, model: ModelInfo | None, position: int | None = None) -> str:
    """Says why this model cannot continue an answer, by default the last; empty if it can, as far as is known."""
    if position is None and not chat.ends_in_answer:
        return "There is no answer to continue." if chat.is_empty else "There is no answer yet; Ctrl+R asks for one."
    return _why_not_gone_on(chat.entries[-1 if position is None else position], model)


def _why_not_gone_on(answer: Entry, model: ModelInfo | None) -> str:
    """Says why this model cannot go on with a message; empty if it can, as far as is known."""
    if answer.role is not Role.ASSISTANT:
        return "Only an answer can be continued; r asks for one."
    if answer.stop_reason in ENDED_BY_ITSELF:
        return "This answer is complete; there is nothing to continue."
    has_begun = answer.prompt_is_known if _has_exact_tokens(model) else bool(answer.thought)
    if not answer.text and not has_begun:
        return "There is nothing of this answer yet; Ctrl+R answers again."
    if model is not None and not model.capabilities.can_continue:
        return model.capabilities.why_not_continue or f"{model.server or 'The engine'} cannot continue an answer."
    return _why_there_is_no_room(answer, model)


def _has_exact_tokens(model: ModelInfo | None) -> bool:
    return model is None or model.capabilities.has_exact_tokens


def why_no_prompt(model: ModelInfo | None) -> str:
    """Says why the prompt of a model cannot be shown; not sanitized."""
    server = model.server if model is not None and model.server else "The engine"
    return f"{server} makes the prompt of the messages itself and does not show it."


def _why_there_is_no_room(answer: Entry, model: ModelInfo | None) -> str:
    """Says why the context has no room for more of an answer; empty if it has room.

    An answer during which the context was shifted may be longer than the context.
    """
    context_size = 0 if model is None else model.context_size
    if not context_size or answer.usage is None:
        return ""
    if answer.stop_reason is StopReason.CONTEXT_FULL and answer.usage.context_size >= context_size:
        return "The context is full; this answer cannot be continued."
    if _ledger_tokens(answer.usage) < context_size:
        return ""
    return f"This answer is longer than the context of {context_size:,} tokens; it cannot be continued."


def _ledger_tokens(usage: Usage) -> int:
    """Returns the number of tokens up to the end of an answer. Continuing the answer reads all of them."""
    return usage.reused_tokens + usage.read_tokens + usage.generated_tokens


def shown_messages(entries: Iterable[Entry], model: ModelInfo | None = None) -> list[ShownMessage]:
    """Returns the messages as the transcript takes them, without system messages."""
    shown = [entry for entry in entries if entry.role is not Role.SYSTEM]
    return [shown_message(entry, is_last=entry is shown[-1], model=model) for entry in shown]


def shown_message(entry: Entry, *, is_last: bool = False, model: ModelInfo | None = None) -> ShownMessage:
    """Returns a message as the transcript takes it; the rest as for `note_of`."""
    return ShownMessage(
        entry.role is Role.ASSISTANT,
        entry.text,
        note_of(entry, is_last=is_last, model=model),
        entry.attachments,
        entry.thought,
        thought_words(entry),
    )


def thought_words(entry: Entry) -> str:
    """Returns what is known of the cost of an answer's thought, such as "12 s · 340 tokens"; empty if nothing is."""
    usage = entry.usage
    if not entry.thought or usage is None or not (usage.thought_tokens or usage.thought_seconds):
        return ""
    seconds = f"{usage.thought_seconds:.0f} s"
    return f"{seconds} · {usage.thought_tokens} tokens" if usage.thought_tokens else seconds


def model_line(model: ModelInfo | None) -> str:
    """Returns the model's name and its weight type, or its server; not sanitized."""
    if model is None:
        return ""
    if model.server:
        return f"{served_name(model.name)} · {model.server}"
    name = short_name(PurePath(model.path), model.name)
    is_told = model.quantization.casefold() in name.casefold()
    return name if is_told else f"{name} · {model.quantization}"


def stages(state: State, meter: TurnMeter, download: DownloadMeter | None = None) -> list[Stage]:
    """Returns the stages of loading, or the progress of a download while there is no model.

    The list is empty if nothing is loading, or a server's model is: it tells of no stages.
    """
    if state is State.NO_MODEL and download is not None:
        return [Stage(download.step, download.fraction)]
    if state not in MODEL_IS_LOADING or meter.server:
        return []
    names = [stage.value for stage in LoadStage]
    current = next((index for index, name in enumerate(names) if meter.load_fraction(name) is not None), -1)
    return [
        Stage(name, meter.load_fraction(name) or 0.0 if index >= current else 1.0) for index, name in enumerate(names)
    ]


def download_words(title: str, meter: DownloadMeter) -> tuple[str, str]:
    """Returns the progress of a download in two forms: for the status line, and as short as possible; not sanitized."""
    # Each step begins at 0 again; only the first takes long enough for a figure.
    short = f"↓ {meter.fraction:.0%}".replace("%", " %") if meter.step in ("", FIRST_STEP) else f"↓ {meter.step}"
    return f"↓ {title}: {meter.words()}", short


def chat_title(chat: OpenChat) -> str:
    """Returns the chat's title for the screen; empty for a new chat. Not sanitized."""
    if not chat.is_incognito:
        return chat.title
    return f"Incognito: {chat.title}" if chat.title else "Incognito chat"


def advice(
    state: State, chat: OpenChat, model: ModelInfo | None, *, is_coming: bool, failed_path: str = ""
) -> tuple[str, ...]:
    """Says what to do next in an empty chat.

    Args:
        state: The state of the turn.
        chat: The open chat.
        model: The loaded model, or None.
        is_coming: Whether the program is looking for a first model or fetching it.
        failed_path: The model whose load failed while there is none; empty if none did.
    """
    promise = ("Nothing of this chat is saved.",) if chat.is_incognito else ()
    if state in MODEL_IS_LOADING:
        return (*promise, *_LOADING_ADVICE)
    if state is State.NO_MODEL:
        return (*promise, *(_COMING_ADVICE if is_coming else _no_model_advice(failed_path)))
    if state is State.LOST:
        return (*promise, *_LOST_ADVICE)
    return (*promise, *(_STARTER_ADVICE if is_starter(model) else ()), *_READY_ADVICE)


def is_starter(model: ModelInfo | None) -> bool:
    """Tells whether this is the starter, the very small model for trying the program."""
    return model is not None and not model.server and PurePath(model.path).name == STARTER_FILE


def _no_model_advice(failed_path: str) -> tuple[str, ...]:
    if failed_path:
        return (f"{LOAD_AGAIN} · Ctrl+L shows other models",)
    return (
        f"F3 fetches a very small model ({size_words(STARTER_BYTES)}) · Ctrl+L shows more",
        f"or put a GGUF file into {_short_path(paths.models_folder())}",
    )


def _short_path(path: Path) -> str:
    """Returns a path with `~` for the home folder."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - never raises
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def listed_found(model: "DescribedModel", *, can_be_removed: bool) -> "ListedModel":
    """Returns a model file on this machine as the model picker takes it."""
    from tui_llama.models.catalogue import entry_for_file
    from tui_llama.models.described import context_words, size_and_type
    from tui_llama.screens.dialogs.model_picker import ListedModel

    found, facts = model.found, model.facts
    context = f"context {context_words(facts.trained_context_size)}" if facts and facts.trained_context_size else ""
    architecture, licence = (facts.architecture, facts.licence) if facts else ("", "")
    size = size_and_type(found.size_bytes, facts.quantization if facts else "")
    parts = (size, found.origin, architecture, context, licence, str(found.path))
    entry = entry_for_file(found.name, facts.name if facts else "")
    return ListedModel(
        key=str(found.path),
        title=model.title,
        size=size,
        note=model.refusal or (model.fit.speed_words if model.fit else ""),
        details=FIGURE_GAP.join(part for part in parts if part),
        also_called=" ".join((entry.name, *entry.aliases)) if entry is not None else "",
        is_dimmed=bool(model.refusal),
        refusal="" if model.can_run else model.refusal,
        warning=model.refusal,
        can_be_removed=can_be_removed,
    )


def listed_served(server: "Server", model: "ServerModel") -> "ListedModel":
    """Returns a model of a server as the model picker takes it."""
    from tui_llama.models.described import context_words
    from tui_llama.screens.dialogs.model_picker import ListedModel

    context = f"context {context_words(model.context_size)}" if model.context_size else ""
    parts = (model.name, context, "sees images" if model.sees_images else "", server.url)
    return ListedModel(
        key=str(RemoteModel(server.url, model.name)),
        title=served_name(model.name),
        size=context,
        note="not in memory" if model.is_loaded is False else "",
        details=FIGURE_GAP.join(part for part in parts if part),
        server=server.name,
    )


def listed_server(server: "Server", words: str, advice: str) -> "ListedModel":
    """Returns a line in the place of a server's models: why there are none, and what to do about it."""
    from tui_llama.screens.dialogs.model_picker import ListedModel

    # Without the URL, so that whoever types it does not choose this line.
    return ListedModel(
        key=f"server {server.name}", title=words, details=advice, is_dimmed=True, refusal=advice, server=server.name
    )


def served_name(name: str) -> str:
    """Returns what to call a server's model: the file's name without its suffix where it is a file; not sanitized."""
    return PurePath(name.replace("\\", "/")).stem if name.casefold().endswith(".gguf") else name


def listed_offer(offer: "OfferedModel") -> "ListedModel":
    """Returns a model of the catalogue as the model picker takes it."""
    from tui_llama.models.described import context_words, size_and_type
    from tui_llama.screens.dialogs.model_picker import ListedModel

    entry, fit = offer.entry, offer.fit
    size = size_and_type(entry.size_bytes, entry.quantization)
    parts = (size, entry.good_for, f"context {context_words(entry.context_size)}", entry.licence, entry.name)
    return ListedModel(
        key=entry.name,
        title=entry.title,
        is_here=False,
        size=size,
        note=fit.refusal or fit.speed_words,
        details=FIGURE_GAP.join(parts),
        also_called=" ".join((*entry.aliases, entry.file)),
        is_dimmed=not fit.fits,
        warning=fit.refusal,
    )
