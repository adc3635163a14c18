"""What is kept for a while, bounded in number and size: the least recently used goes first.

cachetools has caches by time and by size, but one bound each: here are two, and all that belongs to one owner can be
dropped at once. No clock: instants come in as arguments, in seconds on any clock that does not go back.
"""

from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Held(NamedTuple, Generic[V]):
    """A value, whose it is, how large, and until when it is good."""

    value: V
    owner: str
    size: int
    until: float


class Kept(Generic[K, V]):
    """Values by key: at most `most` of them, and at most `room` of their sizes together."""

    def __init__(self, most: int, room: int) -> None:
        self.most = most
        self.room = room
        self.size = 0
        self._held: OrderedDict[K, Held[V]] = OrderedDict()
        self._owned: dict[str, set[K]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K, now: float) -> V | None:
        """What is kept under `key`, None if nothing is, or it is no longer good."""
        held = self._held.get(key)
        if held is None:
            return None
        if now >= held.until:
            self._drop(key)
            return None
        self._held.move_to_end(key)
        return held.value

    def put(self, key: K, value: V, owner: str, size: int, until: float) -> None:
        """Keep `value` until then, unless it is larger than the room; others go if there is not enough of it."""
        if key in self._held:
            self._drop(key)
        if size > self.room or self.most < 1:
            return
        while len(self._held) >= self.most or self.size + size > self.room:
            self._drop(next(iter(self._held)))
        self._held[key] = Held(value, owner, size, until)
        self._owned.setdefault(owner, set()).add(key)
        self.size += size

    def forget(self, owner: str) -> None:
        """Drop all that is kept for `owner`."""
        for key in list(self._owned.get(owner, ())):
            self._drop(key)

    def _drop(self, key: K) -> None:
        held = self._held.pop(key)
        self.size -= held.size
        keys = self._owned[held.owner]
        keys.discard(key)
        if not keys:
            del self._owned[held.owner]
