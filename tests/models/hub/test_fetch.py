"""Downloads from a hub of our own (tests/fakes/fake_hub.py), through the real huggingface_hub; no outside network."""

import gzip
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import huggingface_hub
import pytest
from filelock import FileLock
from huggingface_hub import constants

from tests.fakes import fake_hub
from tests.fakes.fake_hub import FakeHub, Fault, running_hub
from tests.patience import HANG_SECONDS
from tui_llama.models.downloads import Downloaded, DownloadError, DownloadStoppedError, Progress
from tui_llama.models.hub import fetch as fetch_module
from tui_llama.models.hub import patience
from tui_llama.models.hub.choice import HubFile
from tui_llama.models.hub.client import HubClient
from tui_llama.models.hub.fetch import fetch
from tui_llama.models.hub.patience import Patience
from tui_llama.models.hub.reference import HubReference
from tui_llama.models.record import note_pulled

REPOSITORY = "owner/tiny-GGUF"
NAME = "tiny-Q4_K_M.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 1024
REFERENCE = HubReference(REPOSITORY, file=NAME)
TOKEN = "hf_secretsecretsecret"
CERTIFICATE = Path(__file__).parents[2] / "fixtures" / "self-signed.pem"

CHILD = """
import sys
from tui_llama.errors import UserError
from tui_llama.models.hub import fetch, reference
fetch.REPORT_SECONDS = 0
def report(progress):
    print(progress.step, progress.done_bytes, flush=True)
try:
    done = fetch.fetch(reference.parse_reference(sys.argv[1]), report)
    print("path", done.path, done.was_there)
except UserError as error:
    print("error", error, "|", error.hint)
"""


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


def use_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub.close_session()
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def ignore(_progress: Progress) -> None:
    """Does not care how far it is."""


def unfinished(cache_folder: Path, hub: FakeHub, name: str = NAME) -> Path:
    return repository_folder(cache_folder) / "blobs" / f"{hub.content_hash(REPOSITORY, name)}.incomplete"


def repository_folder(cache_folder: Path) -> Path:
    return cache_folder / "models--owner--tiny-GGUF"


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


def whole_files(cache_folder: Path) -> list[Path]:
    """Everything in the cache that another program could take for a whole file."""
    folders = (repository_folder(cache_folder) / "blobs", repository_folder(cache_folder) / "snapshots")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return [path for path in files if path.suffix != ".incomplete"]


def child_environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HTTP", "ALL_P"))}
    return {**kept, **variables}


def run_child(typed: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "always", "-c", CHILD, typed]
    return subprocess.run(
        command, env=child_environment(**variables), capture_output=True, text=True, timeout=HANG_SECONDS, check=True
    )


# --- what goes well ---


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


def test_the_variables_of_huggingface_hub_are_heeded(hub: FakeHub, tmp_path: Path) -> None:
    typed, home = str(REFERENCE), tmp_path / "home of hf"
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "AI_AGENT": "someone"}

    done = run_child(typed, **environment)
    again = run_child(typed, **environment, HF_HUB_OFFLINE="1")
    elsewhere = run_child(typed, **environment, HF_HUB_CACHE=str(tmp_path / "cache 2"), HF_HUB_OFFLINE="1")

    path = done.stdout.splitlines()[-1].split(" ", 1)[1].removesuffix(" False")
    assert Path(path).is_relative_to(home / "hub")
    assert Path(path).read_bytes() == CONTENT
    assert again.stdout.splitlines()[-1] == f"path {path} True"
    assert "error HF_HUB_OFFLINE is set" in elsewhere.stdout
    assert (done.stderr, again.stderr, elsewhere.stderr) == ("", "", "")


def test_the_token_goes_to_the_hub_only_and_nothing_is_told_of_this_machine(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPOSITORY, {NAME: CONTENT}, token=TOKEN)

    done = run_child(str(REFERENCE), HF_ENDPOINT=hub.address, HF_HOME=str(tmp_path), HF_TOKEN=TOKEN, AI_AGENT="someone")

    assert "path" in done.stdout
    told = {one.server: one.headers.get("authorization") for one in hub.requests}
    assert told == {"hub": f"Bearer {TOKEN}", "contents": None}
    assert not [one for one in hub.requests if "agent" in one.path or "agent/" in one.headers["user-agent"]]
    assert hub.asked("/api/models/") and len(hub.requests) == 3


def test_a_proxy_is_used(hub: FakeHub, tmp_path: Path) -> None:
    done = run_child(
        str(REFERENCE), HF_ENDPOINT="http://hub.invalid", HF_HOME=str(tmp_path), HTTP_PROXY=hub.address, NO_PROXY=""
    )

    assert "path" in done.stdout
    assert hub.requests[0].path.startswith("http://hub.invalid/api/models/")


# --- what goes wrong ---


@pytest.mark.parametrize("has_token", [False, True], ids=["no token", "token"])
@pytest.mark.parametrize(
    ("where", "fault", "message", "hint"),
    [
        ("/resolve/", fake_hub.GATED, "accepted its terms", f"/{REPOSITORY}"),
        ("/api/", fake_hub.GATED, "accepted its terms", f"/{REPOSITORY}"),
        ("/api/", fake_hub.FORBIDDEN, "refuses access", "token"),
        ("/api/", fake_hub.NO_REVISION, "has no revision main", "another"),
        ("/resolve/", fake_hub.NO_ENTRY, "no longer has the file", "again"),
        ("/api/", Fault(status=404), "no repository owner/tiny-GGUF", "name"),
        ("/api/", Fault(status=418), "status 418", "HF_ENDPOINT"),
        ("/api/", Fault(status=407), "proxy", "HTTPS_PROXY"),
        ("/api/", fake_hub.OUT_OF_ORDER, "does not work at the moment .status 503", "later"),
        ("/content/", Fault(status=500), "does not work at the moment .status 500", "later"),
        ("/content/", fake_hub.FORBIDDEN, "does not send the file .status 403", ""),
        ("/api/", fake_hub.WEB_PAGE, "sent a web page", "login"),
        ("/content/", fake_hub.WEB_PAGE, "a web page arrived", "login"),
        ("/api/", Fault(status=200, body=b"{"), "something else", "HF_ENDPOINT"),
        ("/api/", Fault(status=200, body=b'{"sha": "../../x"}'), "which commit", ""),
        ("/content/", Fault(shown_bytes=len(CONTENT) + 5), "does not have the size", "mirror"),
        ("/content/", Fault(content=CONTENT + b"more"), "does not have the size", "mirror"),
        ("/content/", Fault(content=CONTENT[:-1] + b"x"), "damaged", "again"),
        ("/content/", Fault(content=b"PK\3\4" + CONTENT[4:]), "not a GGUF file", "another"),
        ("/resolve/", Fault(location="ftp://files.invalid/x"), "to an invalid address", "network"),
        ("/resolve/", Fault(location="http://127.0.0.1:1/x"), "127.0.0.1:1 refuses the connection", "network"),
    ],
)
def test_each_refusal_is_one_clear_line_and_leaves_nothing_that_looks_whole(
    hub: FakeHub,
    cache_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_token: bool,
    where: str,
    fault: Fault,
    message: str,
    hint: str,
) -> None:
    if has_token:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fail(where, fault)

    with pytest.raises(DownloadError, match=message) as caught:
        fetch(REFERENCE, ignore)

    assert hint in caught.value.hint
    assert "\n" not in str(caught.value) + caught.value.hint
    assert "<" not in str(caught.value)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert not whole_files(cache_folder)
    hub.heal()
    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("token", "fault", "message", "hint"),
    [
        ("", Fault(status=401), "no repository", "for a private repository, set HF_TOKEN"),
        (TOKEN, fake_hub.BAD_TOKEN, "does not accept the token", "valid token"),
        (TOKEN, Fault(status=401, headers={"X-Error-Code": "RepoNotFound"}), "no repository", "Check the name."),
        ("", fake_hub.GATED, "accepted its terms", "set HF_TOKEN"),
        (TOKEN, fake_hub.GATED, "accepted its terms", "account of your token"),
    ],
)
def test_a_denial_is_told_by_whether_there_is_a_token(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, token: str, fault: Fault, message: str, hint: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.fail("/api/", fault)

    with pytest.raises(DownloadError, match=message) as caught:
        fetch(REFERENCE, ignore)
    assert hint in caught.value.hint


@pytest.mark.parametrize("token", ["hf_sécret", "hf_se\x07cret"])
def test_a_token_that_is_none_is_refused_without_showing_it(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)

    with pytest.raises(DownloadError, match="invalid characters") as caught:
        fetch(REFERENCE, ignore)
    assert token not in "".join(traceback.format_exception(caught.value))
    assert not hub.requests


def test_a_token_that_cannot_be_read_is_none(hub: FakeHub, cache_folder: Path) -> None:
    cache_folder.with_name("token").mkdir()

    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT


def test_a_file_that_is_not_there_is_answered_with_what_is(hub: FakeHub) -> None:
    with pytest.raises(DownloadError, match=r"has no file tiny-Q4_K\.gguf") as caught:
        fetch(HubReference(REPOSITORY, file="tiny-Q4_K.gguf"), ignore)
    assert NAME in caught.value.hint


def test_files_that_lead_out_of_the_cache_are_not_seen(hub: FakeHub) -> None:
    listed = {"sha": "a" * 40, "siblings": [{"rfilename": "../../evil.gguf"}, {"rfilename": "/x.gguf"}]}
    hub.fail("/api/", Fault(status=200, body=json.dumps(listed).encode()))

    with pytest.raises(DownloadError, match="no GGUF file"):
        fetch(HubReference(REPOSITORY), ignore)


def test_a_file_that_plain_http_does_not_give_out_is_left_to_the_hubs_own_program(hub: FakeHub) -> None:
    sibling = {"rfilename": NAME, "size": fetch_module.MOST_BYTES + 1, "lfs": {"sha256": "a" * 64}}
    hub.fail("/api/", Fault(status=200, body=json.dumps({"sha": "a" * 40, "siblings": [sibling]}).encode()))

    with pytest.raises(DownloadError, match=r"larger than 50\.0 GB") as caught:
        fetch(REFERENCE, ignore)
    assert f"hf download {REPOSITORY} {NAME}" in caught.value.hint


def test_a_list_that_comes_packed_is_unpacked(hub: FakeHub) -> None:
    body = json.dumps({"sha": "a" * 40, "siblings": [{"rfilename": NAME, "size": 9}]}).encode()
    hub.fail("/api/", Fault(status=200, headers={"Content-Encoding": "gzip"}, body=gzip.compress(body)))

    assert HubClient().list_files(REFERENCE, Patience(ignore)).files == (HubFile(NAME, 9),)


def test_a_hash_that_is_none_never_becomes_a_file_name(hub: FakeHub, cache_folder: Path) -> None:
    sibling = {"rfilename": NAME, "size": 9, "lfs": {"sha256": "../../../evil"}}
    hub.fail("/api/", Fault(status=200, body=json.dumps({"sha": "a" * 40, "siblings": [sibling]}).encode()))
    told = {"X-Linked-Etag": '"../../evil"', "X-Linked-Size": "9"}
    hub.fail("/resolve/", Fault(status=200, headers=told))

    with pytest.raises(DownloadError, match="could not be checked"):
        fetch(REFERENCE, ignore)
    assert not cache_folder.exists()


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


@pytest.mark.usefixtures("impatient_once_held")
def test_what_is_no_gguf_file_is_refused_after_its_first_bytes(hub: FakeHub) -> None:
    hub.fail("/content/", Fault(content=b"PK" + CONTENT[2:], hold_after_bytes=50_000))

    with pytest.raises(DownloadError, match="not a GGUF file"):
        fetch(REFERENCE, ignore)


# --- too many requests ---


def test_a_short_wait_that_the_hub_asks_for_is_kept_and_shown(hub: FakeHub, waits: list[float]) -> None:
    hub.fail("/content/", Fault(status=429, headers={"Retry-After": "7"}), times=1)
    reports: list[Progress] = []

    done = fetch(REFERENCE, reports.append)

    assert Path(done.path).read_bytes() == CONTENT
    assert sum(waits) == 7
    steps = [one.step for one in reports if one.step.startswith("waiting")]
    assert (steps[0], steps[-1]) == ("waiting 7 s for the hub", "waiting 1 s for the hub")


@pytest.mark.parametrize(
    ("headers", "said", "waited_seconds"),
    [
        ({"Retry-After": "45"}, "to wait 45 seconds", 0),
        ({"Retry-After": "3600"}, "to wait 60 minutes", 0),
        ({"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, "minutes", 0),
        ({"RateLimit": '"api";r=0;t=300'}, "to wait 5 minutes", 0),
        ({"Retry-After": "20"}, "to wait 20 seconds", 20),
        ({"Retry-After": "0"}, "to wait 0 seconds", 30),
        ({"Retry-After": "soon"}, "too many requests", 0.5 + 1 + 2 + 4),
        ({}, "too many requests", 0.5 + 1 + 2 + 4),
    ],
)
def test_a_longer_wait_is_left_to_the_user(
    hub: FakeHub, waits: list[float], headers: dict[str, str], said: str, waited_seconds: float
) -> None:
    hub.fail("/api/", Fault(status=429, headers=headers))

    with pytest.raises(DownloadError, match="too many requests") as caught:
        fetch(REFERENCE, ignore)

    assert said in str(caught.value)
    assert sum(waits) == waited_seconds


def test_what_the_hub_asks_to_wait_adds_up_over_a_download(hub: FakeHub, waits: list[float]) -> None:
    busy = Fault(status=429, headers={"Retry-After": "16"})
    hub.fail("/api/", busy, times=1)
    hub.fail("/resolve/", busy, times=1)

    with pytest.raises(DownloadError, match="to wait 16 seconds"):
        fetch(REFERENCE, ignore)
    assert sum(waits) == 16


def test_a_hub_that_is_out_of_order_for_a_moment_is_asked_again(hub: FakeHub, waits: list[float]) -> None:
    hub.fail("/api/", fake_hub.OUT_OF_ORDER, times=2)
    hub.fail("/resolve/", Fault(status=500), times=2)

    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert sum(waits) == 2 * (0.5 + 1)


# --- connections ---


def test_no_address_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint("http://hub.invalid", monkeypatch)

    def fail(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match=r"no address for hub\.invalid") as caught:
        fetch(REFERENCE, ignore)
    assert "network" in caught.value.hint


def test_a_refused_connection_is_said_at_once(hub: FakeHub, waits: list[float]) -> None:
    hub.stop()

    with pytest.raises(DownloadError, match="refuses the connection"):
        fetch(REFERENCE, ignore)
    assert waits == []


def test_a_hub_that_never_answers_is_given_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        use_endpoint(f"http://127.0.0.1:{mute.getsockname()[1]}", monkeypatch)
        with pytest.raises(DownloadError, match="does not answer"):
            fetch(REFERENCE, ignore)


def test_a_certificate_that_nobody_knows_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        use_endpoint(f"https://127.0.0.1:{listening.getsockname()[1]}", monkeypatch)
        server = threading.Thread(target=_shake_hands, args=(listening, context))
        server.start()
        with pytest.raises(DownloadError, match="certificate") as caught:
            fetch(REFERENCE, ignore)
        server.join()
    assert "SSL_CERT_FILE" in caught.value.hint


def _shake_hands(listening: socket.socket, context: ssl.SSLContext) -> None:
    listening.settimeout(HANG_SECONDS)
    connection, _ = listening.accept()
    with connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection, server_side=True)


@pytest.mark.parametrize(
    "endpoint",
    ["hub", "ftp://hub", "http://", "http://[::1", "http://localhost:99999", "http://localhost:x", "https://ho..st"],
)
def test_an_endpoint_that_is_no_address_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    use_endpoint(endpoint, monkeypatch)

    with pytest.raises(DownloadError, match="HF_ENDPOINT"):
        fetch(REFERENCE, ignore)


def test_the_password_of_a_mirror_is_not_shown(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint(hub.address.replace("://", "://me:hushhush@"), monkeypatch)
    hub.fail("/api/", Fault(status=418))

    with pytest.raises(DownloadError, match="status 418") as caught:
        fetch(REFERENCE, ignore)
    assert "hushhush" not in str(caught.value) + caught.value.hint


def test_a_proxy_that_is_none_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://proxy.invalid")

    with pytest.raises(DownloadError, match="cannot be set up") as caught:
        fetch(REFERENCE, ignore)
    assert "ALL_PROXY" in caught.value.hint


@pytest.mark.parametrize("proxy", ["http://me:hushhush@ho..st:80", "http://me:hushhush@localhost:x"])
def test_a_proxy_at_an_address_that_there_cannot_be_is_said(
    hub: FakeHub, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    huggingface_hub.close_session()

    with pytest.raises(DownloadError) as caught:
        fetch(REFERENCE, ignore)
    assert "ALL_PROXY" in caught.value.hint
    assert "hushhush" not in str(caught.value) + caught.value.hint


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


# --- the library ---


def test_a_missing_library_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(DownloadError, match="huggingface_hub") as caught:
        fetch(REFERENCE, ignore)
    assert "pip install 'tui-llama[hub]'" in caught.value.hint


def test_a_library_that_is_too_old_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "__version__", "0.36.2")

    with pytest.raises(DownloadError, match=r"0\.36\.2 is too old"):
        fetch(REFERENCE, ignore)


def test_variables_that_make_no_sense_to_the_library_are_said(tmp_path: Path) -> None:
    done = run_child(str(REFERENCE), HF_HOME=str(tmp_path), HF_HUB_DOWNLOAD_TIMEOUT="long")

    assert "error huggingface_hub cannot be used" in done.stdout


def test_naming_models_loads_nothing_of_the_library() -> None:
    names = "from tui_llama.models.hub.fetch import fetch; from tui_llama.models.hub.reference import parse_reference"
    statements = f"import sys; {names}; parse_reference('hf:o/r'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", statements], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "tui_llama" in loaded
    assert not loaded & {"huggingface_hub", "httpx", "httpx2", "tqdm", "numpy", "textual", "filelock"}
