"""Sessions of llama.cpp as chats of ours, and the other way round: what `tui-llama state` does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui_llama import paths
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.chats.chat_prompt_cache import with_prompt_cache
from tui_llama.chats.store import Store
from tui_llama.cli.headless import opened_engine, request_behind, tell_of_template
from tui_llama.engine.llama_cpp.session_format import LLAMA_SESSION
from tui_llama.engine.requests import CompleteRequest
from tui_llama.errors import SettingsError, StateFileError
from tui_llama.files.guarded_files import opened, regular_file_bytes
from tui_llama.files.new_files import require_place
from tui_llama.output import Output

if TYPE_CHECKING:
    from tui_llama.chats.find_chat import StoredChat
    from tui_llama.engine.llama_cpp.transfer import SessionTransfer, TakenSession, WrittenSession
    from tui_llama.engine.local import LocalEngine
    from tui_llama.settings import Settings

_FLASH_VERSION: Final = 10


def import_session(model: str, settings: "Settings", file: str, title: str | None) -> None:
    """Makes a chat of a session that llama.cpp wrote, and prints its id.

    The chat has the messages of the session, where the model's chat template has written them; the next message then
    goes on from it as in any chat. Else the session's text is the answer to a message that says where it is from, and
    goes on as a text. The chat's ledger are the session's tokens, whose keys and values are stored for it alone.

    Args:
        model: Path of the model file that the session is of.
        settings: What was set and given.
        file: Path of the session.
        title: Of the chat; None: the file's name.

    Raises:
        UserError: it cannot be imported; nothing was stored.
    """
    _require_f16(settings)
    if settings.prompt_cache_mib < 0:
        raise SettingsError(
            "prompts are not stored, so a session cannot be imported", "Set prompt_cache_mib to 0 or more."
        )
    with _not_imported(file), opened(Path(file)) as descriptor:
        regular_file_bytes(descriptor)  # what is no file at all is said before a model is loaded for it
    load = with_prompt_cache(settings.load_request(model), settings.prompt_cache_mib)
    # The store first: that there is no place for a chat is said before a model is loaded for it, too.
    with Store(paths.database_file()) as store, opened_engine(load) as (engine, output):
        tell_of_template(engine, output)
        transfer = engine.session_transfer()
        with _not_imported(file):
            session = transfer.take(file)
        chat_id = _make_chat(store, transfer, session, model, title or Path(file).name, engine.info.vocabulary, file)
        output.result(f"{chat_id}\n")
        output.notice(
            f"{file} is now a chat of {len(session.token_ids)} tokens; "
            f"to continue it: tui-llama complete --continue {chat_id[:8]}"
        )


def _make_chat(
    store: Store,
    transfer: "SessionTransfer",
    session: "TakenSession",
    model: str,
    title: str,
    vocabulary: str,
    file: str,
) -> str:
    """Makes a chat with the messages of a session, stores the session's keys and values for it, and returns its id.

    Where one of both fails, there is no such chat.
    """
    messages = list(session.messages) or [
        ChatMessage(Role.USER, f"Session of llama.cpp: {Path(file).name}"),
        ChatMessage(Role.ASSISTANT, session.text),
    ]
    system_prompt = messages.pop(0).text if messages[0].role is Role.SYSTEM else ""
    chat_id = store.create_chat(title=title, model_path=model, system_prompt=system_prompt, begun_at=session.begun_at)
    try:
        _write_messages(store, chat_id, messages, session, vocabulary)
        transfer.store(bytes.fromhex(chat_id))
    except BaseException:
        store.delete_chat(chat_id)
        raise
    return chat_id


def _write_messages(
    store: Store, chat_id: str, messages: Sequence[ChatMessage], session: "TakenSession", vocabulary: str
) -> None:
    """Writes messages of the user and answers in turn; all tokens are those of the last answer."""
    for place in range(0, len(messages), 2):
        question, answer = messages[place : place + 2]
        is_last = answer is messages[-1]
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, question.text))
        if is_last:
            store.set_answer_prompt(answer_id, 0, (), vocabulary)
        store.append_to_answer(answer_id, answer.text, session.token_ids if is_last else ())
        has_ended = session.has_ended or not is_last
        store.finish_answer(answer_id, StopReason.END_OF_GENERATION if has_ended else StopReason.STOPPED, None)


def export_session(
    model: str,
    settings: "Settings",
    file: str,
    source: "StoredChat | str",
    *,
    version: int,
    flash_attention: bool | None,
    may_replace: bool = False,
) -> None:
    """Writes a session that llama.cpp continues to a new file, and prints a line that says what was written.

    Args:
        model: Path of the model file.
        settings: What was set and given.
        file: Path of the session.
        source: A chat, or a text.
        version: Of the session, 9 or 10.
        flash_attention: Whether llama.cpp will use it; None: as it does by default in that version.
        may_replace: Whether the file may take the place of another session.

    Raises:
        UserError: it cannot be exported.
    """
    _require_f16(settings)
    require_place(Path(file), LLAMA_SESSION, may_replace=may_replace, inputs=(Path(model),))
    flash_attention = version == _FLASH_VERSION if flash_attention is None else flash_attention
    with opened_engine(with_prompt_cache(settings.load_request(model), settings.prompt_cache_mib)) as (engine, output):
        transfer = engine.session_transfer()
        written = transfer.write(
            file,
            _tokens_of(source, transfer, engine, output),
            owner=None if isinstance(source, str) else bytes.fromhex(source.chat_id),
            version=version,
            flash_attention=flash_attention,
            on_progress=lambda done, total: output.progress(f"reading: {done} of {total} tokens"),
            may_replace=may_replace,
            inputs=(Path(model),),
        )
        _tell_of_written(file, written, version, flash_attention, output)


def _tokens_of(
    source: "StoredChat | str", transfer: "SessionTransfer", engine: "LocalEngine", output: Output
) -> tuple[int, ...]:
    if isinstance(source, str):
        return transfer.tokens_of(source)
    return transfer.tokens_of_chat(request_behind(source, CompleteRequest(0, ""), engine, output))


def _tell_of_written(file: str, written: "WrittenSession", version: int, flash_attention: bool, output: Output) -> None:
    for problem in written.problems:
        output.notice(f"A stored prompt was not used ({problem}); its tokens are read again.")
    output.result(
        f"{file}: session of version {version}, {'with' if flash_attention else 'without'} flash attention, "
        f"{written.tokens} tokens, keys and values of {written.cells} ({written.reused_tokens} were stored)\n"
    )


@contextmanager
def _not_imported(file: str) -> Iterator[None]:
    try:
        yield
    except StateFileError as error:
        raise StateFileError(
            f"{file} cannot be imported: {error}",
            "The file must be a session that llama.cpp wrote with this model and with f16 keys and values.",
        ) from error


def _require_f16(settings: "Settings") -> None:
    if settings.cache_type != "f16":
        raise SettingsError(
            f"sessions of llama.cpp are read and written as f16, not {settings.cache_type}", "Use --cache-type f16."
        )
