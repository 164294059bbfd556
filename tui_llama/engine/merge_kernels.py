"""Byte-pair merging in compiled code: a table of texts, a table of merges, and the merging of words.

Both tables hold a vocabulary of 128k tokens and 280k merges, and are made in some hundredths of a second, straight
from the bytes of the file. They are open-addressing hash tables whose size is a power of two; a free slot is -1.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from tui_llama.engine.compilation import compile_now, helper, kernel

ByteArray = npt.NDArray[np.uint8]
IdArray = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]

NO_TOKEN = -1
_MERGED = -2
_SPACE = 0x20
_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # Fowler, Noll and Vo's hash, 1a
_PAIR_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hashing: 2^64 / the golden ratio
_RANK_BITS = 32


@helper
def _hash(state: Any, text: Any, start: int, end: int) -> Any:
    for at in range(start, end):
        state = (state ^ np.uint64(text[at])) * _FNV_PRIME
    return state


@helper
def _same(pool: Any, at: int, text: Any, start: int, end: int) -> Any:
    same = 0
    while start + same < end and pool[at + same] == text[start + same]:
        same += 1
    return start + same >= end


@helper
def _find(table: Any, pool: Any, starts: Any, ends: Any, text: Any, first: Any, second: Any) -> Any:
    """The token whose text is that of two spans of `text`, one behind the other; the second may be empty."""
    state = _hash(_hash(_FNV_START, text, first[0], first[1]), text, second[0], second[1])
    mask = np.uint64(len(table) - 1)
    slot = (state ^ state >> np.uint64(32)) & mask
    middle, length = first[1] - first[0], first[1] - first[0] + second[1] - second[0]
    while table[slot] != NO_TOKEN:
        token = table[slot]
        at = starts[token]
        if (
            ends[token] - at == length
            and _same(pool, at, text, first[0], first[1])
            and _same(pool, at + middle, text, second[0], second[1])
        ):
            return token
        slot = (slot + np.uint64(1)) & mask
    return NO_TOKEN


@kernel
def enter_texts(table: IdArray, pool: ByteArray, starts: IntArray, ends: IntArray) -> None:
    """Enters token after token.

    Args:
        table: (slots,) int32, all free, at least twice as many as tokens.
        pool: The bytes of all texts.
        starts: (tokens,) where in `pool` each text begins.
        ends: (tokens,) where it has ended.
    """
    mask = np.uint64(len(table) - 1)
    for token in range(len(starts)):
        state = _hash(_FNV_START, pool, starts[token], ends[token])
        slot = (state ^ state >> np.uint64(32)) & mask
        while table[slot] != NO_TOKEN:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = token


@kernel
def read_merges(
    found: IdArray, lines: ByteArray, line_starts: IntArray, line_ends: IntArray,
    table: IdArray, pool: ByteArray, starts: IntArray, ends: IntArray,
) -> int:  # fmt: skip
    """Cuts merges at the first space that is not their first character, and finds what they speak of.

    Args:
        found: (merges, 3) int32, overwritten with the ids of both symbols and of what becomes of them, or -1.
        lines: The bytes of all merges.
        line_starts: (merges,) where in `lines` each merge begins.
        line_ends: (merges,) where it has ended.
        table: From `enter_texts`, as the rest.
        pool: The bytes of all texts.
        starts: Where each begins.
        ends: Where it has ended.

    Returns:
        The first line that has no such space; their number if all have one.
    """
    for line in range(len(line_starts)):
        start, end = line_starts[line], line_ends[line]
        space = start + 1
        while space < end and lines[space] != _SPACE:
            space += 1
        if space >= end:
            return line
        first, second, nothing = (start, space), (space + 1, end), (end, end)
        found[line, 0] = _find(table, pool, starts, ends, lines, first, nothing)
        found[line, 1] = _find(table, pool, starts, ends, lines, second, nothing)
        found[line, 2] = _find(table, pool, starts, ends, lines, first, second)
    return len(line_starts)


@helper
def _pair_slot(ranks: Any, merges: Any, first: Any, second: Any) -> Any:
    """Where the rank of a pair stands, or the free slot where it would."""
    mask = np.uint64(len(ranks) - 1)
    key = np.uint64(first) << np.uint64(32) | np.uint64(second)
    slot = key * _PAIR_FACTOR >> np.uint64(32) & mask
    while ranks[slot] >= 0 and (merges[ranks[slot], 0] != first or merges[ranks[slot], 1] != second):
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def enter_merges(ranks: IdArray, merges: IdArray) -> None:
    """Enters the rank of every pair; one that is listed twice keeps the first.

    Args:
        ranks: (slots,) int32, all free, at least twice as many as merges.
        merges: (merges, 3) int32: two symbols and what becomes of them, by rank.
    """
    for rank in range(len(merges)):
        slot = _pair_slot(ranks, merges, merges[rank, 0], merges[rank, 1])
        if ranks[slot] < 0:
            ranks[slot] = rank


@helper
def _push(heap: Any, count: int, entry: Any) -> int:
    at = count
    while at > 0 and heap[(at - 1) // 2] > entry:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = entry
    return count + 1


@helper
def _pop(heap: Any, count: int) -> int:
    """Takes the smallest entry, which is the first, away; returns how many are left."""
    count -= 1
    entry, at = heap[count], 0
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry
    return count


@helper
def _push_pair(heap: Any, count: int, ranks: Any, merges: Any, symbols: Any, place: int, following: int) -> int:
    """Offers the merge of the symbols at two places, if there is one: the lowest rank, then the first place, wins."""
    if symbols[place] < 0 or symbols[following] < 0:
        return count
    rank = ranks[_pair_slot(ranks, merges, symbols[place], symbols[following])]
    return count if rank < 0 else _push(heap, count, np.int64(rank) << _RANK_BITS | place)


@helper
def _merge(symbols: Any, count: int, links: Any, heap: Any, ranks: Any, merges: Any) -> int:
    """Merges the first `count` symbols in place and moves what is left together; returns how many there are."""
    size = 0
    for place in range(count):
        links[place, 0], links[place, 1] = place - 1, place + 1
        if place + 1 < count:
            size = _push_pair(heap, size, ranks, merges, symbols, place, place + 1)
    while size:
        rank, place = heap[0] >> _RANK_BITS, heap[0] & 0xFFFFFFFF
        size = _pop(heap, size)
        following = links[place, 1]
        # What was offered may have been merged meanwhile, or have another neighbour.
        if following >= count or symbols[place] != merges[rank, 0] or symbols[following] != merges[rank, 1]:
            continue
        symbols[place], symbols[following] = merges[rank, 2], _MERGED
        after, before = links[following, 1], links[place, 0]
        links[place, 1] = after
        if after < count:
            links[after, 0] = place
            size = _push_pair(heap, size, ranks, merges, symbols, place, after)
        if before >= 0:
            size = _push_pair(heap, size, ranks, merges, symbols, before, place)
    kept = 0
    for place in range(count):
        if symbols[place] != _MERGED:
            symbols[kept] = symbols[place]
            kept += 1
    return kept


@helper
def _characters(
    text: ByteArray, start: int, end: int, symbols: IdArray, bytes_as_tokens: IdArray,
    table: IdArray, pool: ByteArray, starts: IntArray, ends: IntArray,
) -> int:  # fmt: skip
    """The symbols that a word begins as: its characters; for one without a token those of its bytes, or -1."""
    count, at = 0, start
    while at < end:
        after = at + 1
        while after < end and text[after] & 0xC0 == 0x80:
            after += 1
        symbol = _find(table, pool, starts, ends, text, (at, after), (after, after))
        spelled = symbol == NO_TOKEN and len(bytes_as_tokens) > 0
        for byte in range(at, after):
            spelled = spelled and bytes_as_tokens[text[byte]] != NO_TOKEN
        if spelled:
            for byte in range(at, after):
                symbols[count] = bytes_as_tokens[text[byte]]
                count += 1
        else:
            symbols[count] = symbol
            count += 1
        at = after
    return count


@kernel
def merge_words(
    out: IdArray, text: ByteArray, word_ends: IntArray, whole_words: bool, bytes_as_tokens: IdArray,
    ranks: IdArray, merges: IdArray, table: IdArray, pool: ByteArray, starts: IntArray, ends: IntArray,
) -> int:  # fmt: skip
    """Turns words into tokens.

    Args:
        out: (bytes of the text,) int32, overwritten from the start; -1 stands for a character without a token.
        text: The UTF-8 bytes of the words, one behind the other.
        word_ends: (words,) where in `text` each word has ended.
        whole_words: Whether a word that is a token is taken whole, whatever merges say.
        bytes_as_tokens: (256,) int32, tokens for the bytes of characters without one, or -1; (0,) for no such tokens.
        ranks: From `enter_merges`, as the next.
        merges: Two symbols and what becomes of them, by rank.
        table: From `enter_texts`, as the rest.
        pool: The bytes of all texts.
        starts: Where each begins.
        ends: Where it has ended.

    Returns:
        How many tokens there are.

    Source: Sennrich, Haddow and Birch 2016 (BPE). Naive twin: tests/naive/merging.py.
    """
    longest, start = 0, 0
    for end in word_ends:
        longest, start = max(longest, end - start), end
    links, heap = np.empty((longest, 2), np.int32), np.empty(3 * longest, np.int64)
    count, start = 0, 0
    for end in word_ends:
        token = _find(table, pool, starts, ends, text, (start, end), (end, end)) if whole_words else NO_TOKEN
        symbols = out[count:]
        if token != NO_TOKEN:
            symbols[0] = token
            count += 1
        else:
            length = _characters(text, start, end, symbols, bytes_as_tokens, table, pool, starts, ends)
            count += _merge(symbols, length, links, heap, ranks, merges)
        start = end
    return count


_IDS, _ID_TRIPLES = types.int32[::1], types.int32[:, ::1]
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PLACES = types.int64[::1]
_TEXTS = (_IDS, _BYTES, _PLACES, _PLACES)


def compile_merging() -> None:
    """Compiles the kernels, or loads them from the cache."""
    compile_now(enter_texts, types.void(*_TEXTS))
    compile_now(read_merges, types.int64(_ID_TRIPLES, _BYTES, _PLACES, _PLACES, *_TEXTS))
    compile_now(enter_merges, types.void(_IDS, _ID_TRIPLES))
    compile_now(merge_words, types.int64(_IDS, _BYTES, _PLACES, types.boolean, _IDS, _IDS, _ID_TRIPLES, *_TEXTS))
