"""The doctor's page: sections of rows, problems and advice, as a text to paste or as JSON."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

JsonValue: TypeAlias = str | int | float | bool | list[int] | None

NOTHING_WRONG: Final = "Nothing is wrong."


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a section.

    Args:
        name: The name of the fact.
        text: The fact in words; need not be sanitized.
        value: The fact for programs, with sizes in bytes and speeds in bytes a second; None if that is the text.
    """

    name: str
    text: str
    value: JsonValue = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem, or advice on something that could be better.

    Args:
        text: One sentence that says what is wrong.
        remedy: One line that says what to do about it; may be empty.
        is_advice: Whether the program works nevertheless.
    """

    text: str
    remedy: str = ""
    is_advice: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """The result of one examination."""

    title: str
    rows: tuple[Row, ...] = ()
    problems: tuple[Problem, ...] = ()


def what_is_wrong(sections: Iterable[Section]) -> list[Problem]:
    """Returns the problems that are more than advice, each once."""
    return _problems(sections, is_advice=False)


def advice(sections: Iterable[Section]) -> list[Problem]:
    """Returns the advice, each piece once."""
    return _problems(sections, is_advice=True)


def with_texts(sections: Iterable[Section], change: Callable[[str], str]) -> list[Section]:
    """Returns the sections with all texts passed through `change`, except the titles, which are the program's own."""
    return [
        Section(
            section.title,
            tuple(
                replace(
                    row,
                    name=change(row.name),
                    text=change(row.text),
                    value=change(row.value) if isinstance(row.value, str) else row.value,
                )
                for row in section.rows
            ),
            tuple(
                replace(problem, text=change(problem.text), remedy=change(problem.remedy))
                for problem in section.problems
            ),
        )
        for section in sections
    ]


def as_page(sections: Sequence[Section]) -> str:
    """Returns the sections, the problems and the advice as a text that ends in a line feed."""
    blocks = [_block(section) for section in sections if section.rows]
    wrong, better = what_is_wrong(sections), advice(sections)
    blocks.append(_list("What is wrong", wrong) if wrong else NOTHING_WRONG)
    if better:
        blocks.append(_list("What could be better", better))
    return "\n\n".join(blocks) + "\n"


def as_json(sections: Sequence[Section]) -> str:
    """Returns the same page as JSON, for programs."""
    page = {
        "sections": [
            {"title": section.title, "rows": [_as_object(row) for row in section.rows]} for section in sections
        ],
        "wrong": [{"what": problem.text, "remedy": problem.remedy} for problem in what_is_wrong(sections)],
        "advice": [{"what": problem.text, "remedy": problem.remedy} for problem in advice(sections)],
    }
    return json.dumps(page, indent=1) + "\n"


def _problems(sections: Iterable[Section], *, is_advice: bool) -> list[Problem]:
    problems = (problem for section in sections for problem in section.problems)
    return list(dict.fromkeys(problem for problem in problems if problem.is_advice == is_advice))


def _block(section: Section) -> str:
    width = max(len(row.name) for row in section.rows)
    return "\n".join([section.title, *(f"  {row.name:<{width}}  {row.text}".rstrip() for row in section.rows)])


def _list(title: str, problems: Iterable[Problem]) -> str:
    lines = [title]
    for problem in problems:
        lines.append(f"  - {problem.text}")
        lines += [f"    {problem.remedy}"] if problem.remedy else []
    return "\n".join(lines)


def _as_object(row: Row) -> dict[str, JsonValue]:
    return {"name": row.name, "text": row.text, "value": row.text if row.value is None else row.value}
