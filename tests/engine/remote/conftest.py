"""Fixtures of the tests of the remote engine."""

import ssl
from functools import cache
from typing import Final

import httpx2
import pytest

_CREATE_SSL_CONTEXT: Final = httpx2.create_ssl_context


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes what the machine's variables say of proxies."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def certificates_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the system's certificates once for all tests; that takes a tenth of a second each time."""
    monkeypatch.setattr(httpx2, "create_ssl_context", _ssl_context)


@cache
def _ssl_context() -> ssl.SSLContext:
    return _CREATE_SSL_CONTEXT()
