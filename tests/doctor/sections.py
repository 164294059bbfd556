"""What a section of the doctor's report says, as tests compare it."""

from tui_llama.doctor.report import Section


def rows(section: Section) -> dict[str, str]:
    """The text of each row by its name."""
    return {row.name: row.text for row in section.rows}
