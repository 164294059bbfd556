"""Where the engine's threads run and how urgently: processors, priority, memory of several nodes.

The names and meanings are llama.cpp's. What makes no sense is refused before a model is read; what the system refuses
is told and done without.
"""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tui_llama.errors import SettingsError

CACHE_TYPES = ("f16", "q8_0")
"""How keys and values may be kept. Here, since the command line must know it without loading anything heavy."""
NUMA_MODES = ("distribute", "isolate", "numactl")
LOWEST_PRIORITY, HIGHEST_PRIORITY = -1, 3


@dataclass(frozen=True, slots=True)
class Placement:
    """What a user may say of the threads.

    Args:
        cpu_mask: Processors as the bits of a hexadecimal number, with or without 0x; empty: all.
        cpu_range: Processors from one to another, such as "0-3"; either may be missing. Adds to the mask.
        priority: -1 low, 0 normal, 1 medium, 2 high, 3 real time.
        poll: How long threads spin before they sleep, percent: 0 not at all, 100 longest.
        numa: One of `NUMA_MODES`, or empty: memory is where the system puts it.
    """

    cpu_mask: str = ""
    cpu_range: str = ""
    priority: int = 0
    poll: int = 50
    numa: str = ""


def chosen_processors(placement: Placement) -> frozenset[int]:
    """The processors that the threads may run on.

    Raises:
        SettingsError: the placement makes no sense, or names no processor that this process may use.
    """
    if not LOWEST_PRIORITY <= placement.priority <= HIGHEST_PRIORITY:
        raise SettingsError(
            f"priority {placement.priority} makes no sense", "It must be from -1 (low) to 3 (real time)."
        )
    if not 0 <= placement.poll <= 100:
        raise SettingsError(f"poll {placement.poll} makes no sense", "It must be from 0 to 100, percent.")
    if placement.numa and placement.numa not in NUMA_MODES:
        raise SettingsError(f"there is no NUMA mode {placement.numa!r}", f"Use one of: {', '.join(NUMA_MODES)}.")
    usable = usable_processors()
    if not (placement.cpu_mask or placement.cpu_range):
        return usable
    chosen = (_in_mask(placement.cpu_mask) | _in_range(placement.cpu_range, max(usable))) & usable
    if not chosen:
        given = " ".join(text for text in (placement.cpu_mask, placement.cpu_range) if text)
        raise SettingsError(f"{given} names no processor that is usable", f"Usable here: {_listed(usable)}.")
    return chosen


def usable_processors() -> frozenset[int]:
    """The processors that the system lets this process use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def physical_core_count(processors: Iterable[int] | None = None) -> int:
    """Cores among these processors, those that share one core's units counted once, as far as a quota allows.

    Args:
        processors: None for all that this process may use.
    """
    cores = set()
    for processor in usable_processors() if processors is None else processors:
        siblings = _DEVICES / "cpu" / f"cpu{processor}" / "topology" / "thread_siblings_list"
        try:
            cores.add(siblings.read_text())
        except OSError:  # not Linux, or a container that hides it: every processor counts
            cores.add(str(processor))
    quota = _quota()
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


@dataclass
class Seating:
    """A placement as it is carried out on this machine.

    Args:
        seats: Sets of processors that the threads are dealt out to in turn; none: they run where they are.
        priority: As in `Placement`.
    """

    seats: list[frozenset[int]]
    priority: int
    _notices: dict[str, None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def notices(self) -> tuple[str, ...]:
        """What could not be had, one line each."""
        return tuple(self._notices)

    @property
    def is_anywhere(self) -> bool:
        """Whether threads are left as they are."""
        return not self.seats and self.priority == 0

    def note(self, text: str) -> None:
        """Adds a notice, once."""
        with self._lock:
            self._notices[text] = None

    def sit_down(self, thread: int) -> None:
        """Gives the calling thread, number `thread` of the team, its processors and its priority."""
        if self.seats:
            try:
                os.sched_setaffinity(0, self.seats[thread % len(self.seats)])
            except (AttributeError, OSError):
                self.note("The system does not let threads be bound to processors; they run anywhere.")
        if self.priority:
            try:
                _set_priority(self.priority)
            except (AttributeError, OSError):
                self.note(f"The system does not allow priority {self.priority}; threads run with the usual one.")


def find_seats(placement: Placement) -> Seating:
    """How a placement is carried out on this machine.

    Raises:
        SettingsError: as `chosen_processors`.
    """
    chosen = chosen_processors(placement)
    seats = [chosen] if placement.cpu_mask or placement.cpu_range else []
    seating = Seating(seats, placement.priority)
    if placement.numa in ("distribute", "isolate"):
        nodes = [processors & chosen for processors in _nodes() if processors & chosen]
        if len(nodes) < 2:
            seating.note("The processors in use belong to one memory node, so --numa changes nothing.")
        else:
            here = _current_processor()
            seating.seats = nodes if placement.numa == "distribute" else [node for node in nodes if here in node]
    return seating


_DEVICES = Path("/sys/devices/system")
_CGROUPS = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self")
_NICE = {-1: 5, 1: -5, 2: -10}
_REAL_TIME = 3


def _set_priority(priority: int) -> None:
    """For the calling thread: by niceness, which Linux has for each thread, or by a real-time schedule."""
    if priority == _REAL_TIME:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
    else:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE[priority])


def _nodes() -> list[frozenset[int]]:
    """The processors of each memory node; none where the system does not say."""
    lists = sorted((_DEVICES / "node").glob("node[0-9]*/cpulist"))
    return [frozenset(_in_list(path.read_text())) for path in lists]


def _in_list(text: str) -> Iterable[int]:
    """The numbers in a list such as "0-3,8"."""
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)


def _current_processor() -> int:
    """The processor that this thread runs on now: field 39 of its status, see proc(5)."""
    return int((_PROCESS / "stat").read_text().rpartition(")")[2].split()[36])


def _quota() -> float | None:
    """How many processors' time the control groups of this process allow; None: no limit."""
    try:
        groups = (_PROCESS / "cgroup").read_text()
    except OSError:
        return None
    quotas = []
    for line in groups.splitlines():
        number, controllers, group = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            quotas += _quotas_of_group(group.strip("/"), is_unified=number == "0")
    return min(quotas, default=None)


def _quotas_of_group(group: str, *, is_unified: bool) -> list[float]:
    """The limits of a control group and of all above it, processors."""
    root = _CGROUPS if is_unified else _CGROUPS / "cpu"
    # In a container the path may be the host's; its own group is then at the root.
    folders = [root, *(root.joinpath(*group.split("/")[:depth]) for depth in range(1, len(group.split("/")) + 1))]
    names = ["cpu.max"] if is_unified else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    quotas = []
    for folder in folders:
        try:
            quota, period, *_ = " ".join((folder / name).read_text() for name in names).split()
        except (OSError, ValueError):  # no limit is set here, or it is not shown
            continue
        if quota not in ("max", "-1"):
            quotas.append(int(quota) / int(period))
    return quotas


def _in_mask(text: str) -> frozenset[int]:
    if not text:
        return frozenset()
    digits = text.lower().removeprefix("0x")
    if not digits or set(digits) - set("0123456789abcdef"):
        raise SettingsError(
            f"the CPU mask {text!r} is no hexadecimal number", "Write one bit for each CPU, such as 0xf."
        )
    return frozenset(bit for bit, digit in enumerate(reversed(f"{int(digits, 16):b}")) if digit == "1")


def _in_range(text: str, highest: int) -> frozenset[int]:
    if not text:
        return frozenset()
    first, dash, last = text.partition("-")
    ends = first or "0", last or str(highest)
    if not (dash and (first or last) and all(end.isascii() and end.isdigit() for end in ends)):
        raise SettingsError(f"the CPU range {text!r} is no range", "Write the first and the last CPU, such as 0-3.")
    start, stop = (int(end) for end in ends)
    if start > stop:
        raise SettingsError(f"the CPU range {text!r} ends before it begins", "Write the lower number first.")
    return frozenset(range(start, min(stop, highest) + 1))


def _listed(processors: Iterable[int]) -> str:
    return ", ".join(str(processor) for processor in sorted(processors))
