"""A model is fetched by whatever name it has; beside the screen by a process of its own, which outlives nobody."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.models import pull
from tui_llama.models.catalogue import CatalogueEntry, load_catalogue
from tui_llama.models.downloads import (
    Downloaded,
    DownloadError,
    DownloadEvent,
    DownloadFailed,
    DownloadStoppedError,
    Progress,
    ReportProgress,
)
from tui_llama.models.pull import pull_beside
from tui_llama.models.record import was_pulled
from tui_llama.system.child_process import child_command

CHILD = "tests.pulling_child"
ROOT = Path(__file__).resolve().parents[2]
HALF = Progress("downloading", 1, 2)


class FakeHub:
    """Hugging Face without a network: every reference leads to one file.

    Attributes:
        asked: What was to be fetched.
        path: The file.
        was_there: Whether it is on the machine already.
    """

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.path = path
        self.was_there = False

    def parse_reference(self, name: str) -> str | None:
        """The reference; None where it is none."""
        return name.removeprefix("hf:") if name.startswith("hf:") else None

    def fetch(self, reference: str, report: ReportProgress) -> Downloaded:
        """Fetches the one file."""
        report(HALF)
        self.asked.append(reference)
        self.path.write_bytes(b"GGUF")
        return Downloaded(str(self.path), was_there=self.was_there)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub(tmp_path / "model.gguf")
    monkeypatch.setattr("tui_llama.models.hub.reference.parse_reference", hub.parse_reference)
    monkeypatch.setattr("tui_llama.models.hub.fetch.fetch", hub.fetch)
    return hub


def ignore(_progress: Progress) -> None:
    """Whoever does not want to know how far it is."""


# --- names


def test_a_reference_is_fetched_from_the_hub(hub: FakeHub) -> None:
    fetched = pull.pull("hf:owner/name:Q4_K_M", ignore)
    assert (fetched.path, hub.asked) == (str(hub.path), ["owner/name:Q4_K_M"])


@pytest.mark.parametrize("entry", load_catalogue()[1:], ids=lambda entry: entry.name)
def test_every_name_of_the_catalogue_leads_to_its_file(entry: CatalogueEntry, hub: FakeHub) -> None:
    pull.pull(entry.name, ignore)
    assert hub.asked == [f"{entry.repository}:{entry.file}"]


@pytest.mark.parametrize("name", ["qwen3:4b-instruct", "Qwen3 4B Instruct 2507", "QWEN3-4B-INSTRUCT-2507"])
def test_other_names_of_an_entry_lead_there_too(name: str, hub: FakeHub) -> None:
    pull.pull(name, ignore)
    assert hub.asked == ["unsloth/Qwen3-4B-Instruct-2507-GGUF:Qwen3-4B-Instruct-2507-Q4_K_M.gguf"]


@pytest.mark.parametrize("name", ["starter", "smollm2:135m", "SmolLM2-135M"])
def test_the_starter_comes_without_the_hub(
    name: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "starter.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setattr("tui_llama.models.starter.fetch.fetch_starter", lambda report: Downloaded(str(path)))
    assert pull.pull(name, ignore).path == str(path)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("qwen3-4b-instrukt", "Did you mean qwen3-4b-instruct-2507"),
        ("gibberish-xyzzy", "tui-llama models list --all"),
        ("", "tui-llama models list --all"),
    ],
)
def test_an_unknown_name_is_told_with_what_may_have_been_meant(name: str, hint: str, hub: FakeHub) -> None:
    with pytest.raises(DownloadError, match="there is no model") as caught:
        pull.pull(name, ignore)
    assert hint in caught.value.hint
    assert "hf:OWNER/REPOSITORY" in caught.value.hint
    assert hub.asked == []


def test_an_unknown_name_is_told_in_one_line_however_long_it_is(hub: FakeHub) -> None:
    with pytest.raises(DownloadError) as caught:
        pull.pull("x\n" * 5000, ignore)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


# --- what is remembered


def test_what_was_fetched_is_remembered(hub: FakeHub) -> None:
    pull.pull("hf:owner/name", ignore)
    assert was_pulled(hub.path)


def test_what_was_there_already_is_not_taken_for_ours(hub: FakeHub) -> None:
    hub.was_there = True
    assert pull.pull("hf:owner/name", ignore).was_there
    assert not was_pulled(hub.path)


def test_a_stop_goes_through(hub: FakeHub) -> None:
    def stop(_progress: Progress) -> None:
        raise DownloadStoppedError

    with pytest.raises(DownloadStoppedError):
        pull.pull("hf:owner/name", stop)
    assert hub.asked == []


# --- in a process of its own


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the child be that of these tests."""
    monkeypatch.setattr(pull, "child_command", lambda _module, *arguments: child_command(CHILD, *arguments))


async def events_of(name: str) -> list[DownloadEvent]:
    return [event async for event in pull_beside(name)]


@pytest.mark.usefixtures("beside")
async def test_progress_comes_first_and_the_file_last() -> None:
    assert await events_of("fetch:/models/a b.gguf") == [HALF, Downloaded("/models/a b.gguf", was_there=True)]


@pytest.mark.usefixtures("beside")
async def test_a_failure_comes_with_its_hint() -> None:
    assert await events_of("refuse:try another") == [HALF, DownloadFailed("there is no such model", "try another")]


@pytest.mark.usefixtures("beside")
async def test_a_mistake_of_ours_is_told_too() -> None:
    *_, last = await events_of("mistake:oh")
    assert last == DownloadFailed("the download failed: ZeroDivisionError: oh")


@pytest.mark.usefixtures("beside")
async def test_a_process_that_dies_has_failed() -> None:
    *_, last = await events_of("die:")
    assert isinstance(last, DownloadFailed)
    assert "without an error message" in last.message


@pytest.mark.usefixtures("beside")
async def test_what_a_library_prints_is_no_event() -> None:
    assert await events_of("chatter:hello") == [HALF, Downloaded("hello", was_there=True)]


@pytest.mark.usefixtures("beside")
async def test_a_path_that_is_no_text_comes_as_it_is() -> None:
    path = os.fsdecode(b"/models/no\xfftext.gguf")
    assert await events_of(f"fetch:{path}") == [HALF, Downloaded(path, was_there=True)]
    assert await events_of(f"refuse:{path}") == [HALF, DownloadFailed("there is no such model", path)]


async def test_the_real_child_knows_which_names_there_are() -> None:
    (failed,) = await events_of("gibberish-xyzzy")
    assert isinstance(failed, DownloadFailed)


class SignsOfLife:
    """A pipe that somebody holds open as long as they live."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait_for(self, expected: bytes) -> None:
        """Waits for a byte, or for nothing: the end of everybody who had the pipe open."""
        assert select.select([self._reader], [], [], HANG_SECONDS)[0]
        assert os.read(self._reader, 1) == expected

    def close(self) -> None:
        os.close(self._reader)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[SignsOfLife]:
    signs = SignsOfLife(tmp_path / "signs of life")
    yield signs
    signs.close()


@pytest.mark.usefixtures("beside")
async def test_whoever_stops_iterating_ends_the_child(life: SignsOfLife) -> None:
    async with aclosing(pull_beside(f"wait:{life.path}")) as events:
        async for event in events:
            assert event == HALF
            life.wait_for(b"!")
            break
    life.wait_for(b"")


def test_the_child_ends_in_order_while_its_parent_still_listens() -> None:
    command = child_command(CHILD, "fetch:a")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read()
        assert (process.wait(), process.stderr.read()) == (0, b"a library's chatter\n")


def test_a_parent_that_is_killed_takes_the_child_with_it(life: SignsOfLife) -> None:
    parent = f"""
import asyncio
from tui_llama.system.child_process import child_command
from tui_llama.models import pull

pull.child_command = lambda _module, *arguments: child_command({CHILD!r}, *arguments)

async def main():
    async for event in pull.pull_beside({f"wait:{life.path}"!r}):
        print("begun", flush=True)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        life.wait_for(b"!")
        process.kill()
        life.wait_for(b"")
