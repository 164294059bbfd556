"""What a request may ask for that our engine cannot do: refused with a reason, before anything is computed."""

from typing import Final

from tui_llama.engine.prompting.conversation_prompt import check_images
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.errors import EngineError

MOST_TOP_PROBABILITIES: Final = 20
"""The most alternatives of a token whose probabilities are told; servers allow as many."""


def check_request(request: ReplyRequest | CompleteRequest) -> None:
    """Checks that the engine can do what a request asks for.

    Raises:
        EngineError: it cannot.
    """
    check_images(request.messages)
    wanted = request.top_probabilities
    if wanted is not None and not 0 <= wanted <= MOST_TOP_PROBABILITIES:
        raise EngineError(
            f"the probabilities of {wanted} tokens at each place were asked for",
            f"Ask for 0 to {MOST_TOP_PROBABILITIES}.",
        )
