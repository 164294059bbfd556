"""The colour themes: the program's own, and the user's, which lie as files in a folder beside the settings.

A theme's file is TOML with the names that `styles/themes.toml` has: `dark`, and colours such as `primary`. Its name is
the theme's. A file that is wrong is told and left out.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

from textual.color import Color, ColorParseError
from textual.theme import Theme

from tui_llama import paths
from tui_llama.text_safety import sanitize_line

_COLOURS: Final = (
    "primary",
    "secondary",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "boost",
    "success",
    "warning",
    "error",
)
_MOST_FILES: Final = 200
_MOST_BYTES: Final = 1 << 16


def own_themes() -> list[Theme]:
    """Returns the program's own themes."""
    with (paths.style_folder() / "themes.toml").open("rb") as file:
        return [Theme(name=name, **colours) for name, colours in tomllib.load(file).items()]


def user_themes(folder: Path) -> tuple[list[Theme], list[str]]:
    """Returns the themes in a folder, which need not exist, and what is wrong with the others, safe to print."""
    themes, problems = [], []
    try:
        files = sorted(folder.glob("*.toml"))[:_MOST_FILES]
    except OSError as error:
        return [], [f"The folder of themes cannot be read: {error.strerror}."]
    for file in files:
        try:
            themes.append(_theme(file))
        except (OSError, ValueError, RecursionError) as error:
            cause = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(sanitize_line(f"The theme {file.name} is left out: {cause}."))
    return themes, problems


def _theme(file: Path) -> Theme:
    """Reads a theme.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no theme.
    """
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError("the file is too large")
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name == "dark" and isinstance(value, bool):
            values[name] = value
        elif name in _COLOURS and isinstance(value, str):
            values[name] = _checked_colour(name, value)
        elif name in _COLOURS or name == "dark":
            raise ValueError(f"{name} has a wrong type")
        else:
            raise ValueError(f"{name!r} is not known; known are dark, {', '.join(_COLOURS)}")
    if "primary" not in values:
        raise ValueError("primary is missing")
    return Theme(name=sanitize_line(file.stem), **values)


def _checked_colour(name: str, value: str) -> str:
    try:
        Color.parse(value)
    except ColorParseError as error:
        raise ValueError(f"{name}: {value!r} is no colour") from error
    return value
