"""The list of personas, with a preview of the one under the cursor."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from tui_llama.personas.persona import Persona
from tui_llama.screens.dialogs.ask_text import AskText
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.pick import PickDialog, two_sides
from tui_llama.text_safety import sanitize, sanitize_line
from tui_llama.widgets.local_keys import PERSONAS, local_bindings

_LONGEST_PREVIEW = 600


class PersonaList(PickDialog[Persona, str | None]):
    """A dialog whose result is the name of the persona to take, or None.

    Args:
        personas: The personas; none of their texts is trusted.
        taken: The name of the one that the chat has; empty for none.
        problems: A line for each file that cannot be read; not trusted.
        folder: Where the files lie.
    """

    HELP = """Personas
    System prompt, sampling, model, thinking and start of replies under one name, each in a file.
    """
    TITLE_TEXT = "Personas"
    KEYS = "Enter take · {personas_save} save · {personas_delete} delete · {dialog_close} close"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(PERSONAS),
    ]

    class SaveWanted(Message):
        """Posted when the user wants to keep what is chosen in the chat under a name."""

        def __init__(self, persona_list: "PersonaList", name: str) -> None:
            super().__init__()
            self.persona_list = persona_list
            self.name = name

    class DeleteWanted(Message):
        """Posted when the user has confirmed that a persona should be deleted."""

        def __init__(self, persona_list: "PersonaList", name: str) -> None:
            super().__init__()
            self.persona_list = persona_list
            self.name = name

    def __init__(self, personas: Sequence[Persona], taken: str, problems: Sequence[str], folder: str) -> None:
        super().__init__(personas)
        self._taken = taken
        self._problems = problems
        self._folder = folder

    def on_mount(self) -> None:
        """Says which files cannot be read."""
        super().on_mount()
        self.call_after_refresh(self.tell_problems, self._problems)

    def tell_problems(self, problems: Sequence[str]) -> None:
        """Shows the first of some problems below the list, and how many more there are."""
        more = f" · {len(problems) - 1} more" if len(problems) > 1 else ""
        self.say(f"{sanitize_line(problems[0])}{more}" if problems else "")

    def line(self, item: Persona, width: int) -> Content:
        """Returns the name, and on the right what the persona is for."""
        mark = "● " if item.name == self._taken else "  "
        return two_sides(mark + sanitize_line(item.name), sanitize_line(item.description), width)

    def details(self, item: Persona) -> str:
        """Returns all that the persona chooses."""
        chosen = [
            f"{name} {'random' if value is None else sanitize_line(str(value))}"
            for name, value in item.sampling.items()
        ]
        if item.model:
            chosen.append(f"model {sanitize_line(item.model)}")
        if item.thinking is not None:
            chosen.append(f"thinking {item.thinking}")
        if item.thinking_tokens is not None:
            chosen.append(f"at most {item.thinking_tokens:,} tokens of thinking")
        if item.reply_start:
            chosen.append(f"begins “{sanitize_line(item.reply_start)[:60]}”")
        prompt = sanitize((item.system_prompt or "").strip()[:_LONGEST_PREVIEW])
        return "\n".join(part for part in (" · ".join(chosen), prompt) if part) or "It chooses nothing."

    def words(self, item: Persona) -> str:
        """Returns the name, the description and the system prompt."""
        return f"{item.name} {item.description} {item.system_prompt or ''}"

    def choose(self, item: Persona) -> None:
        """Closes the list with this persona as the one to take."""
        self.dismiss(item.name)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says why no persona is listed."""
        if filter_text:
            return "No persona has this text. Ctrl+S saves this chat's choices."
        return (
            "No personas yet. /persona examples adds a few to begin with; Ctrl+S saves this chat's choices as one."
            f" They are files in {self._folder}."
        )

    def action_save(self) -> None:
        """Asks for the name under which to keep what is chosen in the chat."""

        def save(name: str | None) -> None:
            if name:
                self.post_message(self.SaveWanted(self, name))

        self.app.push_screen(AskText("Save this chat's choices as", self._taken), save)

    def action_delete(self) -> None:
        """Asks whether to delete the persona under the cursor."""
        item = self.highlighted
        if item is None:
            return

        def delete(is_certain: bool | None) -> None:
            if is_certain:
                self.post_message(self.DeleteWanted(self, item.name))

        self.app.push_screen(AskWhether("Delete this persona for good?", item.name, "Delete"), delete)
