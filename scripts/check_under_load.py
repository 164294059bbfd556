"""Runs the tests several times on a machine that is busy with more important work.

python -m scripts.check_under_load
python -m scripts.check_under_load --times 1 tests/engine -k worker

Busy processes with a higher priority than the tests take most of the processors' time. No test may fail because of
that: see "For developers" in the README. Arguments after the options go to pytest. Only root may raise a priority.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic

# A busy process checks now and then whether its parent is alive, so that none is left however this program ends.
_BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


def main() -> None:
    """Runs the tests as the arguments say. Exits with status 1 if a test failed in any run."""
    options, pytest_arguments = _parse_arguments()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that busy processes are killed
    with _busy_processes(options.busy, options.niceness):
        statuses = [_run_tests(number, options, pytest_arguments) for number in range(1, options.times + 1)]
    failed = sum(status != 0 for status in statuses)
    print(f"{options.times - failed} of {options.times} runs passed beside {options.busy} busy processes", flush=True)
    sys.exit(1 if failed else 0)


def _parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="how often all tests are run (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=8, help="how many busy processes (default: %(default)s)")
    parser.add_argument("--niceness", type=int, default=-5, help="theirs (default: %(default)s)")
    # As many as there are busy processes: fewer would get too little time to end on the same day.
    parser.add_argument("--tests", type=int, default=8, help="how many processes run tests (default: %(default)s)")
    return parser.parse_known_args()


@contextmanager
def _busy_processes(count: int, niceness: int) -> Iterator[None]:
    """Runs `count` busy processes until the end of the block."""
    with ExitStack() as until_the_end:
        for _ in range(count):
            process = until_the_end.enter_context(subprocess.Popen([sys.executable, "-c", _BUSY]))
            until_the_end.callback(process.kill)
            try:
                os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
            except PermissionError:
                raise SystemExit(f"a niceness of {niceness} takes root; --niceness 0 does not") from None
        yield


def _run_tests(number: int, options: argparse.Namespace, pytest_arguments: Sequence[str]) -> int:
    start = monotonic()
    processes = [f"--numprocesses={options.tests}", "--dist=worksteal"]
    status = subprocess.run([sys.executable, "-m", "pytest", *processes, *pytest_arguments], check=False).returncode
    print(f"run {number} of {options.times}: status {status} after {monotonic() - start:.0f} s", flush=True)
    return status


if __name__ == "__main__":
    main()
