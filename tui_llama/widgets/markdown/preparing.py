"""What the first answer on the screen would wait for, done before somebody asks for it."""

from typing import Final

LANGUAGES: Final = ("python", "bash", "json", "javascript")
"""Those that answers show most. Making the lexer of a language ready takes up to a twentieth of a second, once."""


def prepare_answers() -> None:
    """Imports what draws answers, and makes it ready; for a thread, while nothing else is to be done."""
    from textual.highlight import highlight

    from tui_llama.widgets.markdown import answer_text  # noqa: F401 - imported so that it is there
    from tui_llama.widgets.markdown.rules import markdown_parser

    markdown_parser()
    for language in LANGUAGES:
        highlight("", language=language)
