"""Selection by words: BM25 over the words of a tool's name, description and parameters.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the weighted
fields of its BM25F. Written by hand because the libraries build their index in one go: rank-bm25 and bm25s have no
word for a document that comes or goes (bm25s issues 5, 19 and 129), and tools do so all the time.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from heapq import nsmallest
from math import log

from ...protocol.tools import ToolSpec
from .contract import Among

K1 = 1.2
B = 0.75
NAME, DESCRIPTION, PARAMETER, DETAIL = 2.0, 1.0, 1.0, 0.5
"""What a word weighs by where it stands; a detail is what a parameter says of itself. Chosen, like `B`, on 1,750
questions of the leaderboard BFCL with 1,824 tools: the right ones are among the first 5 (10) in 73 (83) of 100;
without the details in 66 (76)."""
FEW = 64
"""Among more tools than that, a word that stands in more than half of them says nothing, and is passed over."""
LONGEST_QUERY = 4_000
"""Characters of a query that are read, the last ones: what was asked stands at the end of what was pasted."""

_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Keyword:
    """A selection strategy that knows words and no meaning. Its index grows and shrinks with its tools."""

    def __init__(self) -> None:
        self._postings: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._words: dict[str, dict[str, float]] = {}
        self._lengths: dict[str, float] = {}
        self._length = 0.0
        self._shares: dict[str, tuple[tuple[str, float], ...]] = {}

    def __repr__(self) -> str:
        return f"<Keyword [tools: {len(self._words)} | words: {len(self._postings)}]>"

    def add(self, spec: ToolSpec) -> None:
        """Take in a tool; one of the same name is replaced."""
        self.remove(spec.name)
        words = _weighted(spec)
        for word, weight in words.items():
            self._postings[word][spec.name] = weight
        self._words[spec.name] = words
        self._lengths[spec.name] = length = sum(words.values())
        self._length += length

    def remove(self, name: str) -> None:
        """Forget a tool. One that is not known is no error."""
        for word in self._words.pop(name, ()):
            postings = self._postings[word]
            del postings[name]
            if not postings:
                del self._postings[word]
        self._length -= self._lengths.pop(name, 0.0)
        self._shares.clear()

    def select(self, query: str, *, limit: int, among: Among | None = None) -> list[str]:
        """The names of the tools that share the rarest words with `query`; ties by name."""
        scores = self._scores(query)
        if not scores:
            return []
        if among is not None:
            scores = {name: score for name, score in scores.items() if among(name)}
        best = nsmallest(limit, [(-score, name) for name, score in scores.items()])
        return [name for _, name in best]

    def _scores(self, query: str) -> dict[str, float]:
        scores: dict[str, float] = {}
        for word in dict.fromkeys(words_of(query[-LONGEST_QUERY:])):
            shares = self._shares.get(word)
            if shares is None:
                if word not in self._postings:
                    continue
                shares = self._shares[word] = tuple(self._shared(word))
            for name, share in shares:
                scores[name] = scores.get(name, 0.0) + share
        return scores

    def _shared(self, word: str) -> Iterator[tuple[str, float]]:
        """What `word` adds to the score of each tool that has it. It holds until a tool comes or goes."""
        postings, tools = self._postings[word], len(self._words)
        if tools > FEW and len(postings) > tools / 2:
            return
        rarity = (K1 + 1) * log(1 + (tools - len(postings) + 0.5) / (len(postings) + 0.5))
        mean = self._length / tools
        for name, weight in postings.items():
            yield name, rarity * weight / (weight + K1 * (1 - B + B * self._lengths[name] / mean))


def words_of(text: str) -> list[str]:
    """The words of `text`, those in snake_case, camelCase and dotted.names too, without the commonest endings."""
    return [part for word in _WORD.findall(text) for part in _parts(word)]


@lru_cache(maxsize=8_192)
def _parts(word: str) -> tuple[str, ...]:
    return tuple(map(_stem, [word] if word.isupper() else _HUMP.split(word)))


def _stem(word: str) -> str:
    """`word` in small letters, without the ending of a plural or of a verb, where enough of it is left."""
    word = word.casefold()
    for ending, least, instead in _ENDINGS:
        if len(word) >= least and word.endswith(ending):
            return word[: -len(ending)] + instead
    return word


_ENDINGS = (
    ("ies", 5, "y"),
    ("ss", 2, "ss"),
    ("us", 2, "us"),
    ("s", 4, ""),
    ("ing", 6, ""),
    ("ed", 5, ""),
)


def _weighted(spec: ToolSpec) -> dict[str, float]:
    """The words of a tool, and what each weighs: the sum over where it stands."""
    weights: dict[str, float] = {}
    for text, weight in _texts(spec):
        for word in words_of(text):
            weights[word] = weights.get(word, 0.0) + weight
    return weights


def _texts(spec: ToolSpec) -> Iterator[tuple[str, float]]:
    yield spec.name, NAME
    yield spec.description, DESCRIPTION
    properties = spec.parameters.get("properties")
    if not isinstance(properties, dict):
        return
    for name, schema in properties.items():
        yield name, PARAMETER
        if isinstance(schema, dict):
            yield str(schema.get("description", "")), DETAIL
            choices = schema.get("enum")
            yield from ((str(choice), DETAIL) for choice in (choices if isinstance(choices, list) else ()))
