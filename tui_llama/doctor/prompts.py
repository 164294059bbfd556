"""Examines the stored prompts: the room that they take, and the room that they may take."""

from typing import Final

from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.engine.prompt_cache.eviction import default_budget_bytes, used_bytes
from tui_llama.files.storage import Storage
from tui_llama.models.downloads import size_words

TITLE: Final = "Stored prompts"


def look_at_prompts(storage: Storage, prompt_cache_mib: int) -> Section:
    """Returns the section of the stored prompts.

    Args:
        storage: The storage that holds them.
        prompt_cache_mib: The setting, in MiB.

    Raises:
        OSError: the folder cannot be read.
    """
    if prompt_cache_mib < 0:
        return prompts_section(used_bytes(storage), None)
    budget = prompt_cache_mib << 20 if prompt_cache_mib else default_budget_bytes(storage)
    return prompts_section(used_bytes(storage), budget)


def prompts_section(used: int, budget: int | None) -> Section:
    """Returns the section of the stored prompts.

    Args:
        used: The bytes that they take.
        budget: The bytes that they may take; None if no more prompts are stored.
    """
    if budget is None:
        return Section(TITLE, (Row("take", f"{size_words(used)}; nothing more is stored", used),))
    row = Row("take", f"{size_words(used)} of {size_words(budget)}", used)
    if used <= budget:
        return Section(TITLE, (row,))
    # Only advice, because the next turn makes room by itself, and the default shrinks with the room on the disk.
    text = f"Stored prompts take {size_words(used)}; the limit is {size_words(budget)}."
    remedy = "The next turn removes some. To remove all now: tui-llama cache clear"
    return Section(TITLE, (row,), (Problem(text, remedy, is_advice=True),))
