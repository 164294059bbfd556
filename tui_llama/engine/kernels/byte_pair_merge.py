"""Byte-pair merging in compiled code: a table of texts, a table of merges, and the merging of words.

Both tables are built straight from the bytes of the file, in some hundredths of a second for a vocabulary of 128k
tokens and 280k merges. They are open-addressing hash tables whose size is a power of two; a free slot is -1.
tokenizer/merging.py calls these kernels with the addresses of its arrays.
"""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.ir.simd import int32_at, int64_at, uint8_at
from tui_llama.engine.layouts.byte_pair_merge import NO_TOKEN
from tui_llama.engine.toolchain.numba_codegen import helper

_MERGED = -2
_SPACE = 0x20
# Fowler, Noll and Vo's hash, variant 1a
_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
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
def _find(texts: Any, text: Any, first: Any, second: Any) -> Any:
    """Returns the token whose text is two spans of `text`, concatenated; the second span may be empty."""
    table, slots, pool, starts, ends = texts
    state = _hash(_hash(_FNV_START, text, first[0], first[1]), text, second[0], second[1])
    mask = np.uint64(slots - 1)
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


@helper
def _texts(table: int, slots: int, pool: int, starts: int, ends: int) -> Any:
    """Returns the table of texts that `_find` searches, from its addresses."""
    begin, end = int64_at(np.uintp(starts)), int64_at(np.uintp(ends))
    return int32_at(np.uintp(table)), slots, uint8_at(np.uintp(pool)), begin, end


def enter_texts(table: int, slots: int, pool: int, starts: int, ends: int, count: int) -> None:
    """Enters all tokens into a table of texts.

    Args:
        table: Address of (slots,) int32, all free.
        slots: A power of two, at least twice the number of tokens.
        pool: Address of the bytes of all texts.
        starts: Address of (count,) int64: where each text begins in `pool`.
        ends: Address of (count,) int64: where each text ends.
        count: Number of tokens.
    """
    entries, _, data, begin, end = _texts(table, slots, pool, starts, ends)
    mask = np.uint64(slots - 1)
    for token in range(count):
        state = _hash(_FNV_START, data, begin[token], end[token])
        slot = (state ^ state >> np.uint64(32)) & mask
        while entries[slot] != NO_TOKEN:
            slot = (slot + np.uint64(1)) & mask
        entries[slot] = token


def read_merges(
    found: int, lines: int, line_starts: int, line_ends: int, line_count: int, table: int, slots: int, pool: int,
    starts: int, ends: int,
) -> int:  # fmt: skip
    """Splits merges at the first space that is not their first character, and looks up the tokens that they name.

    Args:
        found: Address of (merges, 3) int32, overwritten with the ids of both symbols and of the merged symbol, or -1.
        lines: Address of the bytes of all merges.
        line_starts: Address of (merges,) int64: where each merge begins in `lines`.
        line_ends: Address of (merges,) int64: where each merge ends.
        line_count: Number of merges.
        table: From `enter_texts`, as the remaining arguments.
        slots: Slots of the table.
        pool: The bytes of all texts.
        starts: Where each text begins.
        ends: Where each text ends.

    Returns:
        The number of the first line without such a space; the number of lines if all have one.
    """
    texts = _texts(table, slots, pool, starts, ends)
    out, data = int32_at(np.uintp(found)), uint8_at(np.uintp(lines))
    begin, stop = int64_at(np.uintp(line_starts)), int64_at(np.uintp(line_ends))
    for line in range(line_count):
        start, end = begin[line], stop[line]
        space = start + 1
        while space < end and data[space] != _SPACE:
            space += 1
        if space >= end:
            return line
        first, second, nothing = (start, space), (space + 1, end), (end, end)
        out[3 * line] = _find(texts, data, first, nothing)
        out[3 * line + 1] = _find(texts, data, second, nothing)
        out[3 * line + 2] = _find(texts, data, first, second)
    return line_count


@helper
def _pair_slot(pairs: Any, first: Any, second: Any) -> Any:
    """Returns the slot with the rank of a pair, or the free slot where it would be entered."""
    ranks, slots, merges = pairs
    mask = np.uint64(slots - 1)
    key = np.uint64(first) << np.uint64(32) | np.uint64(second)
    slot = key * _PAIR_FACTOR >> np.uint64(32) & mask
    while ranks[slot] >= 0 and (merges[3 * ranks[slot]] != first or merges[3 * ranks[slot] + 1] != second):
        slot = (slot + np.uint64(1)) & mask
    return slot


@helper
def _pairs(ranks: int, slots: int, merges: int) -> Any:
    """Returns the table of merges that `_pair_slot` searches, from its addresses."""
    return int32_at(np.uintp(ranks)), slots, int32_at(np.uintp(merges))


def enter_merges(ranks: int, slots: int, merges: int, count: int) -> None:
    """Enters the rank of every pair; a pair that is listed twice keeps the first.

    Args:
        ranks: Address of (slots,) int32, all free.
        slots: A power of two, at least twice the number of merges.
        merges: Address of (count, 3) int32: two symbols and the merged symbol, by rank.
        count: Number of merges.
    """
    pairs = _pairs(ranks, slots, merges)
    entries, _, symbols = pairs
    for rank in range(count):
        slot = _pair_slot(pairs, symbols[3 * rank], symbols[3 * rank + 1])
        if entries[slot] < 0:
            entries[slot] = rank


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
    """Removes the first entry of the heap, which is the smallest; returns the number of entries left."""
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
def _push_pair(heap: Any, count: int, pairs: Any, symbols: Any, first: int, place: int, following: int) -> int:
    """Pushes the merge of the symbols at two places, if there is one.

    The heap yields the lowest rank, then the first place.
    """
    if symbols[first + place] < 0 or symbols[first + following] < 0:
        return count
    rank = pairs[0][_pair_slot(pairs, symbols[first + place], symbols[first + following])]
    return count if rank < 0 else _push(heap, count, np.int64(rank) << _RANK_BITS | place)


@helper
def _merge(symbols: Any, first: int, count: int, links: Any, heap: Any, pairs: Any) -> int:
    """Merges `count` symbols from `first` on in place, and closes the gaps; returns the number of symbols left."""
    merges, size = pairs[2], 0
    for place in range(count):
        links[2 * place], links[2 * place + 1] = place - 1, place + 1
        if place + 1 < count:
            size = _push_pair(heap, size, pairs, symbols, first, place, place + 1)
    while size:
        rank, place = heap[0] >> _RANK_BITS, heap[0] & 0xFFFFFFFF
        size = _pop(heap, size)
        following = int(links[2 * place + 1])
        # A symbol of this pair may have been merged since the pair was pushed.
        if (
            following >= count
            or symbols[first + place] != merges[3 * rank]
            or symbols[first + following] != merges[3 * rank + 1]
        ):
            continue
        symbols[first + place], symbols[first + following] = merges[3 * rank + 2], _MERGED
        after, before = int(links[2 * following + 1]), int(links[2 * place])
        links[2 * place + 1] = after
        if after < count:
            links[2 * after] = place
            size = _push_pair(heap, size, pairs, symbols, first, place, after)
        if before >= 0:
            size = _push_pair(heap, size, pairs, symbols, first, before, place)
    kept = 0
    for place in range(count):
        if symbols[first + place] != _MERGED:
            symbols[first + kept] = symbols[first + place]
            kept += 1
    return kept


@helper
def _characters(text: Any, start: int, end: int, symbols: Any, first: int, bytes_as_tokens: Any, texts: Any) -> int:
    """Writes the symbols that a word begins with, from `first` on; returns their number.

    A symbol is a character of the word. A character without a token is written as the tokens of its bytes, or as -1 if
    it has none. `bytes_as_tokens` is the address of these tokens and their number, 0 or 256.
    """
    tokens_of_bytes, byte_count = bytes_as_tokens
    count, at = 0, start
    while at < end:
        after = at + 1
        while after < end and text[after] & 0xC0 == 0x80:
            after += 1
        symbol = _find(texts, text, (at, after), (after, after))
        spelled = symbol == NO_TOKEN and byte_count > 0
        for byte in range(at, after):
            spelled = spelled and tokens_of_bytes[text[byte]] != NO_TOKEN
        if spelled:
            for byte in range(at, after):
                symbols[first + count] = tokens_of_bytes[text[byte]]
                count += 1
        else:
            symbols[first + count] = symbol
            count += 1
        at = after
    return count


def merge_words(
    out: int, text: int, word_ends: int, word_count: int, whole_words: int, bytes_as_tokens: int, byte_count: int,
    ranks: int, rank_slots: int, merges: int, table: int, slots: int, pool: int, starts: int, ends: int, links: int,
    heap: int,
) -> int:  # fmt: skip
    """Turns words into tokens.

    Args:
        out: Address of (bytes of the text,) int32, overwritten from the start; -1 stands for a character without a
            token.
        text: Address of the UTF-8 bytes of the words, concatenated.
        word_ends: Address of (words,) int64: where each word ends in `text`.
        word_count: Number of words.
        whole_words: 1: a word that is a token stays whole, even if no merges lead to it.
        bytes_as_tokens: Address of (256,) int32: tokens for the bytes of characters without a token, or -1.
        byte_count: 256, or 0 if there are no such tokens.
        ranks: From `enter_merges`, as the next two.
        rank_slots: Slots of that table.
        merges: Two symbols and the merged symbol, by rank.
        table: From `enter_texts`, as the next four.
        slots: Slots of that table.
        pool: The bytes of all texts.
        starts: Where each text begins.
        ends: Where each text ends.
        links: Address of (bytes of the longest word, 2) int32, scratch memory.
        heap: Address of (3 × bytes of the longest word,) int64, scratch memory.

    Returns:
        The number of tokens.

    Source: Sennrich, Haddow and Birch 2016 (BPE). Naive twin: tests/naive/merging.py.
    """
    texts, pairs = _texts(table, slots, pool, starts, ends), _pairs(ranks, rank_slots, merges)
    symbols, data, word_end = int32_at(np.uintp(out)), uint8_at(np.uintp(text)), int64_at(np.uintp(word_ends))
    spellings = (int32_at(np.uintp(bytes_as_tokens)), byte_count)
    links_between, waiting = int32_at(np.uintp(links)), int64_at(np.uintp(heap))
    count, start = 0, 0
    for word in range(word_count):
        end = word_end[word]
        token = _find(texts, data, (start, end), (end, end)) if whole_words else np.int32(NO_TOKEN)
        if token != NO_TOKEN:
            symbols[count] = token
            count += 1
        else:
            length = _characters(data, start, end, symbols, count, spellings, texts)
            count += _merge(symbols, count, length, links_between, waiting, pairs)
        start = end
    return count
