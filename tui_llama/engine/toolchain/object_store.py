"""The machine code of kernels on disk: what a kernel is called by, and where its code is kept and found again.

The folder is named by a hash of every kernel source, the versions of Numba and llvmlite, and the processor: stale code
cannot run. A file is a checksum and an object; one that is damaged counts as missing, so that it is compiled again.
Nothing here compiles, and nothing here runs what is kept: `loader` does.
"""

import hashlib
import importlib.util
import os
import platform
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Self

import llvmlite
import llvmlite.binding as llvm

from tui_llama import paths
from tui_llama.engine.machine import instruction_sets
from tui_llama.errors import EngineError
from tui_llama.files import own_folders
from tui_llama.files.own_files import replace_own_file

_ENGINE: Final = Path(__file__).resolve().parents[1]
_SOURCES: Final = ("kernels", "layouts", "machine/instruction_sets.py", "toolchain/numba_codegen.py")
"""All that machine code depends on: the kernels, the sizes and formats for them, and how they are compiled."""

ENTRY_NAME: Final = "tui_llama_kernel"
"""The name of the function in every object."""

_CHECKSUM_BYTES: Final = 16
_UNUSED_CACHE_SECONDS: Final = 30 * 24 * 3600
_FOLDER_NAME: Final = re.compile(r"[0-9a-f]{16}")
_OBJECT_NAME: Final = re.compile(r"\w[\w.]*\.\w+\.o")
_PART_NAME: Final = re.compile(r"\.\w[\w.]*\.\w+\.o\.[0-9a-f]{16}\.part")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function that is compiled, by its name. `engine.ops` is the table of all that there are.

    Args:
        module: The module of `tui_llama.engine.kernels` that has it.
        name: Its name there.
        arguments: A letter for each argument: "p" for an address, "i" for a whole number, all of 64 bits.
        returns: Whether it returns a whole number, or nothing.
    """

    module: str
    name: str
    arguments: str
    returns: bool = False

    @property
    def is_kept(self) -> bool:
        """True if its code is on disk: this program or another one has compiled it."""
        return paths.is_there(_path_of(self))

    @property
    def line(self) -> str:
        """All of it in one line without a line end, for `from_line` in another process."""
        return f"{self.module} {self.name} {self.arguments} {int(self.returns)}"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Reads what `line` has written."""
        module, name, arguments, returns = line.split()
        return cls(module, name, arguments, returns == "1")


def keep(kernel: Kernel, code: bytes) -> None:
    """Writes an object to where `read` finds it.

    Raises:
        OSError: as the system says.
    """
    path = _path_of(kernel)
    own_folders.make_marked_folder(path.parent)
    replace_own_file(path, _checksum(code) + code)


def read(kernel: Kernel) -> bytes | None:
    """Returns the object of a kernel; None where there is none, or one that is damaged."""
    try:
        return _sound_code(_path_of(kernel).read_bytes())
    except OSError:
        return None


def kernel_sources() -> list[Path]:
    """Returns the files that machine code depends on, in an order that is the same everywhere."""
    found = (
        path for name in _SOURCES for path in ((_ENGINE / name).rglob("*.py") if "." not in name else [_ENGINE / name])
    )
    return sorted(found, key=lambda path: path.relative_to(_ENGINE).as_posix())


@cache
def sources_hash() -> str:
    """Returns sixteen hexadecimal digits that change with any kernel source, the compiler or the processor."""
    digest = hashlib.blake2b(digest_size=8)
    for source in kernel_sources():
        digest.update(source.relative_to(_ENGINE).as_posix().encode())
        digest.update(source.read_bytes())
    features = ",".join(sorted(name for name, on in llvm.get_host_cpu_features().items() if on))
    digest.update(_version_of_numba())
    for text in (
        llvmlite.__version__,
        platform.machine(),
        llvm.get_host_cpu_name(),
        features,
        instruction_sets.INSTRUCTION_SET,
    ):
        digest.update(text.encode())
    return digest.hexdigest()


@cache
def code_folder() -> Path:
    """Returns the folder of the objects, made if it can be; removes folders of other versions that are long unused."""
    parent = paths.kernel_cache_folder()
    folder = parent / sources_hash()
    with suppress(OSError):  # `keep` says so, if there is anything to be kept
        own_folders.make_marked_folder(folder)
        os.utime(folder)
        oldest = time.time() - _UNUSED_CACHE_SECONDS
        # The user may have chosen the folder that they lie in, so there may be anything beside them.
        for other in parent.iterdir():
            if _FOLDER_NAME.fullmatch(other.name):
                own_folders.remove_unused_folder(other, _is_own_name, _is_object, oldest)
    return folder


def _is_own_name(name: str) -> bool:
    """Tells whether a file in a marked folder was put there by `keep`."""
    return bool(_OBJECT_NAME.fullmatch(name) or _PART_NAME.fullmatch(name))


def _is_object(content: bytes) -> bool:
    """Tells whether `keep` has written a content: the first folders had no mark."""
    return _sound_code(content) is not None


def _version_of_numba() -> bytes:
    """Returns what Numba says of its version. Importing the package or reading its metadata would take longer."""
    found = importlib.util.find_spec("numba")
    if found is None or found.origin is None:
        raise EngineError("Numba is not installed", "Install the program again, with its packages.")
    return Path(found.origin).with_name("_version.py").read_bytes()


def _path_of(kernel: Kernel) -> Path:
    return code_folder() / f"{kernel.module}.{kernel.name}.o"


def _sound_code(content: bytes) -> bytes | None:
    """Returns the object in a file that `keep` has written; None where it is none, or damaged."""
    checksum, code = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    return code if checksum == _checksum(code) else None


def _checksum(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_CHECKSUM_BYTES).digest()
