"""A clock whose time and time zone a test sets."""

import time
from datetime import datetime, tzinfo
from types import ModuleType
from typing import Self

import pytest

from tui_llama.chats import chat_date
from tui_llama.engine.llama_cpp import transfer
from tui_llama.engine.templates import chat_template

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
NEW_YORK = "EST5EDT,M3.2.0,M11.1.0"
TOKYO = "JST-9"
KATHMANDU = "<+0545>-5:45"

_MODULES: tuple[ModuleType, ...] = (chat_date, chat_template, transfer)


class Clock:
    """Replaces the date and the time in all modules that ask for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def set(self, text: str, zone: str) -> None:
        """Sets the time to a moment in a time zone, which is written in the notation of TZ."""
        self._monkeypatch.setenv("TZ", zone)
        time.tzset()
        seconds = datetime.fromisoformat(text).timestamp()

        class Stopped(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls.fromtimestamp(seconds, tz)

        for module in _MODULES:
            self._monkeypatch.setattr(module, "datetime", Stopped)
