"""What the mouse selects of a text."""

from textual.selection import Selection


def extracted(text: str, selection: Selection, mark_lengths: tuple[int, ...] = ()) -> str:
    """Returns what is selected of a text.

    Args:
        text: The text, in which only line feeds end lines.
        selection: From where to where.
        mark_lengths: How many characters the first lines have before their text. These are left out.
    """
    selected: list[str] = []
    for number, line in enumerate(text.split("\n")):
        if (span := selection.get_span(number)) is not None:
            start, end = span
            first = max(start, mark_lengths[number] if number < len(mark_lengths) else 0)
            selected.append(line[first:] if end == -1 else line[first:end])
    return "\n".join(selected)
