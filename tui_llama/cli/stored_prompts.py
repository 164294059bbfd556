"""Shows and removes stored keys and values, for `tui-llama cache`; never touches the chats' texts."""

from collections.abc import Sequence
from datetime import datetime

from tui_llama import graphemes, paths
from tui_llama.chats.chat_prompt_cache import explained
from tui_llama.chats.store import ALL_CHATS, Store
from tui_llama.engine.prompt_cache.eviction import (
    NOBODY,
    CacheUse,
    cache_uses,
    clear,
    default_budget_bytes,
    folder_bytes,
    remove_owner,
)
from tui_llama.engine.prompt_cache.owner import is_served_owner
from tui_llama.errors import UserError
from tui_llama.files.storage import DiskStorage
from tui_llama.output import Output
from tui_llama.text_safety import sanitize_line

_MOST_TITLE = 60
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show(output: Output, prompt_cache_mib: int) -> None:
    """Prints what is stored of each chat and of each model, and how much may be.

    Args:
        output: Where to.
        prompt_cache_mib: The setting.

    Raises:
        UserError: it cannot be read.
    """
    storage = DiskStorage(paths.prompt_cache_folder())
    with explained("The stored prompts cannot be read"):
        uses, folders = cache_uses(storage), folder_bytes(storage)
        free, _ = storage.free_bytes()
        budget = prompt_cache_mib << 20 if prompt_cache_mib > 0 else default_budget_bytes(storage)
    titles = _titles() if uses else {}
    for use in uses:
        if use.owner != NOBODY:
            output.result(_line(use, titles.get(use.owner.hex(), _untitled(use.owner.hex()))))
    for use in uses:
        if use.owner == NOBODY:
            output.result(f"{_size(use.bytes):>10}  that no chat can use any more\n")
    for folder, size in sorted(folders.items(), key=lambda item: -item[1]):
        output.result(f"{_size(size):>10}  of model {sanitize_line(folder)}\n")
    most = "of none: nothing more is stored" if prompt_cache_mib < 0 else f"of {_size(budget)}"
    output.result(f"{_size(sum(folders.values())):>10}  {most}; {_size(free)} of the disk are free\n")


def strip(chat_ids: Sequence[str]) -> list[CacheUse]:
    """Removes what is stored of chats, except what other chats go on from; keeps the chats.

    Args:
        chat_ids: Their ids, or how these begin.

    Returns:
        What was stored of each.

    Raises:
        UserError: nothing is stored of one of them, then nothing is removed; or something cannot be.
    """
    storage = DiskStorage(paths.prompt_cache_folder())
    with explained("The stored prompts cannot be read"):
        uses = [use for use in cache_uses(storage) if use.owner != NOBODY]
    named = [_named(chat_id, uses) for chat_id in chat_ids]
    with explained("The stored prompts could not be removed"):
        for use in named:
            remove_owner(storage, use.owner)
    return named


def strip_all() -> None:
    """Removes everything that is stored; the chats are kept.

    Raises:
        UserError: something cannot be removed.
    """
    with explained("The stored prompts could not be removed"):
        clear(DiskStorage(paths.prompt_cache_folder()))


def summary(uses: Sequence[CacheUse]) -> str:
    """Returns in words what was removed."""
    served = sum(is_served_owner(use.owner.hex()) for use in uses)
    counts = ((len(uses) - served, "chat"), (served, "served program"))
    owners = " and ".join(f"{count} {noun}{'s' * (count != 1)}" for count, noun in counts if count)
    return f"{owners}: {sum(use.tokens for use in uses):,} tokens, {_size(sum(use.bytes for use in uses))}"


def _named(chat_id: str, uses: Sequence[CacheUse]) -> CacheUse:
    found = [use for use in uses if chat_id and use.owner.hex().startswith(chat_id.lower())]
    if not found:
        raise UserError(
            f"there is no stored prompt of a chat {chat_id!r}", "tui-llama cache show lists all stored prompts."
        )
    if len(found) > 1:
        raise UserError(f"{len(found)} chats' ids begin with {chat_id!r}", "Give more characters of the id.")
    return found[0]


def _titles() -> dict[str, str]:
    if not paths.is_there(paths.database_file()):
        return {}
    with Store(paths.database_file()) as store:
        return {chat.chat_id: chat.title for chat in store.list_chats(ALL_CHATS)}


def _untitled(owner: str) -> str:
    """Returns in words whose the prompts are that belong to no chat."""
    return "(a program that tui-llama serve answered)" if is_served_owner(owner) else "(deleted chat)"


def _line(use: CacheUse, title: str) -> str:
    used_at = datetime.fromtimestamp(use.used_at).astimezone().strftime("%Y-%m-%d %H:%M")
    title = graphemes.beginning(sanitize_line(title), _MOST_TITLE)
    return f"{_size(use.bytes):>10}  {use.tokens:>9,} tokens  {used_at}  {use.owner.hex()}  {title}\n"


def _size(count: float) -> str:
    """Returns bytes in the unit in which they are easiest to read."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"
