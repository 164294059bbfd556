"""A hub of our own (tests/fakes/fake_hub.py), asked through the real huggingface_hub; no outside network."""

import select
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.fakes.fake_hub import FakeHub, running_hub
from tests.models.hub.one_repository import CONTENT, NAME, REPOSITORY, use_endpoint
from tui_llama.models.hub import patience


@pytest.fixture
def cache_folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, had it not been a test."""
    seconds: list[float] = []
    monkeypatch.setattr(patience, "pause", seconds.append)
    return seconds


@pytest.fixture
def hub(cache_folder: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one repository, asked by this process: huggingface_hub has read its variables long ago."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache_folder.with_name("token")))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache_folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with running_hub() as running:
        use_endpoint(running.address, monkeypatch)
        running.add(REPOSITORY, {NAME: CONTENT, "tiny-Q8_0.gguf": CONTENT + b"8", "README.md": b"# tiny"})
        yield running
        huggingface_hub.close_session()


@pytest.fixture
def impatient_once_held(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading from a connection takes too long once the hub holds back what is to come, and never before."""
    receive = socket.socket.recv

    def receive_or_give_up(connection: socket.socket, count: int) -> bytes:
        while True:
            is_held = hub.holding.is_set()  # asked first: what is sent before has come then
            if select.select([connection], [], [], 0.01)[0]:
                return receive(connection, count)
            if is_held:
                raise TimeoutError

    monkeypatch.setattr(socket.socket, "recv", receive_or_give_up)
