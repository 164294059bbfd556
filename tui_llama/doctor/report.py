"""The page: sections of rows, what is wrong and what could be better, as a text to paste or as JSON."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

JsonValue: TypeAlias = str | int | float | bool | list[int] | None

NOTHING_WRONG: Final = "Nothing is wrong."


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a section.

    Args:
        name: What is told.
        text: In words. Need not be safe to print.
        value: The same for programs, sizes in bytes and speeds in bytes a second; None where that is the text.
    """

    name: str
    text: str
    value: JsonValue = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, or only not as good as it could be.

    Args:
        text: One sentence.
        remedy: What to do about it, one line; may be empty.
        is_advice: Whether the program works all the same.
    """

    text: str
    remedy: str = ""
    is_advice: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """What was seen in one place."""

    title: str
    rows: tuple[Row, ...] = ()
    problems: tuple[Problem, ...] = ()


def what_is_wrong(sections: Iterable[Section]) -> list[Problem]:
    """The problems that are no mere advice, each once."""
    return _problems(sections, is_advice=False)


def advice(sections: Iterable[Section]) -> list[Problem]:
    """What could be better, each once."""
    return _problems(sections, is_advice=True)


def with_texts(sections: Iterable[Section], change: Callable[[str], str]) -> list[Section]:
    """The sections with every text of theirs passed through `change`; titles are our own and stay."""
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
    """The sections as a text, and at its end what is wrong; every line but the last ends in a line feed."""
    blocks = [_block(section) for section in sections if section.rows]
    wrong, better = what_is_wrong(sections), advice(sections)
    blocks.append(_list("What is wrong", wrong) if wrong else NOTHING_WRONG)
    if better:
        blocks.append(_list("What could be better", better))
    return "\n\n".join(blocks) + "\n"


def as_json(sections: Sequence[Section]) -> str:
    """The same for programs."""
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
