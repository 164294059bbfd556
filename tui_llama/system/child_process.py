"""The command line of the program's own child processes. A child runs the same copy of the package as its parent."""

import sys
from pathlib import Path
from typing import Final

# A child imports nothing from the current folder, and no other version of the package that may be installed.
_START: Final = """
import sys
from importlib import import_module
root, module, *arguments = sys.argv[1:]
if root not in sys.path:
    sys.path.insert(0, root)
import_module(module).main(arguments)
"""


def child_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Returns the command line of a process that calls `main(arguments)` of a module.

    Args:
        module: The module's full name, such as "tui_llama.engine.process.server".
        arguments: The texts that `main` gets as a list.
    """
    root = Path(__file__).resolve().parents[2]
    return (sys.executable, "-P", "-c", _START, str(root), module, *arguments)
