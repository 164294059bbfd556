"""Turns a section of the doctor's report into texts that tests compare."""

from tui_llama.doctor.report import Section


def rows(section: Section) -> dict[str, str]:
    """Returns the text of each row by its name."""
    return {row.name: row.text for row in section.rows}
