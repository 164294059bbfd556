"""Owners of stored keys and values: a chat, or a program that `tui-llama serve` answers. Who may use whose?

The screen's chats may use what anybody has stored. A served program may use only what served programs have stored: the
server tells it how much of a prompt it did not have to read, and with that number a program could guess, token by
token, what somebody's chats say.

Owners are told apart by the version of their id. RFC 9562 leaves version 8 to each program; ids of chats have version
4.
"""

import hashlib
from typing import Final

_SERVED_DOMAIN: Final = b"tui-llama serve\0"
_SERVED_VERSION: Final = "8"
_VERSION_PLACE: Final = 12
_VARIANT_PLACE: Final = 16
_VARIANTS: Final = "89ab"
"""The first digit of the variant that RFC 9562 defines; without it, the version means nothing."""


def served_owner_id(beginning: bytes) -> str:
    """Returns the owner of the prompts of a served program: 32 hexadecimal digits, the same for the same beginning.

    Args:
        beginning: What tells conversations apart, such as the first messages and tools; of any length.
    """
    digits = hashlib.sha256(_SERVED_DOMAIN + beginning).hexdigest()[:32]
    variant = _VARIANTS[int(digits[_VARIANT_PLACE], 16) % len(_VARIANTS)]
    return f"{digits[:_VERSION_PLACE]}{_SERVED_VERSION}{digits[13:_VARIANT_PLACE]}{variant}{digits[17:]}"


def is_served_owner(owner: str) -> bool:
    """Tells whether the owner of stored keys and values is a served program, and no chat."""
    return len(owner) == 32 and owner[_VERSION_PLACE] == _SERVED_VERSION and owner[_VARIANT_PLACE] in _VARIANTS


def may_use(asking: bytes | None, writer: bytes) -> bool:
    """Tells whether one owner may use keys and values that another one has stored; None asks for nobody's chat."""
    return asking is None or not is_served_owner(asking.hex()) or is_served_owner(writer.hex())
