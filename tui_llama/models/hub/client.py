"""Asks the Hugging Face hub for lists of files, for what it knows of a file, and for contents.

huggingface_hub brings what users set up for all their programs: the connection with its proxies and certificates, the
token, the addresses, the offline mode. The requests are made here. Its own download function starts a broken file
again from nothing, checks no hash of what comes over HTTP, sleeps where nobody can stop it, and in hf_xet reports
from threads in which an exception stops nothing. Everything on the hub, files in its newer Xet storage too, can be
fetched over plain HTTP, with ranges; that way all of it is in our hands.

The token goes to the hub alone: the connection drops it where a redirect leads to another host. It appears in no text.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

import msgspec

import tui_llama
from tui_llama.models.downloads import DownloadError
from tui_llama.models.hub.cache import is_commit, is_content_hash
from tui_llama.models.hub.choice import HubFile
from tui_llama.models.hub.explanations import Answer, Explainer, first_line, shown_host
from tui_llama.models.hub.patience import HubUnreachableError, PassingFailure, Patience
from tui_llama.models.hub.reference import HubReference, is_safe_path

MOST_LISTING_BYTES: Final = 64 << 20

_INSTALL_HINT: Final = "Install it with: pip install 'huggingface_hub>=1.0'"
_AS_IT_IS: Final[Mapping[str, str]] = {"Accept-Encoding": "identity"}


class HubResponse(Answer, Protocol):
    """The part in use of a response of httpx (huggingface_hub 1) and of httpx2 (huggingface_hub 2)."""

    def iter_raw(self) -> Iterator[bytes]:
        """Gives the body piece by piece as it comes."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Gives the body likewise, unpacked where the server has packed it."""


class HubListing(msgspec.Struct, frozen=True):
    """The content of a repository at a commit.

    Attributes:
        commit: 40 hexadecimal digits.
        files: Its GGUF files.
    """

    commit: str
    files: tuple[HubFile, ...]


class _LargeFile(msgspec.Struct, frozen=True):
    sha256: str = ""


class _ListedFile(msgspec.Struct, frozen=True, rename={"blob_id": "blobId"}):
    rfilename: str
    size: int | None = None
    lfs: _LargeFile | None = None
    blob_id: str | None = None


class _ListedRepository(msgspec.Struct, frozen=True):
    sha: str
    siblings: tuple[_ListedFile, ...] | None = None


class HubClient:
    """Asks the hub.

    Raises:
        DownloadError: huggingface_hub is missing, or what is set up for it makes no sense.
    """

    def __init__(self) -> None:
        _load_library()
        from huggingface_hub import constants
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its httpx, whichever that is

        self.cache_folder = Path(constants.HF_HUB_CACHE).expanduser().absolute()
        self._endpoint = constants.ENDPOINT
        self._host = _checked_host(self._endpoint)
        self._explainer = Explainer(self._endpoint)
        self._is_offline = constants.HF_HUB_OFFLINE
        self._timeout_seconds = constants.HF_HUB_DOWNLOAD_TIMEOUT
        self._transport_error: type[Exception] = HTTPError
        self._has_answered = False
        self._headers: dict[str, str] | None = None

    def list_files(self, reference: HubReference, patience: Patience) -> HubListing:
        """Lists the GGUF files of a repository at the revision.

        Raises:
            HubUnreachableError: It could not be asked.
            DownloadError: It does not give it out, or something else than the list.
        """
        while True:
            try:
                return self._listing(reference)
            except PassingFailure as failure:
                patience.bear(failure)

    def describe(self, reference: HubReference, commit: str, file: HubFile, patience: Patience) -> HubFile:
        """Completes what the list has told of a file by what the hub says where the file is asked for.

        Some mirrors list names only.
        """
        while file.size_bytes < 0 or not file.content_hash:
            try:
                return self._described(reference, commit, file)
            except PassingFailure as failure:
                patience.bear(failure)
        return file

    @contextmanager
    def content(self, reference: HubReference, commit: str, file: HubFile, from_byte: int) -> Iterator[HubResponse]:
        """Asks for the content of a file.

        Args:
            reference: Its repository.
            commit: Which state of it.
            file: The file.
            from_byte: Where to begin; the answer may begin at 0 all the same (status 200 instead of 206).

        Raises:
            PassingFailure: It may work if tried again; also while the answer is read.
            DownloadError: It will not.
        """
        headers = {**_AS_IT_IS, "Range": f"bytes={from_byte}-"} if from_byte else _AS_IT_IS
        with self._answer("GET", self._file_address(reference, commit, file), reference, headers) as response:
            yield response

    # --- questions ---

    def _listing(self, reference: HubReference) -> HubListing:
        revision = quote(reference.revision, safe="")
        address = f"{self._endpoint}/api/models/{reference.repository}/revision/{revision}?blobs=true"
        with self._answer("GET", address, reference) as response:
            text = bytearray()
            for piece in response.iter_bytes():
                text += piece
                if len(text) > MOST_LISTING_BYTES:
                    raise DownloadError(f"{self._host} lists more files than this program accepts")
        try:
            listed = msgspec.json.decode(text, type=_ListedRepository)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            what = "a web page" if text.lstrip()[:1] == b"<" else "something else"
            raise HubUnreachableError(
                f"{self._host} sent {what} instead of a list of files",
                "Check HF_ENDPOINT and the proxy; some networks require a login in the browser first.",
            ) from error
        if not is_commit(listed.sha):
            raise DownloadError(f"{self._host} does not say which commit {reference} is")
        return HubListing(listed.sha, tuple(_hub_files(listed)))

    def _described(self, reference: HubReference, commit: str, file: HubFile) -> HubFile:
        with self._answer("HEAD", self._file_address(reference, commit, file), reference, _AS_IT_IS) as response:
            # The hub tells it where it sends us on to the server of contents; that one's own tags are other ones.
            answers = [*getattr(response, "history", ()), response]
            told = next((answer.headers for answer in answers if "X-Linked-Etag" in answer.headers), response.headers)
        content_hash = (told.get("X-Linked-Etag") or told.get("ETag") or "").removeprefix("W/").strip('"')
        size = told.get("X-Linked-Size") or told.get("Content-Length") or ""
        if not is_content_hash(content_hash) or not size.isascii() or not size.isdigit():
            raise DownloadError(
                f"{self._host} does not give the size and hash of {file.name}, so the file could not be checked",
                "Unset HF_ENDPOINT to use the hub itself.",
            )
        return HubFile(file.name, int(size), content_hash)

    def _file_address(self, reference: HubReference, commit: str, file: HubFile) -> str:
        return f"{self._endpoint}/{reference.repository}/resolve/{commit}/{quote(file.name)}"

    # --- answers ---

    @contextmanager
    def _answer(
        self, method: str, address: str, reference: HubReference, headers: Mapping[str, str] | None = None
    ) -> Iterator[HubResponse]:
        """Sends a request; translates what goes wrong with it, while its answer is read too."""
        if self._is_offline:
            raise HubUnreachableError(
                f"{reference} is not on this machine, and HF_HUB_OFFLINE forbids asking {self._host}",
                "Unset HF_HUB_OFFLINE to download it.",
            )
        from huggingface_hub import get_session

        sent = {**self._authorization(), **(headers or {})}
        try:
            session = get_session()
        except Exception as error:  # whatever httpx says to proxies and certificates that make no sense
            raise DownloadError(
                "the connection to the hub cannot be set up: " + first_line(error),
                "Check HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE.",
            ) from error
        try:
            with ExitStack() as until_read:
                answer = session.stream(
                    method, address, headers=sent, timeout=self._timeout_seconds, follow_redirects=True
                )
                try:
                    response = until_read.enter_context(answer)
                except (ValueError, OverflowError) as error:  # addresses that only the system's functions refuse
                    raise self._explainer.bad_address() from error
                self._has_answered = True
                if response.status_code not in {200, 206}:
                    raise self._explainer.refusal(response, reference, has_token=self._has_token())
                yield response
        except self._transport_error as error:
            raise self._explainer.failed_connection(error, has_answered=self._has_answered) from error

    def _authorization(self) -> dict[str, str]:
        """Returns the headers that huggingface_hub sends, with the user's token if there is one."""
        if self._headers is None:
            from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, but lazy

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    headers = build_hf_headers(library_name="tui-llama", library_version=tui_llama.__version__)
                except Exception:
                    # The file of the token cannot be read, or a new one cannot be had for one that ran out. Most
                    # models need none, and those that do are refused with the way to get one.
                    headers = build_hf_headers(
                        library_name="tui-llama", library_version=tui_llama.__version__, token=False
                    )
            token = headers.get("authorization", "")
            if not (token.isascii() and token.isprintable()):
                # Checked here, since the connection would name the token in its complaint.
                raise DownloadError("the token in HF_TOKEN has invalid characters", "Copy the token again.")
            self._headers = headers
        return self._headers

    def _has_token(self) -> bool:
        return "authorization" in self._authorization()


def _load_library() -> None:
    """Imports huggingface_hub and keeps it from talking, to its makers or to the terminal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import huggingface_hub
            from huggingface_hub import constants, utils
    except ImportError as error:
        raise DownloadError("downloads from Hugging Face need the package huggingface_hub", _INSTALL_HINT) from error
    except ValueError as error:  # numbers in its variables that are none
        raise DownloadError(
            f"huggingface_hub cannot be used: {first_line(error)}", "Check the HF_… variables."
        ) from error
    if int(huggingface_hub.__version__.partition(".")[0]) < 1:
        raise DownloadError(f"huggingface_hub {huggingface_hub.__version__} is too old for this program", _INSTALL_HINT)
    # Read at every request: without this it would tell which packages and which coding agent there are.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    utils.logging.set_verbosity(logging.CRITICAL)


def _checked_host(endpoint: str) -> str:
    """Returns the host to show; raises `DownloadError` where the endpoint is no address."""
    host = shown_host(endpoint)
    if not host or not _can_be_asked(endpoint):
        raise DownloadError("HF_ENDPOINT is not a web address", "Unset it, or write it like https://HOST.")
    return host


def _can_be_asked(address: str) -> bool:
    try:
        parts = urlsplit(address)
        (parts.hostname or "").encode("idna")
        return parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:  # no port, or no name that a host can have
        return False


def _hub_files(listed: _ListedRepository) -> Iterator[HubFile]:
    for file in listed.siblings or ():
        # The name becomes a path on this machine, and the hash a file name.
        if file.rfilename.lower().endswith(".gguf") and is_safe_path(file.rfilename):
            content_hash = (file.lfs.sha256 if file.lfs is not None else file.blob_id) or ""
            size_bytes = -1 if file.size is None else file.size
            yield HubFile(file.rfilename, size_bytes, content_hash if is_content_hash(content_hash) else "")
