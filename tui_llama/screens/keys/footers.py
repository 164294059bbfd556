"""The line of keys below a dialog, with the keys that the user has chosen."""

import re
from collections.abc import Mapping
from typing import Final

from tui_llama.screens.keys.keymap import NO_KEY
from tui_llama.screens.keys.names import spelled_list
from tui_llama.widgets.local_keys import LOCAL_KEYS

_NAME: Final = re.compile(r"\{(\w+)\}")
_SEPARATOR: Final = " · "
_DECLARED: Final = {each.name: each.keys for each in LOCAL_KEYS}


def footer(template: str, chosen: Mapping[str, str]) -> str:
    """Returns a line of keys; what has no key any more is left out.

    Args:
        template: Parts with dots between them; the name of a local key in braces stands for the key itself.
        chosen: The keys that the user has chosen, by names, as Textual takes them.
    """
    parts = template.split(_SEPARATOR)
    return _SEPARATOR.join(
        _NAME.sub(lambda match: _key(match[1], chosen), part) for part in parts if _has_keys(part, chosen)
    )


def _has_keys(part: str, chosen: Mapping[str, str]) -> bool:
    return all(_key(name, chosen) for name in _NAME.findall(part))


def _key(name: str, chosen: Mapping[str, str]) -> str:
    keys = chosen.get(name, _DECLARED[name])
    return "" if keys.startswith(NO_KEY) else spelled_list(keys)
