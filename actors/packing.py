"""What is sent of a result that is too large: its head, and where the rest is."""

import sys
from typing import Any

import msgspec
from msgspec.structs import replace

from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.tools import Artifact, encode_json
from ..runtime.context import Context
from .artifacts import Artifacts
from .guard import Guard
from .tool import encoded

HEAD = 2_048
"""Bytes of what was spilled that are shown all the same."""
READ_WITH = "read_artifact"
"""The tool that reads the rest."""
HEADROOM = 64 * 1024
"""Bytes that a bus needs for what stands around a result."""

Packed = tuple[str | None, Failure | None, Artifact | None]
"""The content of an answer, or its failure, and where the whole result is."""


class Packing:
    """Packs the results of one tool that says what becomes of large ones."""

    def __init__(self, guard: Guard, artifacts: Artifacts, largest: int) -> None:
        self.guard = guard
        self.artifacts = artifacts
        self.largest = largest if guard.result_bytes is None else guard.result_bytes

    @property
    def most(self) -> int:
        """How many bytes of JSON there may be before they are packed, where they have to come from elsewhere."""
        return self.largest if self.guard.result == "refuse" else max(self.largest, self.artifacts.room)

    def pack(self, value: object, context: Context, *, tainted: bool) -> Packed:
        """`value` as it is answered. `tainted`: it may hold what strangers have written."""
        if self.guard.result == "refuse":
            return (*encoded(value, self.largest), None)
        content, failure = encoded(value, sys.maxsize)
        if content is None:
            return None, failure, None
        data = content.encode()
        limit = min(self.largest, context.system.bus.largest - HEADROOM)
        return (content, None, None) if len(data) <= limit else self._stored(data, limit, context, tainted=tainted)

    def _stored(self, data: bytes, limit: int, context: Context, *, tainted: bool) -> Packed:
        is_text = data.startswith(b'"')
        if is_text:
            text: str = msgspec.json.decode(data)
            data = text.encode()
        briefly = self.guard.result == "truncate"
        try:
            trail, now = context.whose(), context.system.clock()
        except ToolwireError as error:
            return None, replace(error.failure, effect="done"), None
        tainted = tainted or trail.tainted
        artifact = self.artifacts.keep(data, trail.caller, now, is_text=is_text, briefly=briefly, tainted=tainted)
        if briefly:
            return truncated(data, limit), None, artifact or Artifact("", len(data), self.artifacts.instance)
        if artifact is None:
            room = self.artifacts.room
            said = f"the tool did its work, but its result has {len(data)} bytes; at most {room} are kept"
            return None, failed("too_large", said, "done", size=len(data), limit=room), None
        return spilled(data, limit, artifact), None, artifact


def truncated(data: bytes, limit: int) -> str:
    """The head of a result, in about `limit` bytes of JSON, and a sentence about the rest."""
    told: dict[str, Any] = {"truncated": True, "bytes": len(data), "missing": "", "head": ""}
    room = limit - len(encode_json(told)) - len(missing(len(data), len(data)))
    told["head"] = head(data, room)
    told["missing"] = missing(len(data), len(told["head"].encode()))
    return encode_json(told).decode()


def spilled(data: bytes, limit: int, artifact: Artifact) -> str:
    """Where a result is, and how it begins."""
    told = {"artifact": artifact.id, "bytes": len(data), "head": "", "read_with": READ_WITH}
    told["head"] = head(data[:HEAD], limit - len(encode_json(told)))
    return encode_json(told).decode()


def missing(size: int, shown: int) -> str:
    """What is not there, for whoever has to do without."""
    return f"only the first {shown} of {size} bytes are here; ask for less to see more of it"


def head(data: bytes, room: int) -> str:
    """As much of the head of UTF-8 as takes at most `room` bytes in JSON, and nearly that; in whole characters."""
    size = min(len(data), max(room, 0))
    while True:
        text = data[:size].decode(errors="ignore")
        takes = len(encode_json(text)) - 2
        if takes <= max(room, 0):
            return text
        size = min(size - 1, size * room // takes)
