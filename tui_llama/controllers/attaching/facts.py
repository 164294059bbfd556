"""Finds out what is worth knowing of attachments: how many tokens they have, and whether their files have changed."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from tui_llama.attachments.facts import AttachedFacts
from tui_llama.attachments.prompt_text import attachment_block
from tui_llama.attachments.reading import FileState, file_state
from tui_llama.chat import Attachment
from tui_llama.controllers.views import RunAlone
from tui_llama.engine.requests import TokenizeRequest
from tui_llama.errors import EngineError
from tui_llama.system.daemon_threads import in_daemon_thread
from tui_llama.turn.engine_host import EngineHost

LOOK_SECONDS: Final = 10.0
"""A disk that has not answered by then is not waited for: it may be a network that is gone."""


class AttachmentFacts:
    """The facts of all attachments that are shown, as far as they are known.

    Args:
        host: Has the engine, which counts tokens.
        run: Runs a coroutine of a group in place of what is under way in it.
        on_found: Called when something was found out about an attachment.
    """

    def __init__(self, host: EngineHost, run: RunAlone, on_found: Callable[[Attachment], None]) -> None:
        self._host = host
        self._run = run
        self._on_found = on_found
        self._facts: dict[Attachment, AttachedFacts] = {}
        self._looked_at: set[Attachment] = set()

    def of(self, attachment: Attachment) -> AttachedFacts:
        """Returns what is known of an attachment; it changes when more is."""
        return self._facts.setdefault(attachment, AttachedFacts())

    def look_again(self) -> None:
        """Forgets how the files were: another chat is open, and they may have changed meanwhile."""
        self._looked_at.clear()

    def look(self, attachments: Iterable[Attachment]) -> None:
        """Finds out what is not known of these, in this order."""
        unknown = [each for each in dict.fromkeys(attachments) if self._lacks_state(each) or self._lacks_tokens(each)]
        if unknown:
            self._run("attachments", partial(self._look, unknown))

    def _lacks_state(self, attachment: Attachment) -> bool:
        return bool(attachment.path) and attachment not in self._looked_at

    def _lacks_tokens(self, attachment: Attachment) -> bool:
        """Tells whether the tokens are not known, but could be: a server keeps its vocabulary to itself."""
        model = self._host.model
        if model is None or not model.capabilities.has_exact_tokens:
            return False
        facts = self.of(attachment)
        return facts.tokens is None or facts.vocabulary != model.vocabulary

    async def _look(self, attachments: Sequence[Attachment]) -> None:
        for attachment in attachments:
            if self._lacks_state(attachment):
                self.of(attachment).state = await _state_in_time(attachment)
                self._looked_at.add(attachment)
                self._on_found(attachment)
            if self._lacks_tokens(attachment):
                await self._count(attachment)

    async def _count(self, attachment: Attachment) -> None:
        async with self._host.is_free:
            model = self._host.model
            if model is None or not model.capabilities.has_exact_tokens:
                return
            with suppress(EngineError):  # told when something is asked
                answer = await self._host.engine.tokenize(TokenizeRequest(attachment_block(attachment)))
                facts = self.of(attachment)
                facts.tokens, facts.vocabulary = len(answer.token_ids), model.vocabulary
        self._on_found(attachment)


async def _state_in_time(attachment: Attachment) -> FileState:
    try:
        return await asyncio.wait_for(in_daemon_thread(partial(file_state, attachment)), LOOK_SECONDS)
    except TimeoutError:
        return FileState.UNREADABLE
