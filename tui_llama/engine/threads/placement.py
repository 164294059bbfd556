"""Placement of the engine's threads: their processors, their priority, and the memory nodes.

The names and meanings of the settings are llama.cpp's. Settings that make no sense are refused before a model is
read. Settings that the system refuses are reported in a notice, and the engine runs without them.
"""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from tui_llama.engine.machine.topology import current_processor, memory_nodes, usable_processors
from tui_llama.errors import SettingsError

_LOW, _REAL_TIME = -1, 3
_MOST_DIGITS = 1000  # Python refuses to read numbers of more than some thousand digits


@dataclass(frozen=True, slots=True)
class Placement:
    """The user's settings for the threads.

    Args:
        cpu_mask: Processors as the bits of a hexadecimal number, with or without 0x; empty: all.
        cpu_range: First and last processor, such as "0-3"; either may be missing. Adds to the mask.
        priority: -1 low, 0 normal, 1 medium, 2 high, 3 real time.
        poll: How long threads poll before they sleep, percent: 0 not at all, 100 longest.
        numa: One of `protocol.NUMA_MODES`; empty: the system decides where memory is.
    """

    cpu_mask: str = ""
    cpu_range: str = ""
    priority: int = 0
    poll: int = 50
    numa: str = ""


def chosen_processors(placement: Placement) -> frozenset[int]:
    """Returns the processors that the threads may run on.

    Raises:
        SettingsError: the mask or the range makes no sense, or they name no processor that this process may use.
    """
    usable = usable_processors()
    if not (placement.cpu_mask or placement.cpu_range):
        return usable
    chosen = (_in_mask(placement.cpu_mask) | _in_range(placement.cpu_range, max(usable))) & usable
    if not chosen:
        given = " ".join(text for text in (placement.cpu_mask, placement.cpu_range) if text)
        raise SettingsError(f"{given} names no usable processor", f"Usable here: {_listed(usable)}.")
    return chosen


@dataclass
class Seating:
    """A placement as this machine allows it.

    Args:
        seats: Sets of processors that the threads are assigned to in turn; empty: the threads run where they are.
        priority: As in `Placement`.
    """

    seats: list[frozenset[int]]
    priority: int
    _notices: dict[str, None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def notices(self) -> tuple[str, ...]:
        """Settings that the system refused, one line each."""
        return tuple(self._notices)

    @property
    def is_anywhere(self) -> bool:
        """True if threads keep their processors and their priority."""
        return not self.seats and self.priority == 0

    def note(self, text: str) -> None:
        """Adds a notice, once."""
        with self._lock:
            self._notices[text] = None

    def bind_thread(self, thread: int) -> frozenset[int]:
        """Gives the calling thread, number `thread` of the team, its processors and its priority.

        Returns:
            The processors that it had before; empty where the system does not say.
        """
        before = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
        if self.seats:
            try:
                os.sched_setaffinity(0, self.seats[thread % len(self.seats)])
            except (AttributeError, OSError):
                self.note("This system cannot bind threads to processors; they run on any processor.")
        if self.priority:
            try:
                _set_priority(self.priority)
            except (AttributeError, OSError):
                self.note(f"This system does not allow priority {self.priority}; threads run with normal priority.")
        return before


def find_seats(placement: Placement) -> Seating:
    """Decides how a placement is carried out on this machine.

    Raises:
        SettingsError: as `chosen_processors`.
    """
    chosen = chosen_processors(placement)
    seats = [chosen] if placement.cpu_mask or placement.cpu_range else []
    seating = Seating(seats, placement.priority)
    if placement.numa in ("distribute", "isolate"):
        nodes = [processors & chosen for processors in memory_nodes() if processors & chosen]
        if len(nodes) < 2:
            seating.note("The processors in use belong to one memory node, so --numa changes nothing.")
        else:
            here = current_processor()
            here_first = sorted(nodes, key=lambda node: here not in node)
            seating.seats = nodes if placement.numa == "distribute" else here_first[:1]
    return seating


_LOW_NICENESS = 5
_NICENESS = {_LOW: _LOW_NICENESS, 1: -5, 2: -10}


def _set_priority(priority: int) -> None:
    """Sets the calling thread's priority: by niceness, which Linux has for each thread, or by a real-time schedule."""
    thread = threading.get_native_id()
    if priority == _REAL_TIME:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
    elif priority != _LOW or os.getpriority(os.PRIO_PROCESS, thread) < _LOW_NICENESS:
        os.setpriority(os.PRIO_PROCESS, thread, _NICENESS[priority])


def _in_mask(text: str) -> frozenset[int]:
    if not text:
        return frozenset()
    digits = text.lower().removeprefix("0x")
    if not digits or set(digits) - set("0123456789abcdef"):
        raise SettingsError(
            f"the CPU mask {text!r} is not a hexadecimal number", "Write one bit for each CPU, such as 0xf."
        )
    return frozenset(bit for bit, digit in enumerate(reversed(f"{int(digits, 16):b}")) if digit == "1")


def _in_range(text: str, highest: int) -> frozenset[int]:
    if not text:
        return frozenset()
    first, dash, last = text.partition("-")
    ends = first or "0", last or str(highest)
    if not (dash and (first or last) and all(end.isascii() and end.isdigit() for end in ends)):
        raise SettingsError(f"the CPU range {text!r} is not a range", "Write the first and the last CPU, such as 0-3.")
    start, stop = (int(end) if len(end) < _MOST_DIGITS else highest + 1 for end in ends)
    if start > stop:
        raise SettingsError(f"the CPU range {text!r} ends before it begins", "Write the lower number first.")
    return frozenset(range(start, min(stop, highest) + 1))


def _listed(processors: Iterable[int]) -> str:
    return ", ".join(str(processor) for processor in sorted(processors))
