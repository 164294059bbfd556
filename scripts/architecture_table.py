"""Tries every architecture, and prints a table in Markdown of what was tried and what came of it.

    python -m scripts.architecture_table [--only gemma3 gpt-oss]

For each declared architecture:

- **golden cases**: how many there are in the folder that `TUI_LLAMA_SHARED` names, else in `../shared`; with none, how
  many random models a real llama-server has read beside us (needs the package xllamacpp).
- **ratio**: the largest part that our error is of llama.cpp's, in cases with quantised weights.
- **error F16**: the largest error in the others, and what part it is of llama.cpp's in the same case; small ones are
  right whatever llama.cpp's are. Beside a llama-server: the difference of log-probabilities in their deviations.
- **bits**: in how many of the cases all batches, threads, and saving and restoring gave the same.
- **template**: the known templates with which prompts were split at their marks; **ends**: the tokens that ended an
  answer without any text. Where no family of models is known, the token is made up.
- **from disk**: in how many models every reply of another program took over what it could and gave the same bits.

What is not as it should be is in bold. Nothing in the table is from elsewhere than from this run. Exit status: 0 if
nothing is wrong.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from tests.conftest import find_shared_folder
from tests.engine.model.golden_cases import GoldenResult, architecture_of, golden_cases, is_float, try_golden_case
from tests.engine.model.peer_logits import MOST_ERROR, PeerResult, compare_with_server
from tests.engine.model.random_model import write_random_model
from tests.engine.model.replies_from_disk import replies_from_disk, write_model
from tests.engine.model.test_peer_logits import CASES
from tests.engine.templates.family_chats import chat_with, chats_of
from tests.engine.tokenizer.families import families_of
from tui_llama.engine.plan.architectures import ARCHITECTURES

HEAD = ("architecture", "golden cases", "ratio", "error F16", "bits", "template", "ends", "from disk")
Cell: TypeAlias = tuple[str, bool]
"""What a cell says, and whether it is as it should be."""
_NOTHING: Cell = ("–", True)


class Trial:
    """What is tried with one architecture; each method returns cells.

    Args:
        architecture: Its name in GGUF.
        folder: An empty folder for models and stored prompts.
    """

    def __init__(self, architecture: str, folder: Path) -> None:
        self._architecture = architecture
        self._folder = folder
        shared = find_shared_folder()
        self._golden_folder = Path() if shared is None else shared / "golden" / "logits"
        self._golden = [name for name in golden_cases() if architecture_of(name) == architecture]

    def cells(self) -> list[Cell]:
        """Tries everything; a cell of what raised an error says which."""
        logits = self._of_golden_cases if self._golden else self._of_servers
        parts: list[tuple[Callable[[], list[Cell]], int]] = [(logits, 4), (self._of_chats, 2), (self._from_disk, 1)]
        return [(self._architecture, True), *(cell for part, count in parts for cell in _tried(part, count))]

    def _of_golden_cases(self) -> list[Cell]:
        state_file = self._folder / "state.tlk"
        results = {name: try_golden_case(self._golden_folder, name, state_file) for name in self._golden}
        floats = {name for name in results if is_float(name)}
        return [
            (str(len(results)), True),
            _worst_ratio([results[name] for name in results.keys() - floats]),
            _worst_error([results[name] for name in floats]),
            _bits(list(results.values())),
        ]

    def _of_servers(self) -> list[Cell]:
        if find_spec("xllamacpp") is None:
            return [("0", True), _NOTHING, _NOTHING, _NOTHING]
        results = []
        for number, (_, keys, optional) in enumerate(each for each in CASES if each[0] == self._architecture):
            path = write_random_model(self._folder / f"{number}.gguf", self._architecture, keys, optional)
            results.append(compare_with_server(path, self._folder / "state.tlk"))
        if not results:
            return [("0", False), _NOTHING, _NOTHING, _NOTHING]
        error = max(error for result in results for error in result.errors)
        told = f"{error:.1e} of llama-server's", error < MOST_ERROR
        return [(f"0; {len(results)} beside llama-server", True), _NOTHING, told, _bits(results)]

    def _of_chats(self) -> list[Cell]:
        templates, ends, is_right, are_ends_right = [], set[str](), True, True
        for _, family, template in chats_of(self._architecture):
            chat = chat_with(self._folder / "chat.gguf", self._architecture, family, template)
            templates += [template] if template else []
            is_right &= chat.marks == chat.written_marks and chat.is_lossless
            ends |= chat.ends
            are_ends_right &= chat.ends == family.ends
        told = ", ".join(dict.fromkeys(templates)) or "none known"
        made_up = "" if families_of(self._architecture) else "made up: "
        return [(told, is_right), (made_up + " ".join(f"`{_escaped(end)}`" for end in sorted(ends)), are_ends_right)]

    def _from_disk(self) -> list[Cell]:
        """Tries the golden models, and random ones with both types of cache."""
        random = write_model(self._folder / "random.gguf", self._architecture)
        models = [(random, "f16"), (random, "q8_0")]
        models += [(self._golden_folder / f"{name}.gguf", "f16") for name in self._golden]
        right = 0
        for number, (path, cache_type) in enumerate(models):
            outcomes = replies_from_disk(path, self._folder / f"prompts{number}", cache_type)
            right += all(each.is_right for each in outcomes.values())
        return [(f"{right} of {len(models)}", right == len(models))]


def _tried(part: Callable[[], list[Cell]], count: int) -> list[Cell]:
    """Returns the cells of a part; where it raises an error, so many cells of which the first says which."""
    try:
        return part()
    except Exception as error:
        return [(_escaped(f"{type(error).__name__}: {error}"), False), *[_NOTHING] * (count - 1)]


def _worst_ratio(results: Sequence[GoldenResult]) -> Cell:
    ratios = [each.error / each.peer_error for each in results]
    return (f"{max(ratios):.2f}", all(each.is_close for each in results)) if ratios else _NOTHING


def _worst_error(results: Sequence[GoldenResult]) -> Cell:
    if not results:
        return _NOTHING
    worst = max(results, key=lambda each: each.error)
    return f"{worst.error:.1e} ({worst.error / worst.peer_error:.2f})", all(each.is_close for each in results)


def _bits(results: Sequence[GoldenResult | PeerResult]) -> Cell:
    equal = sum(each.is_same for each in results)
    return f"{equal} of {len(results)}", equal == len(results)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _line(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(text if is_right else f"**{text}**" for text, is_right in cells) + " |"


def main() -> int:
    """Prints the table, a line as soon as its architecture is tried."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=sorted(ARCHITECTURES), metavar="ARCHITECTURE")
    names = parser.parse_args().only or sorted(ARCHITECTURES)
    print(_line([(text, True) for text in HEAD]))
    print("|---" * len(HEAD) + "|", flush=True)
    is_right = True
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            cells = Trial(name, Path(folder)).cells()
        print(_line(cells), flush=True)
        is_right &= all(each for _, each in cells)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
