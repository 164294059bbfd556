"""Draws docs/state-machine.md from the table in tui_llama/conversation.py.

python -m scripts.draw_state_machine
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tui_llama.conversation import SERVER_FAILURES, TRANSITIONS, Event, Late, State
from tui_llama.turn_vocabulary.rows import Row

PAGE = Path(__file__).resolve().parent.parent / "docs" / "state-machine.md"

_HEAD = """# The turn as a state machine

Drawn by `scripts/draw_state_machine.py` from the table in `tui_llama/conversation.py`; do not edit by hand.
A pair of state and event that is not below is illegal: it raises and changes nothing.
"""
_SERVER_FAILURE = "any failure of a server"


def page() -> str:
    """Returns the whole page in Markdown."""
    return "\n".join([_HEAD, _diagram(), _table(), _too_late()])


def _diagram() -> str:
    """Returns a Mermaid diagram of the rows that lead to another state."""
    labels: dict[tuple[State, State], list[type[Event]]] = defaultdict(list)
    for (state, event_type), row in TRANSITIONS.items():
        if row.next_state not in (state, State.CLOSED):
            labels[state, row.next_state].append(event_type)
    arrows = [f"    {old.name} --> {new.name}: {_names(events)}" for (old, new), events in labels.items()]
    return "\n".join(
        [
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> NO_MODEL",
            *arrows,
            "```",
            "",
            f"`Quit` leads from every state to `CLOSED` and is left out of the picture. “{_SERVER_FAILURE}” stands for",
            ", ".join(f"`{kind.__name__}`" for kind in SERVER_FAILURES) + ".",
            "",
        ]
    )


def _table() -> str:
    """Returns a table of all rows that have an effect, ordered by state."""
    lines = ["| State | Event | Actions | Next state | Remark |", "|---|---|---|---|---|"]
    for (state, event_type), row in _by_state():
        if not _is_without_effect(state, row):
            actions = ", ".join(effect.name for effect in row.effects) or "–"
            name = event_type.__name__
            lines.append(f"| {state.value} | {name} | {actions} | {row.next_state.value} | {row.remark} |")
    return "\n".join([*lines, ""])


def _too_late() -> str:
    """Returns a table of the events that each state accepts and ignores."""
    lines = [
        "These events are accepted without effect, because a report may arrive after its load or reply is over "
        "(`Late` is any event of an older load or turn):",
        "",
        "| State | Events |",
        "|---|---|",
    ]
    for state in State:
        events = [
            event_type
            for (row_state, event_type), row in _by_state()
            if row_state is state and event_type is not Late and _is_without_effect(state, row)
        ]
        lines.append(f"| {state.value} | {_names([*events, Late])} |")
    return "\n".join([*lines, ""])


def _names(events: Iterable[type[Event]]) -> str:
    """Returns the names of events, those of a server's failures as one: they always come together."""
    names = (_SERVER_FAILURE if event_type in SERVER_FAILURES else event_type.__name__ for event_type in events)
    return ", ".join(dict.fromkeys(names))


def _by_state() -> list[tuple[tuple[State, type[Event]], Row]]:
    order = list(State)
    return sorted(TRANSITIONS.items(), key=lambda item: order.index(item[0][0]))


def _is_without_effect(state: State, row: Row) -> bool:
    return row.next_state is state and not row.effects and row.remark.startswith("too late")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
