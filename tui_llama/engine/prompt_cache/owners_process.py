"""A process that tells whose keys and values are stored, or removes those of some owners.

It is a process of its own because segments are read with NumPy, which the process that draws the screen does without;
`chats.chat_prompt_cache` is its other end. The answer is a line of JSON: owners, and what the disk refused in a few
words.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tui_llama.engine.prompt_cache.eviction import NOBODY, cache_uses, remove_owner
from tui_llama.files.locks import cause_of
from tui_llama.files.storage import DiskStorage


def main(arguments: Sequence[str]) -> None:
    """Removes what is stored of owners; without any, prints whose keys and values are stored.

    Args:
        arguments: The folder of the prompt cache, and the hexadecimal ids of owners.
    """
    folder, *unwanted = arguments
    storage, owners, cause = DiskStorage(Path(folder)), [], ""
    try:
        if not unwanted:
            owners = [use.owner.hex() for use in cache_uses(storage) if use.owner != NOBODY]
        for owner in unwanted:
            remove_owner(storage, bytes.fromhex(owner))
    except OSError as error:
        cause = cause_of(error)
    print(msgspec.json.encode({"owners": owners, "cause": cause}).decode(), flush=True)
