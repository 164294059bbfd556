"""Idle prefill: the model reads the certain prefix of the next prompt while nobody waits for it.

The prompt is made for several continuations of the draft, the message that the user is writing. Their common prefix is
what the model reads: the conversation as the template will render it when a message follows (a template may drop
earlier thinking from an answer), and the draft up to the last token that does not depend on what comes next. The tokens
go into the sequence that the reply will find, so an answer is the same as without idle prefill. If a token turns out
to be wrong, the reply drops it and reads the right one.

The chunks are so short that any other request hardly waits. Idle prefill stores nothing.
"""

from collections.abc import Callable, Iterator, Sequence

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import IdlePrefillFinished, IdlePrefillProgress, Notice
from tui_llama.engine.generation.reply import ShouldStop, unused_state_notice
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.prompt_cache.common_prefix import common_prefix_length
from tui_llama.engine.prompting.context_room import room_in
from tui_llama.engine.prompting.conversation_prompt import (
    check_that_it_fits,
    restore_longest_prefix,
)
from tui_llama.engine.prompting.reply_start import encode_reply
from tui_llama.engine.protocol import IdlePrefillEvent
from tui_llama.engine.requests import IdlePrefillRequest
from tui_llama.engine.token_sequence import TokenSequence
from tui_llama.errors import EngineError

CHUNK_SECONDS = 0.1
"""About how long one chunk takes at most, unless the few tokens that are read at once in any case take longer."""

FIRST_CHUNK_TOKENS = 8

CONTINUATIONS = (" a", "\n\n1", "a")
"""Possible continuations of a draft: another word, a paragraph, the rest of a word.

Measured with six vocabularies on prose, code and languages without spaces: three in a thousand drafts had a token that
the message then did not have, mostly one token, in languages without spaces. More continuations hardly lowered that.
"""


class IdlePrefill:
    """One request for idle prefill.

    Args:
        model: The model that will answer.
        sequence: The tokens that the model has read before; afterwards also those of the idle prefill.
        request: The conversation and the draft.
        should_stop: Asked before every chunk, and before every prompt that is made.
        prompt_cache: Where the keys and values of this and other chats are stored; None if nowhere.
    """

    def __init__(
        self,
        model: LanguageModel,
        sequence: TokenSequence,
        request: IdlePrefillRequest,
        should_stop: ShouldStop,
        prompt_cache: PromptCache | None,
    ) -> None:
        self._model = model
        self._sequence = sequence
        self._request = request
        self._should_stop = should_stop
        self._prompt_cache = prompt_cache

    def events(self, note_read: Callable[[int, float], None], clock: Callable[[], float]) -> Iterator[IdlePrefillEvent]:
        """Reads the certain prefix; yields the progress after every chunk, and at the end.

        Args:
            note_read: Called after every chunk with its tokens and its seconds.
            clock: Returns the seconds of a monotonic clock.
        """
        self._sequence.rewind(self._sequence.exact_tokens)
        wanted = self._certain_tokens()
        ready = self._sequence.rewindable(common_prefix_length(self._sequence.token_ids, wanted))
        if ready < len(wanted) and not self._should_stop():
            ready, problems = restore_longest_prefix(self._sequence, self._prompt_cache, wanted, self._request.chat_id)
            for problem in problems:
                yield Notice(unused_state_notice(problem))
            if missing := wanted[ready:]:  # else all tokens were stored
                chunks = self._sequence.extend_in_chunks(missing, CHUNK_SECONDS, FIRST_CHUNK_TOKENS)
                done, start = 0, clock()
                while not self._should_stop() and (chunk := next(chunks, None)) is not None:
                    note_read(chunk[0] - done, clock() - start)
                    done, start = chunk[0], clock()
                    yield IdlePrefillProgress(ready + done, len(wanted))
                ready += done
        yield IdlePrefillFinished(ready)

    def _certain_tokens(self) -> list[int]:
        """Returns the common prefix of the prompts for all continuations; empty if there can be no prompt."""
        certain: list[int] | None = None
        for continuation in CONTINUATIONS:
            if self._should_stop():
                return []
            message = ChatMessage(Role.USER, self._request.draft + continuation)
            try:
                prompt = encode_reply(self._model, self._request, (*self._request.messages, message))
                check_that_it_fits(self._model, prompt.token_ids)
            except EngineError:
                return []  # the reply reports the error, if it is still there when the message is sent
            token_ids = prompt.token_ids
            certain = token_ids if certain is None else certain[: common_prefix_length(certain, token_ids)]
        return [] if certain is None else certain[: self._most_tokens(certain)]

    def _most_tokens(self, token_ids: Sequence[int]) -> int:
        """Returns how many tokens a reply can reuse: not all where tokens will share positions."""
        context, adds_bos = self._model.context_size, self._model.tokenizer.add_bos
        room = room_in(self._sequence, context, self._request.overflow, len(token_ids), adds_bos)
        return room.reusable_tokens
