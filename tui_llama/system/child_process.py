"""How this program starts processes of its own: with the package that this process runs, wherever it came from."""

import sys
from pathlib import Path
from typing import Final

# Runs nothing from the current folder, and not whatever other version of the package may be installed.
_START: Final = """
import sys
from importlib import import_module
root, module, *arguments = sys.argv[1:]
if root not in sys.path:
    sys.path.insert(0, root)
import_module(module).main(arguments)
"""


def child_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line of a process that calls `main(arguments)` of a module.

    Args:
        module: Its full name, such as "tui_llama.engine.process.server".
        arguments: Given to `main` as a list of texts.
    """
    root = Path(__file__).resolve().parents[2]
    return (sys.executable, "-P", "-c", _START, str(root), module, *arguments)
