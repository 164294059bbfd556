"""Hostile requests, made from a seed, and the judgement of what came back.

Each request is whole or broken in one of many ways: bytes of the head, lengths, encodings, JSON of wrong types, deep or
huge, of the wrong charset, or one that fits and asks for something odd. Whatever it is, the answer is a status below
500, or a refusal that HTTP has a number for, or the end of the connection: never a traceback, and never a hang.
"""

import json
import random
import re
from typing import Any, Final

PATHS: Final = (
    *("/v1/chat/completions", "/v1/chat/completions", "/v1/chat/completions", "/v1/completions", "/v1/completions"),
    *("/tokenize", "/detokenize", "/v1/models", "/v1/models/x", "/health", "/metrics", "/", "/%ff%00", "//", "*"),
)
METHODS: Final = (*["POST"] * 24, *["GET"] * 6, "HEAD", "OPTIONS", "PUT", "DELETE", "CONNECT", "get", "X-Y")
FIELDS: Final = (
    *("model", "messages", "prompt", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n_predict"),
    *("temperature", "top_p", "top_k", "min_p", "seed", "stop", "logprobs", "top_logprobs", "n", "best_of", "echo"),
    *("tools", "tool_choice", "response_format", "logit_bias", "chat_template_kwargs", "reasoning_effort", "suffix"),
    *("continue_final_message", "add_generation_prompt", "return_progress", "timings_per_token", "ignore_eos"),
    *("presence_penalty", "frequency_penalty", "repeat_penalty", "repeat_last_n", "grammar", "json_schema", "user"),
    *("content", "tokens", "add_special", "parse_special", "with_pieces", "role", "name", "tool_calls"),
)
WORDS: Final = (
    "",
    "user",
    "assistant",
    "system",
    "tool",
    "text",
    "json_object",
    "auto",
    "\x00",
    "\x1b[2J",
    "llamas 🦙",
)
NUMBERS: Final = (0, 1, -1, 5, 2**31, 2**32, 2**63, -(2**63), 2**64, 10**40, 0.5, -0.0, 1e308, 1e-320)
RAW: Final = (
    b"NaN",
    b"1e999",
    b'"\\ud800"',
    b'"\xff"',
    b"[" * 2000,
    b'{"a":' * 2000,
    b"01",
    b"'",
    b"\x00",
    b"1" * 5000,
)
HEADERS: Final = (
    b"Content-Length: 5",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: -1",
    b"Content-Length: 0x10",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: upgrade",
    b"Connection: close",
    b"Origin: http://evil.com",
    b"Host: evil.com",
    b"Host:",
    b"Cookie: " + b"y" * 3000,
    b"Content-Encoding: gzip",
    b"Content-Type: text/html; charset=utf-7",
    b"X: \x00",
    b"X: \xff\xfe",
    b" folded: yes",
    b"no colon",
    b": no name",
    b"Authorization: Bearer \xff",
    b"Accept-Encoding: identity;q=0",
    b"Sec-Fetch-Site: cross-site",
)
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_REFUSALS: Final = (501, 503)


def fuzzed(seed: int) -> bytes:
    """Returns the bytes of a request; of one seed always the same."""
    chance = random.Random(seed)
    make = chance.choices((_whole, _broken_head, _broken_bytes, _pipelined, _noise), (60, 20, 12, 5, 3))[0]
    return make(chance)


def complaint(received: bytes) -> str:
    """Returns what is wrong with the bytes that came back; "" if nothing is."""
    if b"Traceback" in received or b'File "' in received:
        return "a traceback"
    statuses = [int(status) for status in _STATUS.findall(received)]
    wrong = [status for status in statuses if status >= 500 and status not in _REFUSALS]
    if wrong:
        return f"status {wrong[0]}"
    if received and not statuses:
        return "no answer in HTTP"
    return ""


def status_of(received: bytes) -> int:
    """Returns the status of the first answer, 0 if there is none. A status below 200 is none yet."""
    statuses = map(int, _STATUS.findall(received))
    return next((status for status in statuses if status >= 200), 0)


def _whole(chance: random.Random) -> bytes:
    body = _body(chance)
    return _head(chance, b"Content-Length: %d" % len(body)) + body


def _broken_head(chance: random.Random) -> bytes:
    body = _body(chance)
    wrong = [chance.choice(HEADERS) for _ in range(chance.randrange(1, 4))]
    if chance.random() < 0.1:
        wrong += [b"X-%d: y" % number for number in range(chance.choice((90, 101, 5000)))]
    if chance.random() < 0.3:
        return _head(chance, b"Transfer-Encoding: chunked") + _chunked(chance, body)
    return _head(chance, *wrong, *([b"Content-Length: %d" % len(body)] * chance.randrange(2))) + body


def _broken_bytes(chance: random.Random) -> bytes:
    request = bytearray(_whole(chance))
    for _ in range(chance.randrange(1, 8)):
        place = chance.randrange(len(request) or 1)
        end = place + chance.choice((0, 1, 1, 40, len(request)))
        request[place:end] = chance.randbytes(chance.choice((0, 0, 1, 20)))
    return bytes(request)


def _pipelined(chance: random.Random) -> bytes:
    return b"".join(_whole(chance) for _ in range(chance.randrange(2, 5)))


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 50, 5000, 70_000)))


def _head(chance: random.Random, *headers: bytes) -> bytes:
    line = f"{chance.choice(METHODS)} {chance.choice(PATHS)} HTTP/1.{chance.choice('1111111109')}"
    hosts = (b"Host: localhost",) * 20 + (b"host: 127.0.0.1:80", b"Host: evil.com", b"X: y")
    return b"\r\n".join([line.encode(), chance.choice(hosts), *headers, b"", b""])


def _chunked(chance: random.Random, body: bytes) -> bytes:
    cut = chance.randrange(len(body) + 1)
    end = chance.choice((b"0\r\n\r\n", b"0\r\nTrailer: y\r\n\r\n", b"zz\r\n", b"", b"-1\r\n\r\n", b"f" * 100))
    parts = (body[:cut], body[cut:])
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + end


def _body(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.08:
        return chance.choice(RAW)
    if kind < 0.12:
        return chance.randbytes(chance.randrange(200))
    content = _request(chance)
    body = json.dumps(content, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if kind < 0.22:  # one value of it is no JSON, or JSON that hurts
        return body.replace(b":", b":" + chance.choice(RAW) + b",", 1)
    return body


def _request(chance: random.Random) -> Any:
    request: dict[str, Any] = {
        "messages": [{"role": "user", "content": "hello"}],
        "prompt": "hello",
        "content": "hello",
        "tokens": [1, 2, 3],
        "max_tokens": 3,
    }
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        request[chance.choice(FIELDS)] = _value(chance, 3)
    for _ in range(chance.choice((0, 0, 1, 2))):
        request.pop(chance.choice(list(request)), None)
    return request if chance.random() < 0.95 else _value(chance, 4)


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(8 if depth else 5)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind in (1, 2):
        return chance.choice(NUMBERS)
    if kind in (3, 4):
        return chance.choice(WORDS) * chance.choice((1, 1, 1, 300))
    if kind == 5:
        return [_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 6:
        return {chance.choice(FIELDS): _value(chance, depth - 1) for _ in range(chance.randrange(4))}
    return [{"role": chance.choice(WORDS), "content": _value(chance, depth - 1)} for _ in range(chance.randrange(4))]
