"""Personas in the chat on the screen: listed, taken, saved and deleted."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from tui_llama import paths
from tui_llama.chat import ChatChoices
from tui_llama.controllers.choosing.default_persona import plain_name
from tui_llama.controllers.choosing.system_prompt import SystemPromptController
from tui_llama.controllers.loading.models import ModelsController
from tui_llama.controllers.views import DialogView, HintView, RunAlone, StateView
from tui_llama.errors import SettingsError
from tui_llama.files.model_parts import without_part
from tui_llama.screens.commands import Choice
from tui_llama.servers.address import is_server_address
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.models.source import ModelSource
    from tui_llama.personas.persona import Persona
    from tui_llama.screens.dialogs.choosing.persona_list import PersonaList


EXAMPLES: Final = "examples"
"""The word behind `/persona` that adds personas to begin with, unless one is called so."""

NO_PERSONA: Final = "none"
"""The word behind `/persona` that takes a persona back, unless one is called so."""


class PersonasView(DialogView, HintView, StateView, Protocol):
    """The app, as the controller uses it."""


class PersonasController(OfShownChat):
    """The personas of an app.

    Args:
        live_chats: Have the driver of the chat on the screen.
        system_prompt: Changes the system prompt, and knows what that costs.
        models: Loads the model of a persona.
        source: Finds that model.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        system_prompt: SystemPromptController,
        models: ModelsController,
        source: "ModelSource",
        view: PersonasView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._system_prompt = system_prompt
        self._models = models
        self._source = source
        self._view = view
        self._run = run

    def take_or_list(self, name: str = "") -> None:
        """Takes the persona of that name; lists all where none is given."""
        self._run("lists", partial(self._take_named, name) if name else self._list)

    async def _list(self) -> None:
        from tui_llama.personas.folder import read_personas
        from tui_llama.screens.dialogs.choosing.persona_list import PersonaList

        found = await asyncio.to_thread(read_personas)

        def chosen(name: str | None) -> None:
            if name is not None:
                self.take_or_list(name)

        taken = self._turn_driver.chat.choices.persona
        dialog = PersonaList(found.personas, taken, found.problems, str(paths.personas_folder()))
        await self._view.push_screen(dialog, chosen)

    async def _take_named(self, name: str) -> None:
        from tui_llama.personas.folder import find_persona, has_persona

        if name.casefold() == NO_PERSONA and not has_persona(name):
            self._take_none()
            return
        if name.casefold() == EXAMPLES and not has_persona(name):
            await self._add_examples()
            return
        chat = self._turn_driver.chat
        try:
            persona = await asyncio.to_thread(find_persona, name)
        except SettingsError as error:
            self._view.show_hint(f"{error}. {error.hint}")
            return
        if self._turn_driver.chat is not chat:
            self._view.show_hint(f"{persona.name} was not taken: another chat is shown by now.")
            return
        prompt = persona.system_prompt
        if prompt is None or chat.is_empty or prompt.strip() == chat.system_prompt.strip():
            await self._take(persona)
            return
        from tui_llama.screens.dialogs.ask_whether import AskWhether

        told = "This chat's system prompt changes."
        if self._turn_driver.capabilities.can_estimate:
            told = f"The next answer {await self._system_prompt.price(prompt)}, as the system prompt changes."

        def take(is_certain: bool | None) -> None:
            if is_certain and self._turn_driver.chat is chat:
                self._run("lists", partial(self._take, persona))

        question = f"Take the persona {persona.name}?"
        await self._view.push_screen(AskWhether(question, told, "Take", is_harmful=False), take)

    async def _add_examples(self) -> None:
        """Adds personas to begin with, and lists all."""
        from tui_llama.personas.examples import add_examples

        try:
            added = await asyncio.to_thread(add_examples)
        except SettingsError as error:
            self._view.show_hint(f"{error}. {error.hint}")
            return
        self._view.show_hint(f"Added: {', '.join(added)}." if added else "The examples are there already.")
        await self._list()

    def _take_none(self) -> None:
        """Takes back all that was chosen for the chat; its system prompt and its model stay."""
        chat = self._turn_driver.chat
        chat.set_choices(ChatChoices())
        chat.next_reply_start = ""
        self._view.show_hint("This chat takes your settings again. F9 changes its system prompt.")
        self._view.show_state()

    async def _take(self, persona: "Persona") -> None:
        """Lets the chat choose what the persona chooses, and nothing else; then its model is loaded.

        What binds the answers stays: no persona says anything of it.
        """
        chat = self._turn_driver.chat
        chat.set_choices(msgspec.structs.replace(persona.choices(), bounds=chat.choices.bounds))
        chat.next_reply_start = ""
        if persona.system_prompt is not None and persona.system_prompt.strip() != chat.system_prompt.strip():
            self._system_prompt.set(persona.system_prompt)
        self._view.show_hint(f"This chat has the persona {persona.name}.")
        self._view.show_state()
        if persona.model:
            await self._load(persona)

    async def _load(self, persona: "Persona") -> None:
        path = await self._path_of(persona.model)
        if path is None:
            self._view.show_hint(
                f"The model of {persona.name} is not on this machine: {persona.model}. The chat keeps its own."
            )
        elif path != self._turn_driver.model_path:
            self._models.load(path)

    async def _path_of(self, model: str) -> str | None:
        """Returns the path or address that a persona's model means; None where there is no such model."""
        if is_server_address(model):
            return model
        file = paths.typed_file(model)
        if file is not None:
            return str(file)
        wanted = plain_name(model)
        found = await asyncio.to_thread(self._source.find)
        return next((str(each.path) for each in found if plain_name(each.name) == wanted), None)

    # --- the list -----------------------------------------------------------------------------------------------

    async def save(self, persona_list: "PersonaList", name: str) -> None:
        """Keeps what is chosen in the chat under a name; asks first where a persona has it already."""
        from tui_llama.personas.folder import has_persona, persona_name
        from tui_llama.screens.dialogs.ask_whether import AskWhether

        try:
            name = persona_name(name)
        except SettingsError as error:
            persona_list.tell_problems([f"{error}. {error.hint}"])
            return
        if not has_persona(name):
            await self._save(persona_list, name)
            return

        def save(is_certain: bool | None) -> None:
            if is_certain:
                self._run("lists", partial(self._save, persona_list, name))

        await self._view.push_screen(AskWhether("Replace the persona of this name?", name, "Replace"), save)

    async def _save(self, persona_list: "PersonaList", name: str) -> None:
        from tui_llama.personas.folder import save_persona

        try:
            await asyncio.to_thread(save_persona, self._persona(name))
        except SettingsError as error:
            persona_list.tell_problems([f"{error}. {error.hint}"])
            return
        await self._show_again(persona_list)

    def _persona(self, name: str) -> "Persona":
        """Returns what is chosen in the chat as a persona."""
        from tui_llama.personas.persona import Persona

        chat, driver = self._turn_driver.chat, self._turn_driver
        choices: ChatChoices = chat.choices
        path = driver.model_path
        return Persona(
            name,
            system_prompt=chat.system_prompt,
            sampling=choices.sampling,
            model=path if not path or is_server_address(path) else without_part(Path(path).stem),
            thinking=choices.thinking,
            thinking_tokens=choices.thinking_tokens,
            reply_start=choices.reply_start,
        )

    async def delete(self, persona_list: "PersonaList", name: str) -> None:
        """Removes a persona of the list; chats that have taken it keep what they have."""
        from tui_llama.personas.folder import delete_persona

        try:
            await asyncio.to_thread(delete_persona, name)
        except SettingsError as error:
            persona_list.tell_problems([f"{error}. {error.hint}"])
            return
        await self._show_again(persona_list)

    async def _show_again(self, persona_list: "PersonaList") -> None:
        from tui_llama.personas.folder import read_personas

        found = await asyncio.to_thread(read_personas)
        persona_list.replace_items(found.personas)
        persona_list.tell_problems(found.problems)


def persona_choices(_typed: str) -> Sequence[Choice]:
    """Returns the personas that may be named behind `/persona`."""
    from tui_llama.personas.folder import read_personas

    personas = [Choice(each.name, each.description) for each in read_personas().personas]
    return [
        *personas,
        Choice(EXAMPLES, "Add a few to begin with"),
        Choice(NO_PERSONA, "Take back what was chosen for this chat"),
    ]
