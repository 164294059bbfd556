"""The interfaces of a model, its sequences and its chat template; the engine works on these, tests on fakes of them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from tui_llama.chat import ChatMessage
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import LoadStage
from tui_llama.engine.requests import LoadRequest
from tui_llama.engine.state_file import StateFingerprint
from tui_llama.engine.state_shape import StateShape
from tui_llama.engine.templates.thinking.knowledge import TemplateThinking
from tui_llama.engine.token_sequence import TokenSequence
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

ReportProgress: TypeAlias = Callable[[LoadStage, int, int], None]
"""Called with the stage, the part of it that is done, and its total; may raise an error to stop the loading."""


class PromptTemplate(Protocol):
    """Turns a conversation into the text that a model was trained on."""

    def stop_texts_of(self, source: str) -> tuple[str, ...]:
        """Returns the texts that end an answer, besides the model's own tokens.

        They are those of the template that wrote the prompt; `source` says where it is from, "" if that is unknown.
        """
        ...

    def without_fallback(self) -> "PromptTemplate":
        """Returns this template without another one for conversations that it refuses."""
        ...

    @property
    def thinking(self) -> TemplateThinking:
        """What the template knows of thinking."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices to the user, one line each; they are among the model's notices."""
        ...

    def take_notices(self) -> tuple[str, ...]:
        """Returns the notices to the user since the last call, one line each."""
        ...

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        """Returns the whole prompt, up to where the answer begins or the last message ends.

        A template that asks for the date is told `now`, by default the present; `values` are further variables.
        """
        ...


class LanguageModel(Protocol):
    """A model that is ready to run."""

    @property
    def info(self) -> ModelInfo:
        """The facts about the model that the screen shows."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices to the user, one line each."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens and back."""
        ...

    @property
    def chat_template(self) -> PromptTemplate:
        """Messages to text."""
        ...

    @property
    def context_size(self) -> int:
        """The most tokens that a sequence holds."""
        ...

    @property
    def vocab_size(self) -> int:
        """The number of logits."""
        ...

    @property
    def fingerprint(self) -> StateFingerprint:
        """The identity that stored keys and values of the model carry."""
        ...

    @property
    def state_shape(self) -> StateShape:
        """The shape of keys and values in a state file."""
        ...

    def check_file(self) -> None:
        """Raises a `ModelFileError` if the model needs its file, and somebody has changed it."""
        ...

    def new_sequence(self) -> TokenSequence:
        """Returns an empty sequence."""
        ...

    def close(self) -> None:
        """Frees the memory and ends the threads."""
        ...


class ModelOpener(Protocol):
    """Opens a model: our own, or a test's fake."""

    def __call__(self, request: LoadRequest, on_progress: ReportProgress) -> LanguageModel:
        """Opens the model that is asked for; raises `UserError` where that fails."""
        ...
