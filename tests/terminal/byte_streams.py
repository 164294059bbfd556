"""Random streams as terminals, people and enemies send them, made of fragments of the grammar and of noise."""

from dataclasses import dataclass
from random import Random

PASTE_START, PASTE_END = b"\x1b[200~", b"\x1b[201~"
PASTED_MARK = "\u2126".encode()  # stands in pastes only, so that a key made of one is found

_WHOLE = (
    b"\x1b[A", b"\x1bOP", b"\x1b[1;5C", b"\x1b[3~", b"\x1b[[A", b"\x1b\r", b"\x1bx", b"\x1b", b"\x1b[I", b"\x1b[O",
    b"\x1b[<0;5;7M", b"\x1b[<35;200;100M", b"\x1b[<64;1;1M", b"\x1b[M !!", b"\x1b[M\xff\xfe\xfd", b"\x1b[5;7R",
    b"\x1b[?2026;2$y", b"\x1b[?2048;1$y", b"\x1b[48;24;80;480;640t", b"\x1b[97;5u", b"\x1b[57441u", b"\x1b[0;;97:98u",
    b"\x1b[?62;22;52c", b"\x1b[>41;390;0c", b"\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\", b"\x1b]52;c;aGVsbG8=\x07",
    b"\x1bP1+r4d73=5C\x1b\\", b"\x1b_Gi=31;OK\x1b\\", b"\x1b^private\x1b\\", b"\x1bXstart\x1b\\",
)  # fmt: skip
_HOSTILE = (
    b"\x1b[", b"\x1b[2", b"\x1b[20", b"\x1b[200", b"\x1bO", b"\x1b[M", b"\x1b[M!", b"\x1b]", b"\x1b]0;never ends",
    b"\x1bP", b"\x1bPq never ends", b"\x1b_", b"\x1b\x1b\x1b", b"\x1b[<0;99999999999999999999;1M", b"\x1b[<0;0;0M",
    b"\x1b[<0;-5;-5M", b"\x1b[<;;M", b"\x1b[<999999999;1;1m", b"\x1b[48;0;0;0;0t", b"\x1b[48;24;80;0;0t",
    b"\x1b[48;99999;99999;1;1t", b"\x1b[48;1:x;1;1;1t", b"\x1b[1114112u", b"\x1b[55296u", b"\x1b[57343;1;56320u",
    b"\x1b[99999999999999999999u", b"\x1b[97;1:3u", b"\x1b[0;;1114112u", b"\x1b[;u", b"\x1b[::::u", b"\x1b[97;99999u",
    b"\x1b[999999;999999R", b"\x1b[99999999999999999999999R", b"\x1b[?2026;9$y", b"\x1b[?99999999999;1$y",
    b"\x1b[" + b"9" * 40 + b"m", b"\x1b[" + b"1;" * 600 + b"m", b"\x9b31m", b"\xc2\x9b31m", b"\xc2\x90q\xc2\x9c",
    b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98", b"\x00", b"\x7f",
)  # fmt: skip
_PASTED = (
    b"\x1b[200~", b"\x1b[31m", b"\x1b[A", b"\x11", b"\x03", b"\r", b"\r\n", b"\n", b"\t", b"\x00", b"\x1b", b"\x1b[20",
    b"\x1b]0;title\x07", b"\x1bPq\x1b\\", b"\x1b[<0;1;1M", b"\x1b[97;5u", b"\xff", b"\xe2\x82", b"\xc2\x9b", b"plain",
    "שלום \u200f\U0001f468\u200d\U0001f469".encode(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ByteStream:
    """The bytes that are sent, and the texts that were pasted with them."""

    content: bytes
    pastes: tuple[str, ...]

    def cut(self, random: Random) -> list[bytes]:
        """Cuts the stream into pieces, none of them empty."""
        length = len(self.content)
        places = sorted(random.sample(range(1, length), min(length - 1, random.randrange(6)))) if length > 1 else []
        return [self.content[start:end] for start, end in zip([0, *places], [*places, length], strict=True)]


def random_stream(random: Random) -> ByteStream:
    """Makes a stream of one to five fragments, of which some are pastes."""
    parts: list[bytes] = []
    pastes: list[str] = []
    for _ in range(random.randint(1, 5)):
        kind = random.random()
        if kind < 0.3:
            body = _pasted_body(random)
            pastes.append(body.decode("utf-8", "replace"))
            parts.append(PASTE_START + body + PASTE_END)
        elif kind < 0.5:
            parts.append(random.choice(_WHOLE))
        elif kind < 0.75:
            parts.append(random.choice(_HOSTILE))
        elif kind < 0.85:
            parts.append(_random_sequence(random))
        elif kind < 0.93:
            parts.append(random.randbytes(random.randint(1, 12)))
        else:
            parts.append(random.choice((b"hello", "ü€😀".encode(), b"\r", b"\x08", b"\t")))
    return ByteStream(b"".join(parts), tuple(pastes))


def _pasted_body(random: Random) -> bytes:
    pieces = [random.choice(_PASTED) for _ in range(random.randint(0, 4))]
    if random.random() < 0.3:
        pieces.append(random.randbytes(random.randint(1, 16)))
    # The mark is last, so that the body does not end with what begins an end marker of its own.
    return b"".join(pieces).replace(PASTE_END, b"") + PASTED_MARK


def _random_sequence(random: Random) -> bytes:
    """Makes a sequence of the right shape, with any numbers."""
    numbers = [str(random.choice((0, 1, 5, 97, 9_999, 32_768, 1 << 40))) for _ in range(random.randint(0, 5))]
    opening = random.choice(("\x1b[", "\x1b[<", "\x1b[?", "\x1b[>", "\x1b[=", "\x1bO"))
    return (opening + random.choice(";:").join(numbers) + random.choice("@ABMRmuty~cnhlxq$p{}|")).encode()
