"""The stored prompts: how much room they take of what they may."""

from typing import Final

from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.engine.prompt_cache.eviction import default_budget_bytes, used_bytes
from tui_llama.files.storage import Storage
from tui_llama.models.downloads import size_words

TITLE: Final = "Stored prompts"


def look_at_prompts(storage: Storage, prompt_cache_mib: int) -> Section:
    """The section; raises `OSError` where the folder cannot be read.

    Args:
        storage: Where they are.
        prompt_cache_mib: The setting.
    """
    if prompt_cache_mib < 0:
        return prompts_section(used_bytes(storage), None)
    budget = prompt_cache_mib << 20 if prompt_cache_mib else default_budget_bytes(storage)
    return prompts_section(used_bytes(storage), budget)


def prompts_section(used: int, budget: int | None) -> Section:
    """The section.

    Args:
        used: Bytes that they take.
        budget: Bytes that they may take; None where nothing is stored any more.
    """
    if budget is None:
        return Section(TITLE, (Row("take", f"{size_words(used)}; nothing more is stored", used),))
    row = Row("take", f"{size_words(used)} of {size_words(budget)}", used)
    if used <= budget:
        return Section(TITLE, (row,))
    # Advice, because the next turn makes room by itself, and the default shrinks with the room on the disk.
    text = f"Stored prompts take {size_words(used)}, more than the {size_words(budget)} that they may."
    remedy = "The next turn makes room. To make it now: tui-llama cache clear"
    return Section(TITLE, (row,), (Problem(text, remedy, is_advice=True),))
