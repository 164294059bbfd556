"""The states of a chat that is alive."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """The state of the conversation. The value is its name on the screen and in the docs."""

    NO_MODEL = "no model"
    LOADING = "loading"
    WAITING = "waiting for the model"
    READY = "ready"
    QUEUED = "waiting for another chat's answer"
    READING = "reading the prompt"
    ANSWERING = "answering"
    STOPPING = "stopping"
    FAILED = "failed"
    LOST = "engine lost"
    CLOSED = "closed"


ANSWER_IS_OPEN = frozenset({State.READING, State.ANSWERING, State.STOPPING})
MODEL_IS_LOADING = frozenset({State.LOADING, State.WAITING})

STATE_BESIDE: Mapping[State, State] = MappingProxyType(
    {
        State.NO_MODEL: State.NO_MODEL,
        State.LOADING: State.LOADING,
        State.WAITING: State.LOADING,
        State.READY: State.READY,
        State.QUEUED: State.READY,
        State.READING: State.READY,
        State.ANSWERING: State.READY,
        State.STOPPING: State.READY,
        State.FAILED: State.READY,
        State.LOST: State.LOST,
        State.CLOSED: State.CLOSED,
    }
)
"""The state in which a chat begins that is opened beside one in this state: the engine is the same."""
