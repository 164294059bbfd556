"""Colours of text that can be read in every theme: ours, Textual's, the user's, and the terminal's own.

A theme says its colours, and not on which of its grounds they can be read. So the style sheets write text with
variables that are made here: `$quiet` for what stands back, `$faint` for what may be overlooked, `$primary-text` and
others for coloured words. The contrast is that of WCAG 2.2, section 1.4.3: 4.5 for text, 3 for what is faint.

Where there are no shades to choose from, with the terminal's 16 colours and without any, `$quiet-style` and
`$faint-style` are "dim" in place of a colour.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from textual.color import BLACK, WHITE, Color
from textual.theme import Theme

from tui_llama.terminal.colourless import REVERSED_GROUND

TEXT_CONTRAST: Final = 4.5
FAINT_CONTRAST: Final = 3.0

_COLOURED: Final = ("primary", "secondary", "accent", "success", "warning", "error")
_QUIET_SHARE: Final = 0.7  # at least so much of the plain text's colour in the background
_FAINT_SHARE: Final = 0.55
_CHOSEN_SHARE: Final = 0.2  # of the primary colour in the surface
_STEPS: Final = 20


def readable_variables(theme: Theme, *, has_colours: bool = True) -> dict[str, str]:
    """Returns the variables of the style sheets for text.

    Args:
        theme: The theme.
        has_colours: Whether the terminal shows any.
    """
    colours = {**theme.to_color_system().generate(), **theme.variables}
    made = _of_terminal(colours) if theme.ansi else _of_shades(colours)
    is_flat = theme.ansi or not has_colours
    style = "dim" if is_flat else "none"
    if is_flat:
        made["chosen"] = REVERSED_GROUND
    return {
        **made,
        "quiet-style": style,
        "faint-style": style,
        "quiet-italic": "italic dim" if is_flat else "italic",
        # For texts that are styled by words, which know no "none".
        "quiet-words": f"{made['quiet']} dim" if is_flat else made["quiet"],
        "faint-words": f"{made['faint']} dim" if is_flat else made["faint"],
    }


def contrast(one: Color, other: Color) -> float:
    """Returns the contrast of two colours without transparency, from 1 to 21, as WCAG 2.2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour: Color, grounds: Sequence[Color], least_contrast: float, *, towards: Color | None = None) -> Color:
    """Returns the colour, or the nearest one on the way to another that has this contrast to all grounds.

    Args:
        colour: The colour.
        grounds: What text of it stands on.
        least_contrast: See `contrast`.
        towards: The other colour; None for black or white, whichever can be read better.
    """
    end = towards or max(WHITE, BLACK, key=lambda each: min(contrast(each, ground) for ground in grounds))
    for step in range(_STEPS + 1):
        nearer = colour.blend(end, step / _STEPS)
        if all(contrast(nearer, ground) >= least_contrast for ground in grounds):
            return nearer
    return end


def _of_terminal(colours: Mapping[str, str]) -> dict[str, str]:
    """Returns the terminal's own colours, whose shades nobody knows."""
    coloured = {f"{name}-text": colours[name] for name in _COLOURED}
    return {
        "plain": colours["foreground"],
        "quiet": colours["foreground"],
        "faint": colours["foreground"],
        "chosen-text": colours["foreground"],
        **coloured,
    }


def _of_shades(colours: Mapping[str, str]) -> dict[str, str]:
    background = Color.parse(colours["background"])
    surface, panel = (_opaque(colours[name], background) for name in ("surface", "panel"))
    chosen = surface.blend(_opaque(colours["primary"], background), _CHOSEN_SHARE)
    grounds = [background, surface, chosen]
    plain = readable(_opaque(colours["foreground"], background), [*grounds, panel], TEXT_CONTRAST)
    quiet, faint = (background.blend(plain, share) for share in (_QUIET_SHARE, _FAINT_SHARE))
    texts = {
        "plain": plain,
        "quiet": readable(quiet, grounds, TEXT_CONTRAST, towards=plain),
        "faint": readable(faint, grounds, FAINT_CONTRAST, towards=plain),
        "chosen": chosen,
        "chosen-text": plain,
    }
    for name in _COLOURED:
        texts[f"{name}-text"] = readable(_opaque(colours[name], background), grounds, TEXT_CONTRAST)
    return {name: colour.hex for name, colour in texts.items()}


def _opaque(colour: str, background: Color) -> Color:
    return background + Color.parse(colour)


def _luminance(colour: Color) -> float:
    """Returns the relative luminance of WCAG 2.2, from 0 for black to 1 for white."""
    parts = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
