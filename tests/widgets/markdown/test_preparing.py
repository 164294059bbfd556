"""What the first answer would wait for is there once it was prepared, and not before the first frame."""

import subprocess
import sys
from pathlib import Path

from tui_llama.widgets.markdown.rules import markdown_parser

ROOT = Path(__file__).parents[3]
_HEAVY = ("markdown_it", "pygments.lexers.python", "tui_llama.widgets.markdown.answer_text")


def loaded_after(statements: str) -> set[str]:
    report = f"\nimport sys\nprint(*[name for name in {_HEAVY!r} if name in sys.modules], sep='\\n')"
    run = subprocess.run(
        [sys.executable, "-c", statements + report], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(run.stdout.split())


def test_the_program_starts_without_what_draws_answers_and_has_it_once_that_is_prepared() -> None:
    assert loaded_after("import tui_llama.app, tui_llama.screens.chat, tui_llama.models.source") == set()
    assert loaded_after(
        "import tui_llama.app\nfrom tui_llama.widgets.markdown.preparing import prepare_answers\nprepare_answers()"
    ) == set(_HEAVY)


def test_the_parser_has_its_tables_of_rules_before_a_second_thread_can_have_it() -> None:
    """A thread prepares answers while the main one may open a chat: half a table fits no text, which is an error."""
    markdown_parser.cache_clear()
    parser = markdown_parser()

    rulers = (parser.core.ruler, parser.block.ruler, parser.inline.ruler, parser.inline.ruler2)
    assert all(ruler.__cache__ is not None for ruler in rulers)
