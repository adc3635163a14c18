"""What is taken down of one call when it has ended: whose it was, how it went, how long it took. No content."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from .envelope import NO_MESSAGE, Trail, decode_trail
from .tools import ToolResult

OK = "ok"
"""The `code` of a call that succeeded."""
LONGEST = 256
"""Characters that are kept of an id or a tool's name: a model may write any, and no tool's name is longer."""


class CallRecord(Struct, frozen=True, omit_defaults=True, gc=False):
    """One call that has ended, at `time` (UTC).

    `code` is "ok", or that of its failure, and `effect` what that says of the world. Times are in seconds: `seconds`
    for all of it, `queued` at the tool's door and `ran` in the tool for the last attempt. `arguments`, `result`,
    `message` (of the failure) and `caller` are its content, "" unless that was switched on; secrets show as `***`.
    """

    time: datetime
    id: str
    tool: str
    conversation: str = ""
    turn: str = ""
    agent: str = ""
    code: str = OK
    effect: str = ""
    attempts: int = 0
    seconds: float = 0.0
    queued: float = 0.0
    ran: float = 0.0
    worker: str = ""
    shared: bool = False
    cached: bool = False
    hedged: bool = False
    repaired: bool = False
    arguments: str = ""
    result: str = ""
    message: str = ""
    caller: str = ""


def recorded(result: ToolResult[Any], trail: Trail, time: datetime) -> CallRecord:
    """What is taken down of a call that ended in `result`, without content."""
    failure = result.failure
    return CallRecord(
        time,
        shortened(result.id),
        shortened(result.name),
        trail.conversation,
        trail.turn,
        trail.agent,
        OK if failure is None else failure.code,
        "" if failure is None else failure.effect,
        result.attempts,
        result.seconds,
        result.queued,
        result.ran,
        result.worker,
        result.shared,
        result.cached,
        result.hedged,
        bool(result.mended),
    )


def shortened(text: str) -> str:
    """`text`, or its beginning where it is longer than any that a record needs."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


class Wanted(Struct, frozen=True):
    """Which records are looked for: those that fit all that is said. `since` is an instant with a time zone."""

    tool: str | None = None
    conversation: str | None = None
    code: str | None = None
    since: datetime | None = None

    def fits(self, record: CallRecord) -> bool:
        """Whether `record` is one of them."""
        return (
            (self.tool is None or record.tool == self.tool)
            and (self.conversation is None or record.conversation == self.conversation)
            and (self.code is None or record.code == self.code)
            and (self.since is None or record.time >= self.since)
        )


def whose(trail: msgspec.Raw) -> Trail:
    """The trail of a call; an empty one if it can't be read, for its end is to be taken down all the same."""
    try:
        return decode_trail(trail)
    except NO_MESSAGE:
        return Trail()


read = msgspec.json.Decoder(CallRecord).decode
written = msgspec.json.Encoder().encode
