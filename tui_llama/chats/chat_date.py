"""The time at which a chat began: local time with its offset from UTC.

Because of the offset, neither another time zone nor daylight saving can shift it.

A template that asks for the date is given this time until the user renews it (`/today`). Another date near the
beginning of a prompt would make the model read everything after it again.
"""

from datetime import datetime

from tui_llama.errors import CallerError


def local_now() -> datetime:
    """Returns the present second, in local time with its offset from UTC."""
    return datetime.now().astimezone().replace(microsecond=0)


def date_text(moment: datetime) -> str:
    """Returns a moment as it is stored and sent, such as 2026-11-27T23:58:03+01:00.

    Raises:
        CallerError: it has no offset from UTC.
    """
    if moment.utcoffset() is None:
        raise CallerError("The beginning of a chat needs an offset from UTC.")
    return moment.isoformat(timespec="seconds")


def date_from(text: str) -> datetime | None:
    """Returns the moment of such a text; None where the text is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.utcoffset() is None else moment
