"""How long the remote engine waits for what."""

import msgspec


class Patience(msgspec.Struct, frozen=True):
    """Times to wait, in seconds. A whole answer has no limit: a long prompt may be read for an hour.

    Attributes:
        connect_seconds: For a connection.
        probe_seconds: For the answer to a question about the server or its models.
        silence_seconds: Without a byte of an answer, until the server is asked whether it lives.
        answer_silence_seconds: Without a byte in the middle of an answer, until it is given up.
        loading_seconds: For a server that loads its model.
        poll_seconds: Between two questions whether it has loaded.
        busy_seconds: For a server that is busy and says when it wants to be asked again, all in all.
        usage_seconds: For what comes behind the end of an answer.
        reuse_seconds: For the failure of a connection that is used again: if it comes by then, the server had closed it
            before, and the request is sent once more.
        close_seconds: For the end of a stream that has said that it ends; then the connection is used again.
    """

    connect_seconds: float = 5.0
    probe_seconds: float = 10.0
    silence_seconds: float = 30.0
    answer_silence_seconds: float = 120.0
    loading_seconds: float = 600.0
    poll_seconds: float = 1.0
    busy_seconds: float = 60.0
    usage_seconds: float = 5.0
    reuse_seconds: float = 3.0
    close_seconds: float = 1.0
