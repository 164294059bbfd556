"""What all answers of the server have in common: their identity, and how they and their ends are written."""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tui_llama.chat import StopReason
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.serve.model_name import served_name

ENDED: Final = "stop"
CUT_OFF: Final = "length"

_FINISH_REASONS: Final = {
    StopReason.END_OF_GENERATION: ENDED,
    StopReason.STOP_TEXT: ENDED,
    StopReason.LENGTH: CUT_OFF,
    StopReason.CONTEXT_FULL: CUT_OFF,
    StopReason.LOOP: CUT_OFF,
}


def finish_reason(reason: StopReason) -> str:
    """Returns the word of the protocol for the end of an answer."""
    return _FINISH_REASONS[reason]


@dataclass(frozen=True, slots=True)
class Ids:
    """Makes ids and tells the time of answers; tests make both predictable.

    Attributes:
        new: Returns a new id of hexadecimal digits.
        now: Returns the time in seconds since 1970.
        clock: Returns the seconds of a monotonic clock.
    """

    new: Callable[[], str] = lambda: secrets.token_hex(12)
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.perf_counter


class Envelope:
    """The fields of every chunk of one answer, which never change within it.

    Args:
        kind: The beginning of the id: `chatcmpl-` or `cmpl-`.
        model: The model that answers.
        ids: Supplies the id and the time.
    """

    def __init__(self, kind: str, model: ModelInfo, ids: Ids) -> None:
        self._id = kind + ids.new()
        self._created = int(ids.now())
        self._model = served_name(model)
        self._fingerprint = fingerprint(model)

    def around(self, object_name: str, choices: list[dict[str, Any]], **further: Any) -> dict[str, Any]:
        """Returns an answer or a chunk of one."""
        return {
            "id": self._id,
            "object": object_name,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": self._fingerprint,
            "choices": choices,
            **further,
        }


def fingerprint(model: ModelInfo) -> str:
    """Returns a name of what computes: two answers of one name, one seed and one prompt are the same."""
    facts = (model.architecture, model.quantization, model.parameter_count, model.weight_bytes, model.vocabulary)
    return "fp_" + hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:10]
