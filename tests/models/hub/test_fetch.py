"""Downloads that go well, that break and go on, and that are stopped."""

import subprocess
import sys
import threading
from pathlib import Path

import huggingface_hub
import pytest
from filelock import FileLock

from tests.fakes import fake_hub
from tests.fakes.fake_hub import FakeHub, Fault
from tests.models.hub.one_repository import (
    CHILD,
    CONTENT,
    NAME,
    REFERENCE,
    REPOSITORY,
    child_environment,
    ignore,
    repository_folder,
    unfinished,
    whole_files,
)
from tui_llama.models.downloads import Downloaded, DownloadError, DownloadStoppedError, Progress
from tui_llama.models.hub import fetch as fetch_module
from tui_llama.models.hub import patience
from tui_llama.models.hub.fetch import fetch
from tui_llama.models.hub.reference import HubReference


def test_a_file_comes_into_the_cache_and_is_there_from_then_on(hub: FakeHub, cache_folder: Path) -> None:
    commit = hub.add(REPOSITORY, {NAME: CONTENT})

    first = fetch(REFERENCE, ignore)
    second = fetch(REFERENCE, ignore)

    expected = repository_folder(cache_folder) / "snapshots" / commit / NAME
    assert first == Downloaded(str(expected), was_there=False)
    assert second == Downloaded(str(expected), was_there=True)
    assert expected.read_bytes() == CONTENT
    assert len(hub.asked("/content/")) == 1
    assert not list(cache_folder.rglob("*.incomplete"))


def test_huggingface_hub_finds_what_we_fetched_and_fetches_nothing(hub: FakeHub, cache_folder: Path) -> None:
    path = fetch(REFERENCE, ignore).path

    assert huggingface_hub.hf_hub_download(REPOSITORY, NAME) == path
    assert huggingface_hub.try_to_load_from_cache(REPOSITORY, NAME) == path
    assert len(hub.asked("/content/")) == 1
    scanned = huggingface_hub.scan_cache_dir(cache_folder)
    assert not scanned.warnings
    assert scanned.size_on_disk == len(CONTENT)


def test_what_huggingface_hub_fetched_is_there_for_us(hub: FakeHub) -> None:
    path = huggingface_hub.hf_hub_download(REPOSITORY, NAME)
    asked = len(hub.asked("/content/"))

    assert fetch(REFERENCE, ignore) == Downloaded(path, was_there=True)
    assert len(hub.asked("/content/")) == asked


def test_a_file_that_another_revision_has_too_is_not_fetched_again(hub: FakeHub) -> None:
    old = fetch(REFERENCE, ignore)
    hub.add(REPOSITORY, {NAME: CONTENT, "README.md": b"another text"})

    new = fetch(REFERENCE, ignore)

    assert new.was_there
    assert new.path != old.path
    assert Path(new.path).read_bytes() == CONTENT
    assert len(hub.asked("/content/")) == 1


def test_a_file_in_a_folder_and_a_revision_are_found(hub: FakeHub, cache_folder: Path) -> None:
    commit = hub.add(REPOSITORY, {"Q4 dir/ä-Q4_0.gguf": CONTENT})

    done = fetch(HubReference(REPOSITORY, quantization="q4_0", revision=commit), ignore)

    assert Path(done.path) == repository_folder(cache_folder) / "snapshots" / commit / "Q4 dir" / "ä-Q4_0.gguf"
    assert Path(done.path).read_bytes() == CONTENT


def test_a_file_that_lies_in_git_itself_is_checked_by_gits_hash(hub: FakeHub) -> None:
    hub.add(REPOSITORY, {NAME: CONTENT}, in_git=(NAME,))
    hub.fail("/content/", Fault(content=CONTENT[:-1] + b"x"), times=1)

    with pytest.raises(DownloadError, match="damaged"):
        fetch(REFERENCE, ignore)
    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT


def test_a_mirror_that_lists_names_only_is_asked_for_the_rest(hub: FakeHub) -> None:
    hub.add(REPOSITORY, {NAME: CONTENT}, tells_details=False)
    hub.fail("/content/", Fault(content=CONTENT[:-1] + b"x"), times=1, method="GET")

    with pytest.raises(DownloadError, match="damaged"):
        fetch(REFERENCE, ignore)
    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert [one.method for one in hub.asked("/resolve/")] == ["HEAD", "GET", "HEAD", "GET"]


def test_a_renamed_repository_is_found(hub: FakeHub) -> None:
    hub.fail("/api/models/old/", Fault(status=307, headers={"Location": f"/api/models/{REPOSITORY}/revision/main"}))
    hub.fail("/old/name/", Fault(status=307, headers={"Location": f"/{REPOSITORY}/resolve/main/{NAME}"}))

    assert Path(fetch(HubReference("old/name", file=NAME), ignore).path).read_bytes() == CONTENT


def test_where_there_can_be_no_links_the_content_gets_the_name(
    hub: FakeHub, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError("a privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)

    path = Path(fetch(REFERENCE, ignore).path)

    assert path.read_bytes() == CONTENT
    assert whole_files(cache_folder) == [path]
    assert fetch(REFERENCE, ignore).was_there


def test_reports_begin_and_end_each_step_and_are_few(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    reports: list[Progress] = []

    fetch(REFERENCE, reports.append)

    assert [one.step for one in reports] == ["looking it up", "downloading", "downloading", "checking"]
    assert 0 < reports[1].done_bytes < reports[2].done_bytes == len(CONTENT)
    assert {one.total_bytes for one in reports[1:]} == {len(CONTENT)}


def test_while_another_program_downloads_the_same_we_wait_and_then_have_it(
    hub: FakeHub, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = repository_folder(cache_folder) / "blobs" / hub.content_hash(REPOSITORY, NAME)
    lock_path = cache_folder / ".locks" / "models--owner--tiny-GGUF" / f"{blob.name}.lock"
    lock_path.parent.mkdir(parents=True)
    lock = FileLock(lock_path)
    lock.acquire()

    def finish_the_other(_seconds: float) -> None:
        blob.write_bytes(CONTENT)
        lock.release()

    monkeypatch.setattr(fetch_module, "pause", finish_the_other)
    reports: list[Progress] = []

    done = fetch(REFERENCE, reports.append)

    assert done.was_there
    assert Path(done.path).read_bytes() == CONTENT
    assert "another program" in reports[-1].step
    assert not hub.asked("/content/")


# --- going on ---


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: FakeHub, waits: list[float]) -> None:
    hub.fail("/content/", Fault(cut_after_bytes=100_000), times=2)

    done = fetch(REFERENCE, ignore)

    assert Path(done.path).read_bytes() == CONTENT
    assert hub.ranges() == ["", "bytes=100000-", "bytes=200000-"]
    assert sum(waits) == 0.5 + 1


def test_a_connection_that_breaks_again_and_again_is_given_up_with_the_way_on(hub: FakeHub, cache_folder: Path) -> None:
    hub.fail("/content/", Fault(cut_after_bytes=20_000))

    with pytest.raises(DownloadError, match="was lost") as caught:
        fetch(REFERENCE, ignore)

    assert caught.value.hint == "100 kB of 262 kB are on this machine; the next try continues from there."
    assert len(hub.ranges()) == 1 + patience.MOST_FAILURES
    assert not whole_files(cache_folder)

    hub.heal()
    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert hub.ranges()[-1] == "bytes=100000-"


def test_nothing_is_written_through_a_link_that_lies_where_it_is_fetched_to(hub: FakeHub, cache_folder: Path) -> None:
    precious = cache_folder.parent / "precious"
    precious.write_bytes(b"mine")
    link = unfinished(cache_folder, hub)
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)

    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert precious.read_bytes() == b"mine"


def test_as_long_as_much_comes_a_download_bears_any_number_of_breaks(hub: FakeHub) -> None:
    content = b"GGUF" + bytes(8 << 20)
    hub.add(REPOSITORY, {NAME: content})
    hub.fail("/content/", Fault(cut_after_bytes=fetch_module.RENEWING_BYTES), times=7)

    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == content
    assert len(hub.ranges()) == 8


def test_a_download_goes_on_where_a_killed_process_was(hub: FakeHub, cache_folder: Path) -> None:
    hub.fail("/content/", Fault(hold_after_bytes=150_000), times=1)
    command = [sys.executable, "-c", CHILD, str(REFERENCE)]
    environment = child_environment(HF_ENDPOINT=hub.address, HF_HUB_CACHE=str(cache_folder))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.split()[-1] == "150000":
                break
        child.kill()

    assert child.returncode == -9
    assert not whole_files(cache_folder)
    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert hub.ranges() == ["", "bytes=150000-"]


def test_another_part_than_the_one_asked_for_is_not_taken(hub: FakeHub, cache_folder: Path) -> None:
    left = unfinished(cache_folder, hub)
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT[:100_000])
    told = {"Content-Range": f"bytes 150000-{len(CONTENT) - 1}/{len(CONTENT)}"}
    hub.fail("/content/", Fault(status=206, headers=told, body=CONTENT[150_000:]), times=1)

    with pytest.raises(DownloadError, match="another part"):
        fetch(REFERENCE, ignore)
    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert hub.ranges()[-1] == "bytes=100000-"


def test_an_unfinished_file_that_is_taken_away_meanwhile_is_said(hub: FakeHub, cache_folder: Path) -> None:
    def report(progress: Progress) -> None:
        if progress.step == "downloading" and progress.done_bytes == len(CONTENT):
            unfinished(cache_folder, hub).unlink()

    with pytest.raises(DownloadError, match="cannot be used: No such file"):
        fetch(REFERENCE, report)
    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(hub: FakeHub) -> None:
    hub.fail("/content/", Fault(cut_after_bytes=100_000), times=1)
    hub.fail("/content/", Fault(ignores_range=True), times=1)

    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert len(hub.ranges()) == 2


@pytest.mark.parametrize("is_finished", [False, True], ids=["too long", "just whole"])
def test_what_a_former_download_left_is_used_if_it_can_be(hub: FakeHub, cache_folder: Path, is_finished: bool) -> None:
    left = unfinished(cache_folder, hub)
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT if is_finished else CONTENT + b"and more")

    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert hub.ranges() == ([] if is_finished else [""])


def test_a_content_of_another_length_is_fetched_anew(hub: FakeHub) -> None:
    path = Path(fetch(REFERENCE, ignore).path)
    path.resolve().write_bytes(CONTENT[:1000])

    assert fetch(REFERENCE, ignore) == Downloaded(str(path), was_there=False)
    assert path.read_bytes() == CONTENT


def test_a_login_page_does_not_cost_what_is_here_already(hub: FakeHub, cache_folder: Path) -> None:
    left = unfinished(cache_folder, hub)
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT[:100_000])
    hub.fail("/content/", fake_hub.WEB_PAGE)

    with pytest.raises(DownloadError, match="web page"):
        fetch(REFERENCE, ignore)

    assert left.read_bytes() == CONTENT[:100_000]


# --- stopping ---


@pytest.mark.parametrize("stop", [DownloadStoppedError, KeyboardInterrupt, BrokenPipeError])
@pytest.mark.parametrize("step", ["looking", "downloading", "waiting", "checking"])
def test_whoever_is_told_can_stop_it_and_the_next_call_goes_on(
    hub: FakeHub, cache_folder: Path, step: str, stop: type[BaseException]
) -> None:
    hub.fail("/content/", Fault(cut_after_bytes=100_000), times=1)

    def report(progress: Progress) -> None:
        if progress.step.startswith(step):
            raise stop

    with pytest.raises(stop):
        fetch(REFERENCE, report)
    assert not whole_files(cache_folder)

    path = Path(fetch(REFERENCE, ignore).path)
    assert path.read_bytes() == CONTENT
    assert sorted(whole_files(cache_folder)) == sorted([path, path.resolve()])


@pytest.mark.usefixtures("impatient_once_held")
def test_a_download_is_stopped_while_nothing_more_comes(hub: FakeHub) -> None:
    hub.fail("/content/", Fault(hold_after_bytes=100_000))
    stalled = threading.Event()

    def report(progress: Progress) -> None:
        if progress.step.startswith("waiting") and hub.holding.is_set():
            stalled.set()
            raise DownloadStoppedError

    with pytest.raises(DownloadStoppedError):
        fetch(REFERENCE, report)
    assert stalled.is_set()


@pytest.mark.usefixtures("impatient_once_held")
def test_what_is_no_gguf_file_is_refused_after_its_first_bytes(hub: FakeHub) -> None:
    hub.fail("/content/", Fault(content=b"PK" + CONTENT[2:], hold_after_bytes=50_000))

    with pytest.raises(DownloadError, match="not a GGUF file"):
        fetch(REFERENCE, ignore)
