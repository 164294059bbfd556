"""Samplers over plain lists of (token, logit), step by step as their papers and llama.cpp's documentation have them."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Logits: TypeAlias = list[tuple[int, float]]


def probabilities(logits: Logits) -> list[float]:
    """Returns the probability of each candidate, in their order."""
    best = max(logit for _, logit in logits)
    weights = [math.exp(logit - best) for _, logit in logits]
    return [weight / math.fsum(weights) for weight in weights]


def in_order(logits: Logits) -> Logits:
    """Returns the candidates, the best first, of equal ones the first."""
    return sorted(logits, key=lambda pair: -pair[1])


def top_n_sigma(logits: Logits, n: float) -> Logits:
    """Excludes what lies more than n standard deviations below the best."""
    allowed = [logit for _, logit in logits if logit != -math.inf]
    mean = math.fsum(allowed) / len(allowed)
    deviation = math.sqrt(math.fsum((logit - mean) ** 2 for logit in allowed) / len(allowed))
    return [(token, logit if logit >= max(allowed) - n * deviation else -math.inf) for token, logit in logits]


def typical(logits: Logits, p: float, min_keep: int = 0) -> Logits:
    """Keeps those whose surprise is nearest to the entropy, until they have more than the probability p."""
    ordered = in_order(logits)
    chances = probabilities(ordered)
    entropy = -math.fsum(chance * math.log(chance) for chance in chances if chance > 0)
    strange = [abs(-math.log(chance) - entropy) if chance > 0 else math.inf for chance in chances]
    kept: Logits = []
    total = 0.0
    for place in sorted(range(len(ordered)), key=lambda place: strange[place]):
        kept.append(ordered[place])
        total += chances[place]
        if total > p and len(kept) >= min_keep:
            break
    return kept


def xtc(logits: Logits, threshold: float, min_keep: int = 0) -> Logits:
    """Drops all whose probability is at least the threshold, except the last of them."""
    ordered = in_order(logits)
    likely = sum(chance >= threshold for chance in probabilities(ordered))
    left = ordered[likely - 1 :] if likely > 1 else ordered
    return left if len(left) >= min_keep else ordered


def dynamic_temperature(logits: Logits, least: float, most: float, exponent: float) -> Logits:
    """Divides by a temperature between two, by the entropy as a share of the largest one."""
    chances = probabilities(logits)
    entropy = -math.fsum(chance * math.log(chance) for chance in chances if chance > 0)
    temperature = least + (most - least) * (entropy / math.log(len(logits))) ** exponent
    return in_order([(token, logit / temperature) for token, logit in logits])


def mirostat_count(logits: Logits, surprise: float, vocab_size: int) -> int:
    """Returns how many candidates mirostat 1 keeps."""
    chances = probabilities(in_order(logits))[:100]
    steps = [
        (math.log((rank + 2) / (rank + 1)), math.log(chances[rank] / chances[rank + 1]))
        for rank in range(len(chances) - 1)
    ]
    exponent = math.fsum(t * b for t, b in steps) / math.fsum(t * t for t, _ in steps)
    excess = exponent - 1
    return max(1, int((excess * 2**surprise / (1 - vocab_size**-excess)) ** (1 / exponent)))


def adaptive(logits: Logits, wanted: float) -> list[float]:
    """Returns the probabilities after those near the wanted one were preferred."""
    distances = [abs(chance - wanted) / 0.3 for chance in probabilities(logits)]
    return probabilities([(token, 5 - 10 * d * d / (1 + d)) for (token, _), d in zip(logits, distances, strict=True)])


def drawn_place(chances: Sequence[float], uniform: float) -> int:
    """Returns the place at which the running sum reaches a number."""
    total = 0.0
    for place, chance in enumerate(chances):
        total += chance
        if total >= uniform:
            return place
    return len(chances) - 1


def dry_lengths(
    history: Sequence[int], last_n: int, allowed: int, breakers: Mapping[int, Sequence[Sequence[int]]]
) -> dict[int, int]:
    """Returns the tokens that would prolong a repetition, and its length: every place is compared with the end."""
    recent = list(history)[-last_n:]
    limit = _since_breaker(recent, breakers)
    if len(recent) <= allowed or limit < allowed:
        return {}
    found: dict[int, int] = {}
    for place in range(len(recent) - 1):
        length = 0
        while length < min(place + 1, limit) and recent[place - length] == recent[-1 - length]:
            length += 1
        if length >= allowed:
            token = recent[place + 1]
            found[token] = max(found.get(token, 0), length)
    return {
        token: length for token, length in found.items() if [] not in [list(each) for each in breakers.get(token, [])]
    }


def _since_breaker(recent: list[int], breakers: Mapping[int, Sequence[Sequence[int]]]) -> int:
    for after, token in enumerate(reversed(recent)):
        newer = recent[len(recent) - after :]
        tails = [len(tail) for tail in breakers.get(token, []) if newer[: len(tail)] == list(tail)]
        if tails:
            return after - max(tails)
    return len(recent)


def breaker_heads(pieces: Sequence[bytes], breaker: bytes) -> dict[int, set[bytes]]:
    """Returns the tokens in which a breaker lies or begins, each with what is left of the breaker after it."""
    found: dict[int, set[bytes]] = {}
    for token, piece in enumerate(pieces):
        if breaker in piece:
            found[token] = {b""}
            continue
        for start in range(len(piece)):
            if breaker.startswith(piece[start:]):
                found.setdefault(token, set()).add(breaker[len(piece) - start :])
    return found
