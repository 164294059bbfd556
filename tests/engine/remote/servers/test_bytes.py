"""Streams however they are cut, however long, and whatever they hold."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.remote.remote_chat import (
    ANSWER,
    BEGUN,
    Chat,
    chat_for_examples,
    chatting,
    check_ends,
    ended_well,
    failure_of,
)
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import finish_of, text_of, thought_of
from tests.fakes.openai_dialects import LLAMA_SERVER, PLAIN
from tests.fakes.openai_server import Cut, Framing, packets, response, stream
from tests.scale import scaled
from tui_llama.engine.events import Failed, FailureCause, Finished, TextPiece
from tui_llama.engine.protocol import ReplyEvent

STREAMS: dict[str, list[bytes]] = {
    "plain": wire.plain(),
    "llama-server": wire.llama_server(),
    "vllm": wire.vllm(thoughts=wire.THOUGHT),
    "sglang": wire.sglang(thoughts=wire.THOUGHT),
    "ollama": wire.ollama(thoughts=wire.THOUGHT),
    "in marks": wire.plain(("<thi", "nk>\nLet", " me…\n</think", ">\n", *wire.ANSWER)),
}


def facts_of(events: list[ReplyEvent]) -> tuple[object, ...]:
    """What a reply says, without what depends on the clock."""
    last = events[-1]
    assert isinstance(last, Finished)
    usage = last.usage
    others = [event for event in events[:-1] if not isinstance(event, TextPiece)]
    counts = usage.reused_tokens, usage.read_tokens, usage.generated_tokens, usage.context_used
    return text_of(events), thought_of(events), others, last.stop_reason, counts, usage.knows_tokens, usage.knows_reused


async def said(chat: Chat, sent: list[bytes], framing: Framing = Framing.CHUNKED) -> tuple[object, ...]:
    return facts_of(await chat.ask(stream(*sent, framing=framing)))


# --- how a stream is cut and written --------------------------------------------------------------------------------


every_stream = pytest.mark.parametrize("sent", STREAMS.values(), ids=STREAMS.keys())


@every_stream
@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.UNTIL_CLOSE, Framing.LENGTH])
async def test_one_byte_or_all_in_a_packet_are_the_same_answer(sent: list[bytes], framing: Framing) -> None:
    whole = b"".join(sent)
    async with chatting(LLAMA_SERVER) as chat:
        expected = await said(chat, sent)
        assert ANSWER in str(expected[0])
        assert await said(chat, [whole], framing) == expected
        assert await said(chat, packets(whole, [1] * len(whole)), framing) == expected


WAYS_OF_WRITING: dict[str, Callable[[bytes], bytes]] = {
    "CR LF": lambda sent: sent.replace(b"\n", b"\r\n"),
    "CR": lambda sent: sent.replace(b"\n", b"\r"),
    "no blank": lambda sent: sent.replace(b"data: ", b"data:"),
    "pings": lambda sent: sent.replace(b"data: ", b": ping\n\n:\n\ndata: "),
    "other lines": lambda sent: sent.replace(b"data: ", b"event: message\nid: 5\nretry: 10\nnonsense\ndata: "),
    "no last empty line": lambda sent: sent.rstrip(b"\n"),
    "more empty lines": lambda sent: sent.replace(b"\n\n", b"\n\n\n\n"),
    "byte order mark": lambda sent: b"\xef\xbb\xbf" + sent,
    "two data lines": lambda sent: sent.replace(b', "object"', b',\ndata: "object"'),
    "two data lines in CR LF": lambda sent: sent.replace(b', "object"', b',\ndata: "object"').replace(b"\n", b"\r\n"),
    "escaped": lambda sent: sent.decode().encode("ascii", "xmlcharrefreplace").replace(b"&#8212;", b"\\u2014")
    .replace(b"&#8230;", b"\\u2026").replace(b"&#129433;", b"\\ud83e\\udd99"),
}  # fmt: skip


@every_stream
@pytest.mark.parametrize("write", WAYS_OF_WRITING.values(), ids=WAYS_OF_WRITING.keys())
async def test_a_stream_may_be_written_in_many_ways(sent: list[bytes], write: Callable[[bytes], bytes]) -> None:
    async with chatting(LLAMA_SERVER) as chat:
        expected = await said(chat, sent)
        written = write(b"".join(sent))
        assert await said(chat, [written]) == expected
        for size in (1, 7):
            assert await said(chat, packets(written, [size] * (len(written) // size))) == expected


def test_any_way_of_cutting_a_stream_gives_the_same_events() -> None:
    with chat_for_examples(LLAMA_SERVER) as (chat, runner):
        expected = {name: runner.run(said(chat, sent)) for name, sent in STREAMS.items()}

        @settings(max_examples=scaled(50, 500))
        @given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(1, 120), max_size=60), st.booleans())
        def same(name: str, sizes: list[int], ends_in_crlf: bool) -> None:
            whole = b"".join(STREAMS[name])
            whole = whole.replace(b"\n", b"\r\n") if ends_in_crlf else whole
            assert runner.run(said(chat, packets(whole, sizes))) == expected[name]

        same()


# --- sizes ----------------------------------------------------------------------------------------------------------


async def test_very_many_chunks_are_an_answer() -> None:
    async with chatting(PLAIN) as chat:
        sent = b"".join([wire.text("llama ")] * 10_000)
        ended_well(await chat.ask(stream(*packets(sent, [60_000] * 40), wire.STOP)), "llama " * 10_000)


async def test_a_large_chunk_is_an_answer() -> None:
    async with chatting(PLAIN) as chat:
        text = "llama " * 100_000
        ended_well(await chat.ask([wire.text(text), wire.STOP]), text)


@pytest.mark.parametrize("start", [b"data: ", b": ", b"x"])
async def test_a_line_without_an_end_is_given_up(start: bytes) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(stream(*BEGUN, start, *[b"x" * (1 << 20)] * 20, Cut.CLOSE))
        assert text_of(events) == ANSWER
        assert isinstance(events[-1], Failed)
        failure_of(events, events[-1].cause)


async def test_an_event_of_lines_without_an_end_is_given_up() -> None:
    async with chatting(PLAIN) as chat:
        lines = (b"data: " + b"x" * 1000 + b"\n") * 1000
        events = await chat.ask(stream(*BEGUN, *[lines] * 20, Cut.CLOSE))
        assert text_of(events) == ANSWER
        assert isinstance(events[-1], Failed)


async def test_a_long_error_is_told_shortly() -> None:
    async with chatting(PLAIN) as chat:
        failure_of(await chat.ask(response({"error": {"message": "x" * 5_000_000}}, 500)), FailureCause.SERVER_ERROR)
        failure_of(await chat.ask([wire.error_event("x" * 5_000_000)]), FailureCause.ERROR_IN_STREAM)


# --- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        b"data: " + b"[" * 200_000 + b"\n\n",
        b"data: " + b'{"choices":' * 100_000 + b"\n\n",
        b"data: " + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n\n",
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": null}\n\n',
        b'data: {"choices": {}, "usage": NaN}\n\n',
        b'data: {"choices": [null, 5, []]}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": Infinity, "completion_tokens": -5}}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": 1e999, "completion_tokens": ' + b"9" * 5000 + b"}}\n\n",
        b'data: {"choices": [], "timings": {"prompt_ms": NaN, "predicted_ms": -1, "prompt_n": 9e99}}\n\n',
        b'data: {"choices": [], "prompt_progress": {"total": -5, "cache": 1e400, "processed": "x"}}\n\n',
        b'data: {"choices": [], "prompt_progress": {"total": 5, "cache": 9, "processed": 7}}\n\n',
        b"data: 5\n\n",
        b"data: null\n\n",
        b"data: \n\n",
        b"event: error\ndata: {}\n\n",
    ],
)
async def test_odd_json_in_an_answer_is_passed_over_or_fails_it(odd: bytes) -> None:
    async with chatting(LLAMA_SERVER) as chat:
        events = await chat.ask([*BEGUN, odd, wire.STOP, wire.DONE])
        check_ends(events, ANSWER)


async def test_numbers_that_are_none_do_not_spoil_an_answer() -> None:
    async with chatting(PLAIN) as chat:
        odd = b'data: {"choices": [], "usage": {"prompt_tokens": NaN, "completion_tokens": null}}\n\n'
        finish = ended_well(await chat.ask([*BEGUN, wire.STOP, odd]), ANSWER)
        assert not finish.usage.knows_tokens


async def test_the_last_of_two_equal_keys_counts() -> None:
    async with chatting(PLAIN) as chat:
        twice = b'data: {"choices": [{"delta": {"content": "a", "content": "b"}, "finish_reason": "stop"}]}\n\n'
        ended_well(await chat.ask([twice]), "b")


async def test_half_a_pair_becomes_a_mark_that_something_is_missing() -> None:
    async with chatting(PLAIN) as chat:
        half = b'data: {"choices": [{"delta": {"content": "a\\ud83eb"}, "finish_reason": "stop"}]}\n\n'
        ended_well(await chat.ask([half]), "a\ufffdb")


async def test_bytes_that_are_no_text_become_such_a_mark() -> None:
    async with chatting(PLAIN) as chat:
        broken = b'data: {"choices": [{"delta": {"content": "a\xffb"}, "finish_reason": "stop"}]}\n\n'
        ended_well(await chat.ask([broken]), "a\ufffdb")


# --- what a terminal would obey -------------------------------------------------------------------------------------


async def test_the_answer_is_passed_on_as_it_is_and_made_safe_where_it_is_drawn() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
    async with chatting(PLAIN) as chat:
        assert text_of(await chat.ask([wire.text(hostile), wire.STOP])) == hostile


@pytest.mark.parametrize("hostile", ["\x1b[2J\x1b]0;owned\x07 no", "no\r\n\r\nno", "\x9b31mno", "no\u202eon"])
async def test_errors_are_safe_to_draw(hostile: str) -> None:
    async with chatting(PLAIN) as chat:
        for script in (
            response({"error": {"message": hostile}}, 500),
            response(hostile.encode(), 502, content_type="text/html"),
            stream(wire.error_event({"message": hostile})),
            response({"error": {"message": hostile}}, 404),
            response(b"", 307, {"Location": "http://elsewhere/" + hostile.splitlines()[0].replace("\x9b", "")}),
        ):
            last = (await chat.ask(script))[-1]
            assert isinstance(last, Failed)
            told = last.message + last.hint
            assert told.isprintable() or not set(told) & set("\x1b\x07\x9b\r\n\u202e"), told


# --- tool calls -----------------------------------------------------------------------------------------------------


def pieces_of_a_call() -> list[bytes]:
    calls = [
        [wire.tool_call(0, name="look", arguments="")],
        [wire.tool_call(0, arguments='{"wh')],
        [wire.tool_call(0, arguments='ere": "here"}')],
        [wire.tool_call(1, name="hum", arguments="{}")],
    ]
    return [wire.chunk({"tool_calls": call}) for call in calls]


@pytest.mark.parametrize("sent", [pieces_of_a_call(), [wire.chunk({"tool_calls": [wire.tool_call(0, name="look")]})]])
async def test_calls_of_tools_end_the_answer_without_a_crash(sent: list[bytes]) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask([wire.ROLE, *sent, wire.chunk({}, "tool_calls"), wire.DONE])
        finish_of(events)
        assert "look" in str(events)
