"""The folder of personas beside the settings: one file in TOML for each. A file that is broken costs one line."""

import re
import unicodedata
from pathlib import Path
from typing import Final, NamedTuple

from tui_llama import paths
from tui_llama.errors import SettingsError
from tui_llama.files.own_files import replace_own_file
from tui_llama.personas.persona import LONGEST_NAME, Persona, persona_toml, read_persona

_ENDING: Final = ".toml"
_MOST_BYTES: Final = 1 << 20
_MOST_FILES: Final = 1000
_NOT_IN_NAMES: Final = re.compile(r"[^\w .()+,'&-]+")


class Personas(NamedTuple):
    """All personas by their names, in the order of the alphabet, and a line for each file that cannot be read."""

    personas: tuple[Persona, ...]
    problems: tuple[str, ...]


def persona_name(text: str) -> str:
    """Returns a name under which a persona can be stored on any system, as near to the text as possible.

    Raises:
        SettingsError: nothing is left of it.
    """
    name = _NOT_IN_NAMES.sub("-", unicodedata.normalize("NFC", text))
    name = " ".join(name.split())[:LONGEST_NAME].strip(" .-")
    if not name:
        raise SettingsError("A persona needs a name of letters or digits", "Choose another name.")
    return f"{name}-" if name.split(".")[0].lower() in _NAMES_OF_DEVICES else name


_NAMES_OF_DEVICES: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)


def read_personas(folder: Path | None = None) -> Personas:
    """Returns the personas of a folder, by default the user's; none where there is no folder."""
    folder = paths.personas_folder() if folder is None else folder
    try:
        files = sorted(each for each in folder.iterdir() if each.name.endswith(_ENDING) and each.name[0] != ".")
    except FileNotFoundError:
        return Personas((), ())
    except OSError as error:
        return Personas((), (f"{folder}: {error.strerror}",))
    personas: list[Persona] = []
    problems: list[str] = []
    for file in files[:_MOST_FILES]:
        try:
            personas.append(_read(file))
        except SettingsError as error:
            problems.append(f"{file.name}: {error}" + (f" ({error.hint.rstrip('.')})" if error.hint else ""))
    if len(files) > _MOST_FILES:
        problems.append(f"{folder}: only {_MOST_FILES:,} of {len(files):,} files are read")
    return Personas(tuple(sorted(personas, key=lambda each: each.name.casefold())), tuple(problems))


def find_persona(name: str, folder: Path | None = None) -> Persona:
    """Returns the persona of a name; letters may be written large or small, and the beginning is enough if only one
    begins so.

    Raises:
        SettingsError: there is none, several begin so, or its file is broken.
    """
    found, problems = read_personas(folder)
    wanted = name.strip().casefold()
    exact = [each for each in found if each.name == name.strip()]
    same = exact or [each for each in found if each.name.casefold() == wanted]
    begun = same or [each for each in found if wanted and each.name.casefold().startswith(wanted)]
    if len(begun) == 1:
        return begun[0]
    broken = next((each for each in problems if each.casefold().startswith(f"{wanted}{_ENDING}:")), "")
    if broken:
        raise SettingsError(f"The persona cannot be used: {broken}", "Correct the file.")
    names = ", ".join(each.name for each in (begun or found)[:8])
    if begun:
        raise SettingsError(f"Several personas are called {name}: {names}", "Write more of the name.")
    raise SettingsError(f"There is no persona {name[:LONGEST_NAME]}", f"There are: {names}." if names else _NONE_YET)


_NONE_YET: Final = "There is none yet; /persona saves what is chosen in a chat."


def has_persona(name: str, folder: Path | None = None) -> bool:
    """Tells whether there is a file for a persona of this name, broken or not."""
    return paths.is_there(_file(name, folder))


def save_persona(persona: Persona, folder: Path | None = None) -> Path:
    """Writes a persona, in place of the one of the same name; returns its file.

    Raises:
        SettingsError: it cannot be written.
    """
    file = _file(persona.name, folder)
    try:
        replace_own_file(file, persona_toml(persona).encode())
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}", "Check the folder and its disk.") from error
    return file


def delete_persona(name: str, folder: Path | None = None) -> None:
    """Removes the file of a persona; does nothing where there is none.

    Raises:
        SettingsError: it cannot be removed.
    """
    file = _file(name, folder)
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{file} cannot be removed: {error.strerror}", "Check the folder's permissions.") from error


def _file(name: str, folder: Path | None) -> Path:
    return (paths.personas_folder() if folder is None else folder) / f"{name}{_ENDING}"


def _read(file: Path) -> Persona:
    size = paths.file_bytes(file)
    if size is None:
        raise SettingsError("not a file")
    if size > _MOST_BYTES:
        raise SettingsError(f"larger than {_MOST_BYTES >> 20} MiB")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError("not UTF-8 text") from error
    name = file.name.removesuffix(_ENDING)
    if len(name) > LONGEST_NAME:
        raise SettingsError(f"a name of more than {LONGEST_NAME} characters")
    return read_persona(name, text)
