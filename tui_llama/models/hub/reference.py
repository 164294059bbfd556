"""Reads the names that users type for models on the Hugging Face hub.

A name is `hf:OWNER/REPO[@REVISION][:FILE.gguf or QUANTIZATION]`, the same behind `hf.co/`, or an address pasted from
the site. This module checks every part, since it becomes a part of addresses and of folder names later.
"""

import re
from typing import Final
from urllib.parse import unquote

import msgspec

from tui_llama.models.downloads import DownloadError

DEFAULT_REVISION: Final = "main"

_FORMS: Final = "Write hf:OWNER/REPO, hf:OWNER/REPO:FILE.gguf or hf:OWNER/REPO:Q4_K_M."
_SITE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)(?=[/?#]|$)(?P<path>[^?#]*)", re.IGNORECASE)
_SCHEME: Final = "hf:"

# As the hub itself asks (`huggingface_hub.utils.validate_repo_id`); "--" separates owner and name in the cache.
_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"(?!.*(?:\.\.|//))[A-Za-z0-9_](?:[A-Za-z0-9._/+-]{0,198}[A-Za-z0-9_+-])?")
_QUANTIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_NO_MODELS: Final = frozenset(
    {"datasets", "spaces", "kernels", "buckets", "collections", "papers", "docs", "blog", "api"}
)
_FILE_VIEWS: Final = frozenset({"blob", "resolve", "raw"})


class HubReference(msgspec.Struct, frozen=True, tag=True):
    """A model on the hub, as precisely as the user has named it.

    Attributes:
        repository: "OWNER/REPO".
        file: The path of a file in it, with forward slashes; empty where none is named.
        quantization: Such as "Q4_K_M", as typed; empty where none is named. Never together with a file.
        revision: A branch, a tag or a commit.
    """

    repository: str
    file: str = ""
    quantization: str = ""
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        """Writes it as it can be typed again."""
        revision = "" if self.revision == DEFAULT_REVISION else f"@{self.revision}"
        chosen = self.file or self.quantization
        return f"{_SCHEME}{self.repository}{revision}{':' if chosen else ''}{chosen}"


def parse_reference(text: str) -> HubReference | None:
    """Reads what a user has typed.

    Returns:
        What it names, or None where it does not begin like a name on the hub.

    Raises:
        DownloadError: It begins like one but makes no sense.
    """
    typed = text.strip()
    site = _SITE.match(typed)
    if site is not None:
        return _from_site(typed, site["path"])
    if not typed.lower().startswith(_SCHEME):
        return None
    named = typed[len(_SCHEME) :]
    return _from_uri(typed, named[2:]) if named.startswith("//") else _from_name(typed, named)


def is_safe_path(path: str) -> bool:
    """Tells whether a path that the hub or a user gives stays below the folder that it is put into, on every system."""
    parts = path.split("/")
    return path.isprintable() and not set(path) & set('\\:*?"<>|') and not set(parts) & {"", ".", ".."}


def _from_name(typed: str, named: str) -> HubReference:
    """Reads `OWNER/REPO[@REVISION][:CHOICE]`; a revision may also stand at the end."""
    place, colon, choice = named.partition(":")
    repository, at, revision = place.partition("@")
    if not choice.lower().endswith(".gguf") and "@" in choice:
        if at:
            raise _senseless(typed, "it has two revisions")
        choice, at, revision = choice.rpartition("@")
    if (colon and not choice) or (at and not revision):
        raise _senseless(typed, "something is missing at the end")
    return _checked(typed, repository, choice, revision or DEFAULT_REVISION)


def _from_uri(typed: str, named: str) -> HubReference:
    """Reads `OWNER/REPO[@REVISION][/FILE]`, which is how huggingface_hub writes it behind `hf://`."""
    owner, _, rest = named.partition("/")
    name, _, file = rest.partition("/")
    if owner in _NO_MODELS:
        raise _senseless(typed, "it is not a model")
    place = f"{owner}/{name}"
    return _from_name(typed, f"{place}:{file}" if file else place)


def _from_site(typed: str, path: str) -> HubReference:
    """Reads `/OWNER/REPO[/blob/REVISION/FILE]`, or `/OWNER/REPO:CHOICE` as Ollama and llama.cpp take it."""
    owner, _, below = path.strip("/").partition("/")
    name, _, below = below.partition("/")
    if owner in _NO_MODELS:
        raise _senseless(typed, "it is not a model")
    if not below or ":" in name:
        return _from_name(typed, f"{owner}/{name}/{below}".removesuffix("/"))
    view, _, below = below.partition("/")
    revision, _, file = below.partition("/")
    if (view in _FILE_VIEWS and file) or (view == "tree" and revision and not file):
        return _checked(typed, f"{owner}/{name}", unquote(file), unquote(revision))
    raise _senseless(typed, "it does not name a file")


def _checked(typed: str, repository: str, choice: str, revision: str) -> HubReference:
    names = repository.split("/")
    if len(names) != 2 or not all(_NAME.fullmatch(name) for name in names):
        raise _senseless(typed, "a repository has an owner and a name")
    if not _REVISION.fullmatch(revision):
        raise _senseless(typed, "the revision is not valid")
    if choice.lower().endswith(".gguf"):
        if not is_safe_path(choice):
            raise _senseless(typed, "the file name is not valid")
        return HubReference(repository, file=choice, revision=revision)
    if choice.lower() in {"", "latest"}:  # "latest" is what Ollama writes where nothing is chosen
        return HubReference(repository, revision=revision)
    if not _QUANTIZATION.fullmatch(choice):
        raise _senseless(typed, "only GGUF files can be run" if "/" in choice else "the quantization is not valid")
    return HubReference(repository, quantization=choice, revision=revision)


def _senseless(typed: str, reason: str) -> DownloadError:
    shown = " ".join(typed.split())
    return DownloadError(f"{shown[:200]} does not name a model on the hub: {reason}", _FORMS)
