"""Moments in microseconds since 1970, UTC, as the store has them."""

import threading
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_newest_lock = threading.Lock()
_newest = [0]


def new_moment() -> int:
    """Returns the present, or a later moment: each is later than those before in this process, whatever the clock does.

    So a moment tells messages and chats apart that were made in one process.
    """
    with _newest_lock:
        _newest.append(max(present(), _newest.pop() + 1))
        return _newest[-1]


def present() -> int:
    """Returns what the clock says."""
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


def time_from(microseconds: int) -> datetime:
    """Returns the moment as a time in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)
