"""What the hub refuses or answers, the connection to it, and the library and variables by which it is asked."""

import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.fakes import fake_hub
from tests.fakes.fake_hub import FakeHub, Fault
from tests.models.hub.one_repository import (
    CONTENT,
    NAME,
    REFERENCE,
    REPOSITORY,
    TOKEN,
    ignore,
    run_child,
    use_endpoint,
    whole_files,
)
from tests.patience import HANG_SECONDS
from tui_llama.models.downloads import DownloadError
from tui_llama.models.hub import fetch as fetch_module
from tui_llama.models.hub.choice import HubFile
from tui_llama.models.hub.client import HubClient
from tui_llama.models.hub.fetch import fetch
from tui_llama.models.hub.patience import Patience
from tui_llama.models.hub.reference import HubReference

# --- what the hub refuses ---


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

    with pytest.raises(DownloadError, match="has no GGUF file"):
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


# --- connections ---

CERTIFICATE = Path(__file__).parents[2] / "fixtures" / "self-signed.pem"


def test_no_address_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint("http://hub.invalid", monkeypatch)

    def fail(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match=r"the address of hub\.invalid was not found") as caught:
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


# --- the library and its variables ---


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
    assert "HF_HUB_OFFLINE forbids asking" in elsewhere.stdout
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


def test_a_missing_library_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(DownloadError, match="huggingface_hub") as caught:
        fetch(REFERENCE, ignore)
    assert "pip install 'huggingface_hub>=1.0'" in caught.value.hint


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
