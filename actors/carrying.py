"""How a turn has ended, in no more bytes than one message carries. The history keeps everything."""

from msgspec.structs import replace

from ..protocol.envelope import encode
from ..protocol.failures import failed
from ..protocol.messages import TurnEnded
from .executor import fitted

WIDEST = 13
"""Bytes that a character of an answer may take: 4 as text, and up to 9 where it is a number of its output."""
AROUND = 4 * 1024
"""Bytes for what else stands in the message."""


def carried(ended: TurnEnded, room: int) -> TurnEnded:
    """`ended` as a message can carry it that takes twice `room` bytes: first results are left out, then the answer."""
    reply = ended.reply
    said = "the result stands in the history, but is too long for the reply"
    calls = fitted(reply.calls, room, said)
    if calls is not reply.calls:
        ended = TurnEnded(replace(reply, calls=calls))
    most = 2 * room - AROUND
    if len(reply.text) * WIDEST <= room or len(encode(ended)) <= most:
        return ended
    ended = TurnEnded(replace(reply, calls=fitted(reply.calls, 0, said)))
    size = len(encode(ended))
    if size <= most:
        return ended
    failure = failed("too_large", "the answer stands in the history, but is too long for the reply", "done", size=size)
    return TurnEnded(replace(ended.reply, text="", output=None, ended="failed", failure=failure))
