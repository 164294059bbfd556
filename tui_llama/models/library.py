"""Finds the model files that are already on this machine, wherever a program for models has put them.

Looked through are our own folder, the Hugging Face cache, LM Studio's, llama.cpp's and Ollama's. Nothing is copied,
moved or written, and of a file only the first bytes are read: whether it is sound is for the engine to say.

Other programs have filled those folders. Names are given out as they are and must be made safe before they
are shown; a folder that cannot be read is passed over; a search ends after `MAX_ENTRIES` however the folders lead
into one another. An Ollama manifest names a file by its digest only, so it cannot point anywhere else.
"""

import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tui_llama import paths
from tui_llama.files.model_parts import all_parts, part_name, without_part
from tui_llama.models.starter.file import WORKING_FOLDER_PREFIX

MAX_DEPTH: Final = 8
MAX_ENTRIES: Final = 50_000
MAX_SETTINGS_BYTES: Final = 1 << 20

OLLAMA_SERVICE_FOLDER: Final = Path("/usr/share/ollama/.ollama/models")

OUR_FOLDER: Final = "our folder"
HUGGING_FACE: Final = "Hugging Face"
LM_STUDIO: Final = "LM Studio"
LLAMA_CPP: Final = "llama.cpp"
OLLAMA: Final = "Ollama"

# Also the order in which models are listed, and who keeps a file that several have.
_ORIGINS: Final = (OUR_FOLDER, HUGGING_FACE, LM_STUDIO, LLAMA_CPP, OLLAMA)

_MAGIC: Final = b"GGUF"
_UNFINISHED: Final = ".incomplete"  # as hub/cache.py and huggingface_hub itself call them
_DIGEST = re.compile(r"sha256:(?P<hexadecimal>[0-9a-f]{64})")
_OLLAMA_WEIGHTS: Final = "application/vnd.ollama.image.model"
_OLLAMA_HOSTS: Final = frozenset({"registry.ollama.ai", "ollama.com"})

Structure = TypeVar("Structure", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model on this machine.

    Args:
        path: Its absolute path, of a split model that of the first part; may be a link, as in the Hugging Face cache.
        name: What to call it: its file name without the ending, or Ollama's name and tag. Not safe to print.
        size_bytes: Of the file, or of all parts that are there.
        origin: The owner of its folder, such as "Ollama".
    """

    path: Path
    name: str
    size_bytes: int
    origin: str


@dataclass(frozen=True, slots=True)
class UnfinishedDownload:
    """The beginning of a file of the Hugging Face hub, fetched by us or by another program with the same cache.

    Args:
        path: Its path; the next download of the same file goes on with it.
        repository: Such as "owner/name". Not safe to print.
        size_bytes: The bytes that have come.
        modified_seconds: The time at which the last of them came, since 1970.
    """

    path: Path
    repository: str
    size_bytes: int
    modified_seconds: float


class _OllamaLayer(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str = ""
    digest: str = ""


class _OllamaManifest(msgspec.Struct, frozen=True):
    layers: tuple[_OllamaLayer, ...] = ()


class _LmStudioSettings(msgspec.Struct, frozen=True, rename="camel"):
    downloads_folder: str = ""


def find_models(home: Path | None = None, environment: Mapping[str, str] | None = None) -> list[FoundModel]:
    """Lists the model files on this machine: our own first, then by origin, each in the order of names.

    A file that several folders lead to is listed once, and a split model as the first of its parts. Projectors of
    images (`mmproj`) are left out, since they cannot be opened by themselves.

    Args:
        home: The user's home folder; by default the real one.
        environment: Environment variables that move those folders; by default the real ones.
    """
    # Unlike Path.home(), this never raises where the user has no home.
    home = Path(os.path.expanduser("~")) if home is None else home  # noqa: PTH111
    return _Search(home, os.environ if environment is None else environment).run()


def find_unfinished(home: Path | None = None, environment: Mapping[str, str] | None = None) -> list[UnfinishedDownload]:
    """Lists the models of which only a beginning has come, in the cache of Hugging Face; see `find_models`."""
    home = Path(os.path.expanduser("~")) if home is None else home  # noqa: PTH111 - as above
    return list(_Search(home, os.environ if environment is None else environment).unfinished())


class _Search:
    """One look through all the folders."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        self._environment = environment
        self._entries_left = MAX_ENTRIES

    def run(self) -> list[FoundModel]:
        found: dict[tuple[int, int], FoundModel] = {}
        for path, name, origin in self._candidates():
            status = _status(path)
            # In our own folder, what is no model is listed too: its user expects it, and learns why it cannot run.
            if status is not None and (_holds_gguf(path, status) or (origin == OUR_FOLDER and _is_file(status))):
                model = FoundModel(path.absolute(), _encodable(name), model_bytes(path) or 0, origin)
                known = found.setdefault((status.st_dev, status.st_ino), model)
                if model.size_bytes > known.size_bytes:  # of several snapshots of a split model, one with more parts
                    found[status.st_dev, status.st_ino] = model
        return sorted(found.values(), key=_place_in_list)

    def unfinished(self) -> Iterator[UnfinishedDownload]:
        for snapshots in self._hugging_face_snapshots():
            repository = snapshots.parent
            for path in self._entries(repository / "blobs"):
                status = _status(path) if path.suffix == _UNFINISHED else None
                if status is not None and stat.S_ISREG(status.st_mode):
                    name = _encodable(repository.name.removeprefix("models--").replace("--", "/", 1))
                    yield UnfinishedDownload(path.absolute(), name, status.st_size, status.st_mtime)

    def _candidates(self) -> Iterator[tuple[Path, str, str]]:
        """Yields the path, the name and the origin of what may be a model."""
        for origin, folders in (
            (OUR_FOLDER, [paths.models_folder()]),
            (HUGGING_FACE, self._hugging_face_snapshots()),
            (LM_STUDIO, self._lm_studio_folders()),
            (LLAMA_CPP, self._llama_cpp_folders()),
        ):
            for folder in folders:
                for path in self._files_below(folder):
                    if _stands_for_a_model(path):
                        yield path, without_part(path.stem), origin
        for folder in self._ollama_folders():
            for path, name in self._ollama_models(folder):
                yield path, name, OLLAMA

    # --- where the others keep their models ---

    def _hugging_face_snapshots(self) -> Iterator[Path]:
        """Yields the snapshots of the hub's cache.

        Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
        """
        hub = (
            self._named_folder("HF_HUB_CACHE")
            or self._named_folder("HUGGINGFACE_HUB_CACHE")
            or self._named_folder("HF_HOME", "hub")
            or self._cache_folder() / "huggingface" / "hub"
        )
        for repository in self._entries(hub):
            if repository.name.startswith("models--"):
                yield repository / "snapshots"

    def _lm_studio_folders(self) -> Iterator[Path]:
        """Yields LM Studio's own folder, wherever the user has moved it, and the download folder in its settings."""
        pointer = _read_small(self._home / ".lmstudio-home-pointer").decode("utf-8", "replace").strip()
        moved = [self._folder(pointer)] if pointer else []
        for folder in (*moved, self._home / ".lmstudio", self._home / ".cache" / "lm-studio"):
            yield folder / "models"
            settings = _decoded(_read_small(folder / "settings.json"), _LmStudioSettings)
            if settings is not None and settings.downloads_folder:
                yield self._folder(settings.downloads_folder)

    def _llama_cpp_folders(self) -> list[Path]:
        """Returns the folders of llama.cpp's downloads. Source: common/common.cpp (`fs_get_cache_directory`)."""
        named = self._named_folder("LLAMA_CACHE")
        if named is not None:
            return [named]
        on_windows = self._named_folder("LOCALAPPDATA", "llama.cpp")
        folders = [self._cache_folder() / "llama.cpp", self._home / "Library" / "Caches" / "llama.cpp"]
        return folders if on_windows is None else [*folders, on_windows]

    def _ollama_folders(self) -> list[Path]:
        """Returns the folders of Ollama's models.

        Source: https://github.com/ollama/ollama/blob/main/docs/faq.mdx (where models are stored).
        """
        named = self._named_folder("OLLAMA_MODELS")
        return [named or self._home / ".ollama" / "models", OLLAMA_SERVICE_FOLDER]

    def _ollama_models(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Yields the weights that manifests name; newer versions have a second folder, `manifests-v2`."""
        for manifests in self._entries(folder):
            if manifests.name.startswith("manifest"):
                for path in self._files_below(manifests):
                    weights = _ollama_weights(path)
                    if weights is not None:
                        yield folder / "blobs" / weights, _ollama_name(path.relative_to(manifests))

    def _cache_folder(self) -> Path:
        return self._named_folder("XDG_CACHE_HOME") or self._home / ".cache"

    def _named_folder(self, variable: str, *below: str) -> Path | None:
        """Returns the folder that an environment variable names, or one below it; None where it is not set."""
        name = self._environment.get(variable)
        return self._folder(name).joinpath(*below) if name else None

    def _folder(self, name: str) -> Path:
        return self._home / name[2:] if name.startswith(("~/", "~\\")) else Path(name)

    # --- walking ---

    def _files_below(self, folder: Path) -> Iterator[Path]:
        """Yields everything below `folder` that is no folder; follows links, but enters no folder twice.

        A folder that holds a download of the starter is not entered: what is in it is not whole yet.
        """
        entered: set[tuple[int, int]] = set()
        waiting = [(folder, 0)]
        while waiting:
            current, depth = waiting.pop()
            status = _status(current)
            if status is None or (status.st_dev, status.st_ino) in entered:
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield current
            elif depth <= MAX_DEPTH and not current.name.startswith(WORKING_FOLDER_PREFIX):
                entered.add((status.st_dev, status.st_ino))
                waiting.extend((entry, depth + 1) for entry in reversed(self._entries(current)))

    def _entries(self, folder: Path) -> list[Path]:
        """Returns what is in a folder, in the order of names; nothing where it cannot be read."""
        try:
            with os.scandir(folder) as entries:
                found = [Path(entry.path) for entry in itertools.islice(entries, self._entries_left)]
        except OSError:  # someone else's folder that is missing or closed to us is no error
            return []
        self._entries_left -= len(found)
        return sorted(found)


def model_bytes(path: Path) -> int | None:
    """Returns the bytes of a model's file, or of all its parts that are there; None if the first is not there."""
    first, *others = map(paths.file_bytes, all_parts(path))
    return None if first is None else first + sum(filter(None, others))


def _stands_for_a_model(path: Path) -> bool:
    """Tells whether a name is that of a model, or of the first part of one."""
    if path.suffix.lower() != ".gguf" or "mmproj" in path.name.lower():
        return False
    part = part_name(path.name)
    return part is None or part.number == 1


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def _holds_gguf(path: Path, status: os.stat_result) -> bool:
    return _is_file(status) and _read_small(path, len(_MAGIC), cut=True) == _MAGIC


def _ollama_weights(manifest_path: Path) -> str | None:
    """Returns the file name, below `blobs`, of the weights that a manifest names."""
    manifest = _decoded(_read_small(manifest_path), _OllamaManifest)
    for layer in manifest.layers if manifest is not None else ():
        digest = _DIGEST.fullmatch(layer.digest)
        if layer.media_type == _OLLAMA_WEIGHTS and digest is not None:
            return f"sha256-{digest['hexadecimal']}"
    return None


def _ollama_name(manifest_path: Path) -> str:
    """Returns the name under which Ollama knows a model: `host/namespace/model/tag` without what is usual."""
    *folders, tag = manifest_path.parts
    if folders and folders[0] in _OLLAMA_HOSTS:
        del folders[0]
        if folders and folders[0] == "library":
            del folders[0]
    return f"{'/'.join(folders)}:{tag}"


def _decoded(content: bytes, kind: type[Structure]) -> Structure | None:
    """Returns the JSON text as a structure; None where it is something else."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _read_small(path: Path, most_bytes: int = MAX_SETTINGS_BYTES, *, cut: bool = False) -> bytes:
    """Returns the content of a regular file; nothing where there is none, or where it is too long and not to be cut."""
    status = _status(path)
    if status is None or not stat.S_ISREG(status.st_mode) or (status.st_size > most_bytes and not cut):
        return b""
    try:
        with path.open("rb") as file:
            return file.read(most_bytes)
    except OSError:  # as with folders: not ours to complain about
        return b""


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):  # dangling links, loops of links, names that no system takes
        return None


def _encodable(name: str) -> str:
    """Returns a file name with "?" for bytes that are no text: the database and the screen could not take them."""
    return name.encode("utf-8", "replace").decode()


def _place_in_list(model: FoundModel) -> tuple[int, list[tuple[int, str]], str]:
    """Returns what lists are sorted by: the origin, then the name, with numbers in the order of their values."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", model.name.casefold())
    natural = [(int(piece), "") if piece[0] in "0123456789" else (-1, piece) for piece in pieces]
    return _ORIGINS.index(model.origin), natural, str(model.path)
