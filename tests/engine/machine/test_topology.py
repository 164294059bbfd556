"""What the machine has: read from a made-up /sys and /proc."""

from pathlib import Path

import pytest

from tui_llama.engine.machine import topology
from tui_llama.engine.machine.topology import current_processor, memory_nodes, physical_core_count, usable_processors


class Machine:
    """Files as Linux has them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        for name, folder in (("_DEVICES", "devices"), ("_CGROUPS", "cgroup"), ("_PROCESS", "process")):
            monkeypatch.setattr(topology, name, root / folder)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_processors_that_share_a_core_count_once(machine: Machine) -> None:
    for processor in range(8):
        siblings = f"{processor % 4},{processor % 4 + 4}\n"
        machine.write(f"devices/cpu/cpu{processor}/topology/thread_siblings_list", siblings)
    assert physical_core_count(range(8)) == 4
    assert physical_core_count([0, 4]) == 1
    assert physical_core_count([0, 1, 5]) == 2


def test_without_a_topology_every_processor_counts(machine: Machine) -> None:
    assert physical_core_count([0, 2, 9]) == 3
    assert physical_core_count() == len(usable_processors())


@pytest.mark.parametrize(
    ("limit", "cores"), [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 6)]
)
def test_a_container_s_quota_limits_the_cores(machine: Machine, limit: str, cores: int) -> None:
    machine.write("process/cgroup", "0::/\n")
    machine.write("cgroup/cpu.max", limit + "\n")
    assert physical_core_count(range(6)) == cores


def test_the_tightest_quota_of_all_groups_above_counts(machine: Machine) -> None:
    machine.write("process/cgroup", "0::/slice/session\n")
    machine.write("cgroup/slice/cpu.max", "300000 100000\n")
    machine.write("cgroup/slice/session/cpu.max", "400000 100000\n")
    assert physical_core_count(range(6)) == 3


def test_quotas_of_the_older_control_groups_count_too(machine: Machine) -> None:
    machine.write("process/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n")
    machine.write("cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    machine.write("cgroup/cpu/cpu.cfs_period_us", "100000\n")
    machine.write("cgroup/cpu/job/cpu.cfs_quota_us", "200000\n")
    machine.write("cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    assert physical_core_count(range(6)) == 2


def test_memory_nodes_are_read_with_their_processors(machine: Machine) -> None:
    assert memory_nodes() == []
    machine.write("devices/node/node0/cpulist", "0-2,8\n")
    machine.write("devices/node/node1/cpulist", "3\n")
    machine.write("devices/node/node2/cpulist", "\n")  # memory without processors
    assert memory_nodes() == [{0, 1, 2, 8}, {3}, set()]


def test_the_current_processor_is_found_behind_a_name_with_brackets(machine: Machine) -> None:
    fields = ["S", *(str(number) for number in range(100, 149))]
    machine.write("process/stat", f"1 (a) b) {' '.join(fields)}\n")
    assert current_processor() == 135
