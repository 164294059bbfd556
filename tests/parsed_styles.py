"""Parses each style sheet once for the whole suite, whatever number of apps tests open."""

from functools import wraps
from typing import Any


def share_parsed_styles() -> None:
    """Lets all apps of a process share the rules of a style sheet that they would parse to the same rules.

    Textual keeps what it has parsed with each app, and there are hundreds of them. It takes its rules as they are
    and never changes them, since it shares them in the same way within an app.
    """
    from textual.css.model import RuleSet
    from textual.css.stylesheet import Stylesheet

    parsed: dict[Any, list[RuleSet]] = {}
    parse_rules = Stylesheet._parse_rules

    @wraps(parse_rules)
    def parse_once(sheet: Stylesheet, *arguments: Any, **named: Any) -> list[RuleSet]:
        key = (frozenset(sheet._variables.items()), arguments, frozenset(named.items()))
        if key not in parsed:
            parsed[key] = parse_rules(sheet, *arguments, **named)
        return parsed[key]

    Stylesheet._parse_rules = parse_once  # type: ignore[method-assign, assignment]
