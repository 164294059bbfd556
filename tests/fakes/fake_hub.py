"""A Hugging Face hub on this machine. It answers all requests that huggingface_hub and `tui_llama.models.hub` make.

It has two servers: the hub itself, and the server of contents with its own name and port. As the real hub does, it
redirects requests for files to the server of contents. Both record their requests. A test sets faults, for a number
of requests whose address contains a text.

The protocol: https://huggingface.co/docs/hub/api, and what `file_download.py` of huggingface_hub 2.4 expects.
"""

import hashlib
import json
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.patience import HANG_SECONDS

PIECE_BYTES: Final = 16 << 10


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of a request.

    Args:
        status: The status to answer with, instead of the requested content; 0 for none.
        headers: More headers to send, also with a status.
        body: The body to send with the status.
        content: The content to serve instead of the right one.
        shown_bytes: The wrong length in the headers.
        cut_after_bytes: The number of bytes of the content after which the connection ends.
        hold_after_bytes: The number of bytes after which nothing more is sent until the hub is closed.
        ignores_range: Whether all of the content is sent, whatever range was requested.
        location: The address to which the hub redirects, instead of its server of contents.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content: bytes | None = None
    shown_bytes: int | None = None
    cut_after_bytes: int | None = None
    hold_after_bytes: int | None = None
    ignores_range: bool = False
    location: str = ""


GATED: Final = Fault(status=403, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
BAD_TOKEN: Final = Fault(status=401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
FORBIDDEN: Final = Fault(status=403)
NO_REVISION: Final = Fault(status=404, headers={"X-Error-Code": "RevisionNotFound"})
NO_ENTRY: Final = Fault(status=404, headers={"X-Error-Code": "EntryNotFound"})
OUT_OF_ORDER: Final = Fault(status=503)
WEB_PAGE: Final = Fault(
    status=200, headers={"Content-Type": "text/html; charset=utf-8"}, body=b"<!DOCTYPE html><title>Log in</title>"
)


@dataclass(frozen=True)
class Request:
    """A received request: the server, the address and the headers (with names in lower case)."""

    server: str
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class _Repository:
    files: dict[str, bytes]
    in_git: frozenset[str]
    token: str
    tells_details: bool

    @property
    def commit(self) -> str:
        named = b"".join(name.encode() + hashlib.sha256(data).digest() for name, data in sorted(self.files.items()))
        return hashlib.sha1(named, usedforsecurity=False).hexdigest()

    def content_hash(self, name: str) -> str:
        content = self.files[name]
        if name in self.in_git:
            return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return hashlib.sha256(content).hexdigest()


class FakeHub:
    """The two servers. Use `running_hub` to run them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.holding = threading.Event()
        """Is set as soon as a request is being held (`Fault.hold_after_bytes`)."""
        self.released = threading.Event()
        self._repositories: dict[str, _Repository] = {}
        self._faults: list[tuple[str, str, Fault, int]] = []
        self._lock = threading.Lock()
        self._hub = _Server(self, "hub", "127.0.0.1")
        # Another name, not only another port, because some versions of huggingface_hub compare only names.
        self._contents = _Server(self, "contents", "localhost")
        self.address = self._hub.address
        self.contents_address = self._contents.address

    def start(self) -> None:
        for server in (self._hub, self._contents):
            server.thread.start()

    def stop(self) -> None:
        self.released.set()
        for server in (self._hub, self._contents):
            server.shutdown()
            server.server_close()
            server.thread.join(HANG_SECONDS)

    # --- what a test sets up ---

    def add(
        self,
        repository: str,
        files: Mapping[str, bytes],
        *,
        in_git: tuple[str, ...] = (),
        token: str = "",
        tells_details: bool = True,
    ) -> str:
        """Adds a repository, or replaces the files at its `main`.

        Args:
            repository: "OWNER/REPO".
            files: The contents by path.
            in_git: The paths of files that lie in Git itself and not in large-file storage.
            token: The token without which the hub denies the repository.
            tells_details: Whether the list of files has sizes and hashes.

        Returns:
            The new commit of `main`.
        """
        added = _Repository(dict(files), frozenset(in_git), token, tells_details)
        self._repositories[repository] = added
        return added.commit

    def fail(self, where: str, fault: Fault, *, times: int = 1_000_000, method: str = "") -> None:
        """Sets a fault for requests to both servers whose address contains `where`.

        The addresses contain "/api/", "/resolve/" or "/content/".
        """
        with self._lock:
            self._faults.append((where, method, fault, times))

    def heal(self) -> None:
        """Removes all faults."""
        with self._lock:
            self._faults.clear()

    # --- what a test looks at ---

    def asked(self, where: str, server: str = "") -> list[Request]:
        """Returns the requests so far whose address contains `where`."""
        with self._lock:
            return [one for one in self.requests if where in one.path and server in {"", one.server}]

    def ranges(self) -> list[str]:
        """Returns the `Range` of every request for contents so far; empty for a request for the whole."""
        return [one.headers.get("range", "") for one in self.asked("/content/")]

    def content_hash(self, repository: str, name: str) -> str:
        return self._repositories[repository].content_hash(name)

    # --- what the servers use ---

    def note(self, request: Request) -> Fault | None:
        """Records a request and returns its fault, or None."""
        with self._lock:
            self.requests.append(request)
            for place, (where, method, fault, times) in enumerate(self._faults):
                if where in request.path and method in {"", request.method}:
                    self._faults[place] = (where, method, fault, times - 1)
                    if times <= 1:
                        del self._faults[place]
                    return fault
        return None

    def repository(self, name: str) -> _Repository | None:
        return self._repositories.get(name)


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Runs a hub until the end of the block."""
    hub = FakeHub()
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Else closing would wait for connections that clients keep open.
    block_on_close = False

    def __init__(self, hub: FakeHub, name: str, host: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.name = name
        self.address = f"http://{host}:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), name=f"fake {name}", daemon=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that have gone, because tests do that on purpose. Reports other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = HANG_SECONDS
    server: _Server

    def do_GET(self) -> None:  # the name that http.server asks for
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing, because the requests are recorded."""

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.server.hub.note(Request(self.server.name, self.command, self.path, headers)) or Fault()
        try:
            if fault.status:
                self._send(fault.status, fault.headers, fault.body)
            elif self._path().startswith("/content/"):
                self._send_content(fault)
            elif self._path().startswith("/api/models/"):
                self._send_api()
            else:
                self._send_place(fault)
        except (BrokenPipeError, ConnectionResetError):  # the client has gone, which tests do on purpose
            self.close_connection = True

    def _path(self) -> str:
        """Returns the path of the request. This server can also be a proxy, to which clients send whole addresses."""
        return urlsplit(self.path).path

    # --- the hub ---

    def _send_api(self) -> None:
        owner, name, *rest = unquote(self._path()).removeprefix("/api/models/").split("/")
        repository = self._allowed(f"{owner}/{name}")
        if repository is None:
            return
        if rest[:1] == ["tree"]:
            self._send_json([_tree_entry(repository, file) for file in sorted(repository.files)])
            return
        if rest[:1] == ["revision"] and "/".join(rest[1:]) not in {"main", repository.commit}:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
            return
        details = (
            repository.tells_details and parse_qs(urlsplit(self.path).query).get("blobs", [""])[0].lower() == "true"
        )
        siblings = [_sibling(repository, file, details=details) for file in sorted(repository.files)]
        self._send_json({"id": f"{owner}/{name}", "sha": repository.commit, "private": False, "siblings": siblings})

    def _send_place(self, fault: Fault) -> None:
        """Answers `/OWNER/REPO/resolve/REVISION/FILE` with the facts of the file and the address of its content."""
        owner, name, _, _, *file = self._path().strip("/").split("/")
        repository = self._allowed(f"{owner}/{name}")
        if repository is None:
            return
        path = unquote("/".join(file))
        if path not in repository.files:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.commit})
            return
        content_hash = repository.content_hash(path)
        told = {
            "X-Repo-Commit": repository.commit,
            "X-Linked-Etag": f'"{content_hash}"',
            "X-Linked-Size": str(len(repository.files[path])),
            "ETag": f'"{content_hash}"',
        }
        place = f"{self.server.hub.contents_address}/content/{owner}/{name}/{'/'.join(file)}"
        self._send(302, {**told, "Location": fault.location or place})

    def _allowed(self, name: str) -> _Repository | None:
        repository = self.server.hub.repository(name)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository is None or (repository.token and token != repository.token):
            self._send(404 if token else 401, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    # --- the contents ---

    def _send_content(self, fault: Fault) -> None:
        _, owner, name, *file = self._path().strip("/").split("/")
        repository = self.server.hub.repository(f"{owner}/{name}")
        path = unquote("/".join(file))
        if repository is None or path not in repository.files:
            self._send(404)
            return
        content = repository.files[path] if fault.content is None else fault.content
        first = 0 if fault.ignores_range else _first_byte(self.headers.get("Range", ""))
        if first >= len(content) > 0:
            self._send(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        # A tag of its own, as real servers of contents have. A client must not take it for the hub's hash.
        headers = {**fault.headers, "ETag": '"of-the-server-of-contents"', "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        shown_bytes = len(content) - first if fault.shown_bytes is None else fault.shown_bytes
        self._send_head(206 if first else 200, {**headers, "Content-Length": str(shown_bytes)})
        if self.command == "GET":
            self._send_pieces(content[first:], fault)

    def _send_pieces(self, content: bytes, fault: Fault) -> None:
        ends = [length for length in (fault.cut_after_bytes, fault.hold_after_bytes) if length is not None]
        sent = content[: min(ends)] if ends else content
        for start in range(0, len(sent), PIECE_BYTES):
            self.wfile.write(sent[start : start + PIECE_BYTES])
        if fault.hold_after_bytes is not None:
            self.server.hub.holding.set()
            self.server.hub.released.wait(HANG_SECONDS)
        if len(sent) < len(content):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    # --- sending ---

    def _send_json(self, value: object) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _send(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self._send_head(status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command == "GET":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _sibling(repository: _Repository, name: str, *, details: bool) -> dict[str, object]:
    if not details:
        return {"rfilename": name}
    size_bytes, content_hash = len(repository.files[name]), repository.content_hash(name)
    if name in repository.in_git:
        return {"rfilename": name, "size": size_bytes, "blobId": content_hash}
    large = {"sha256": content_hash, "size": size_bytes, "pointerSize": 135}
    return {"rfilename": name, "size": size_bytes, "blobId": "0" * 40, "lfs": large}


def _tree_entry(repository: _Repository, name: str) -> dict[str, object]:
    size_bytes, content_hash = len(repository.files[name]), repository.content_hash(name)
    entry: dict[str, object] = {"type": "file", "path": name, "size": size_bytes, "oid": "0" * 40}
    if name in repository.in_git:
        return {**entry, "oid": content_hash}
    return {**entry, "lfs": {"oid": content_hash, "size": size_bytes, "pointerSize": 135}}


def _first_byte(asked_range: str) -> int:
    return int(asked_range.removeprefix("bytes=").removesuffix("-")) if asked_range else 0
