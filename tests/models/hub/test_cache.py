"""The cache of huggingface_hub: files that are there already, with and without a network, and the disk."""

from pathlib import Path
from typing import IO, Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.fakes import fake_hub
from tests.fakes.fake_hub import FakeHub
from tests.models.hub.one_repository import CONTENT, NAME, REFERENCE, REPOSITORY, ignore, unfinished, whole_files
from tui_llama.models.downloads import Downloaded, DownloadError
from tui_llama.models.hub.fetch import fetch
from tui_llama.models.hub.reference import HubReference
from tui_llama.models.record import note_pulled

# --- no network ---


def test_without_a_network_what_is_here_is_found(hub: FakeHub, waits: list[float]) -> None:
    path = fetch(HubReference(REPOSITORY), ignore).path
    hub.stop()

    for reference in (REFERENCE, HubReference(REPOSITORY), HubReference(REPOSITORY, quantization="q4_k_m")):
        assert fetch(reference, ignore) == Downloaded(path, was_there=True)
    assert waits == []


def test_while_the_hub_is_out_of_order_what_is_here_is_found_at_once(hub: FakeHub, waits: list[float]) -> None:
    path = fetch(REFERENCE, ignore).path
    hub.fail("/api/", fake_hub.OUT_OF_ORDER)

    assert fetch(REFERENCE, ignore) == Downloaded(path, was_there=True)
    assert waits == []


def test_in_offline_mode_nobody_is_asked(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(REFERENCE, ignore).path
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    assert fetch(REFERENCE, ignore) == Downloaded(path, was_there=True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE forbids") as caught:
        fetch(HubReference(REPOSITORY, quantization="Q8_0"), ignore)
    assert "Unset HF_HUB_OFFLINE" in caught.value.hint
    assert len(hub.requests) == asked


# --- files that are there already ---


def test_a_cached_file_that_is_no_gguf_file_is_refused_and_stays(hub: FakeHub) -> None:
    hub.add(REPOSITORY, {NAME: b"something else"})
    path = Path(huggingface_hub.hf_hub_download(REPOSITORY, NAME))

    with pytest.raises(DownloadError, match="not a GGUF file"):
        fetch(REFERENCE, ignore)
    assert path.exists()


@pytest.mark.parametrize("damaged", [b"", b"GG", b"\0" * 1000, CONTENT[:1000]], ids=["empty", "2", "zeros", "cut"])
def test_a_damaged_file_in_the_cache_is_fetched_again(hub: FakeHub, damaged: bytes) -> None:
    path = Path(fetch(REFERENCE, ignore).path)
    path.write_bytes(damaged)

    done = fetch(REFERENCE, ignore)

    assert not done.was_there
    assert Path(done.path).read_bytes() == CONTENT


@pytest.mark.parametrize("damaged", [b"", CONTENT[:1000]], ids=["empty", "cut"])
def test_a_damaged_file_is_not_taken_for_the_model_where_nobody_can_be_asked(hub: FakeHub, damaged: bytes) -> None:
    path = Path(fetch(REFERENCE, ignore).path)
    note_pulled(path)
    path.write_bytes(damaged)
    hub.stop()
    huggingface_hub.close_session()  # a connection that is open would be answered still

    with pytest.raises(DownloadError, match="refuses the connection"):
        fetch(REFERENCE, ignore)


# --- the disk ---


def test_a_disk_without_room_is_seen_before_anything_comes(
    hub: FakeHub, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = unfinished(cache_folder, hub)
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT[:100_000])

    class Usage:
        free = len(CONTENT) - 100_000 - 1

    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage)
    with pytest.raises(DownloadError, match="too full: 162 kB are needed"):
        fetch(REFERENCE, ignore)
    assert not hub.asked("/content/")

    Usage.free += 1
    assert not fetch(REFERENCE, ignore).was_there


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_meanwhile_is_said(
    hub: FakeHub, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, really_open = unfinished(cache_folder, hub), Path.open

    def opened_on_a_full_disk(path: Path, mode: str = "r", **options: Any) -> IO[Any]:
        return really_open(Path("/dev/full") if (path, mode) == (left, "rb+") else path, mode, **options)

    monkeypatch.setattr(Path, "open", opened_on_a_full_disk)
    with pytest.raises(DownloadError, match="too full: 262 kB are needed"):
        fetch(REFERENCE, ignore)
    assert not whole_files(cache_folder)


def test_a_cache_that_cannot_be_written_is_said(hub: FakeHub, cache_folder: Path) -> None:
    cache_folder.write_text("a file where a folder should be")

    with pytest.raises(DownloadError, match="cache cannot be used: ") as caught:
        fetch(REFERENCE, ignore)
    assert "HF_HUB_CACHE" in caught.value.hint
