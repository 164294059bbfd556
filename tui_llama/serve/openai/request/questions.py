"""The questions of the two endpoints: what is asked, what the engine must tell first, and who writes the answer."""

from dataclasses import dataclass

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import PromptEncoded
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import CompleteRequest, ReplyRequest, TokenizeRequest
from tui_llama.serve.openai.chat_answer import ChatAnswer
from tui_llama.serve.openai.chunks import Ids
from tui_llama.serve.openai.request.asked import AskedChat, AskedText
from tui_llama.serve.openai.text_answer import TextAnswer


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """A question in a conversation.

    Attributes:
        asked: What the request asks for.
        ids: Supplies ids and times.
    """

    asked: AskedChat
    ids: Ids
    prompt_field = "messages"

    @property
    def request(self) -> ReplyRequest | CompleteRequest:
        """The engine's request."""
        return self.asked.request

    @property
    def model(self) -> ModelInfo:
        """The model that is asked."""
        return self.asked.model

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is sent in chunks."""
        return self.asked.form.is_streamed

    async def prepare(self, engine: Engine) -> None:
        """Does nothing: all is known."""

    def answer(self, prompt: PromptEncoded) -> ChatAnswer:
        """Returns what writes the answer to the prompt."""
        return ChatAnswer(self.asked, self.ids)


class TextQuestion:
    """A text that is to be continued.

    Args:
        asked: What the request asks for.
        ids: Supplies ids and times.
    """

    prompt_field = "prompt"

    def __init__(self, asked: AskedText, ids: Ids) -> None:
        self._asked = asked
        self._ids = ids
        self._echoed = asked.request.text if asked.echoes else ""

    @property
    def request(self) -> CompleteRequest:
        """The engine's request."""
        return self._asked.request

    @property
    def model(self) -> ModelInfo:
        """The model that is asked."""
        return self._asked.model

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is sent in chunks."""
        return self._asked.form.is_streamed

    async def prepare(self, engine: Engine) -> None:
        """Learns the text of a prompt of tokens, if the answer begins with it."""
        if self._asked.echoes and self.request.ledger:
            self._echoed = (await engine.tokenize(TokenizeRequest(None, self.request.ledger))).text

    def answer(self, prompt: PromptEncoded) -> TextAnswer:
        """Returns what writes the answer to the prompt."""
        return TextAnswer(self._asked, self._echoed, self._ids)
