"""Results that are too large to be handed round: kept for a while where they were made, and read in pieces."""

import secrets
from collections import OrderedDict
from typing import ClassVar, NamedTuple

from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import ArtifactRead, ReadArtifact
from ..protocol.tools import Artifact
from ..runtime.actor import Actor
from ..runtime.context import Context

ROOM = 64 * 1024 * 1024
MOST = 1_000
"""Artifacts that are kept at once."""
SECONDS = 3600.0
BRIEFLY = 60.0
"""Seconds for what is kept only until the batch has taken from it what it needs."""
KEY = 16
"""Random bytes of an id: as many as a UUID has, none of them to be guessed."""


class Kept(NamedTuple):
    """The whole of a result: UTF-8, of the text itself if it `is_text`, else of its JSON. For `caller`, until then.

    `tainted`: it may hold what strangers have written.
    """

    data: bytes
    is_text: bool
    caller: str
    until: float
    tainted: bool = False


class Artifacts:
    """Keeps results in memory: `room` bytes, `most` of them and `seconds` at most.

    Where there is no room, what was kept or read least lately goes first, and what is kept briefly before all others.
    Time is looked at when somebody comes: what nobody asks for stays until its room is needed.
    """

    def __init__(self, instance: str, room: int = ROOM, most: int = MOST, seconds: float = SECONDS) -> None:
        self.instance = instance
        self.room = room
        self._most = most
        self._seconds = seconds
        self._size = 0
        self._brief: OrderedDict[str, Kept] = OrderedDict()
        self._long: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._brief) + len(self._long)

    def __repr__(self) -> str:
        return f"<Artifacts [kept: {len(self)} | bytes: {self._size} of {self.room}]>"

    def keep(
        self, data: bytes, caller: str, now: float, *, is_text: bool, briefly: bool = False, tainted: bool = False
    ) -> Artifact | None:
        """Keep a result for whoever is `caller`. None if there is no room for it at all."""
        if len(data) > self.room:
            return None
        self._drop_late(now)
        shelf = self._brief if briefly else self._long
        identity = f"{self.instance}.{secrets.token_urlsafe(KEY)}"
        seconds = min(BRIEFLY, self._seconds) if briefly else self._seconds
        shelf[identity] = Kept(data, is_text, caller, now + seconds, tainted)
        self._size += len(data)
        while self._size > self.room or len(self) > self._most:
            full = self._brief if next(iter(self._brief), identity) != identity else self._long
            self._drop(full, next(iter(full)))
        return Artifact(identity, len(data), self.instance)

    def find(self, identity: str, caller: str, now: float) -> Kept:
        """What is kept under an id. Raises ToolwireError where there is nothing for that caller."""
        for shelf in (self._long, self._brief):
            kept = shelf.get(identity)
            if kept is not None and kept.until > now and secrets.compare_digest(kept.caller.encode(), caller.encode()):
                shelf.move_to_end(identity)
                return kept
        raise ToolwireError(gone(identity))

    def _drop_late(self, now: float) -> None:
        for shelf in (self._brief, self._long):
            for identity in [identity for identity, kept in shelf.items() if kept.until <= now]:
                self._drop(shelf, identity)

    def _drop(self, shelf: OrderedDict[str, Kept], identity: str) -> None:
        self._size -= len(shelf.pop(identity).data)


class ArtifactActor(Actor):
    """Reads aloud what is kept in this process, to those for whom it is kept."""

    hears = ReadArtifact
    limit: ClassVar[int | None] = None

    def __init__(self, artifacts: Artifacts) -> None:
        self.artifacts = artifacts

    async def receive(self, message: ReadArtifact, context: Context) -> ArtifactRead:
        """Give a piece."""
        caller = context.whose().caller
        kept = self.artifacts.find(message.id, caller, context.system.clock())
        return piece(kept, message.offset, message.length)


def piece(kept: Kept, offset: int, length: int) -> ArtifactRead:
    """About `length` bytes from about `offset` on: never a part of a character, and never nothing before the end."""
    data, size = kept.data, len(kept.data)
    start = begin(data, min(max(offset, 0), size))
    end = begin(data, min(start + max(length, 1), size))
    if end <= start < size:
        end = start + 1
        while end < size and is_inside(data[end]):
            end += 1
    text = data[start:end].decode()
    return ArtifactRead(text, end if end < size else None, size, kept.is_text, kept.tainted)


def begin(data: bytes, place: int) -> int:
    """Where the character at `place` of UTF-8 begins."""
    while 0 < place < len(data) and is_inside(data[place]):
        place -= 1
    return place


def is_inside(byte: int) -> bool:
    """Whether a byte of UTF-8 goes on with the character before it."""
    return byte & 0b1100_0000 == 0b1000_0000  # noqa: PLR2004 - the two bits say so (RFC 3629)


def gone(identity: str) -> Failure:
    """That nothing is kept under an id. Who may not have it is told the same."""
    said = (
        f"there is no artifact {identity[:100]!r} here for you: it was never there, or it was kept only for a while; "
        "call the tool again that made it"
    )
    return failed("failed", said)
