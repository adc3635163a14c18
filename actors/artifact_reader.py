"""Reads artifacts, wherever they are kept: for programs, for calls that take a result in, and as a tool for models."""

import re
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from ..protocol.envelope import encode
from ..protocol.failures import Misuse, ToolwireError, failed
from ..protocol.messages import ArtifactRead, ReadArtifact
from ..protocol.tools import Artifact, ToolResult, encode_json
from ..runtime import context
from .artifacts import Artifacts, gone
from .context import Context
from .tool import tool

ID = re.compile(r"([A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_-]{16,64}")
"""The instance that keeps it, and what nobody can guess."""

STEP = 128 * 1024
"""Bytes of one piece on a bus."""
LONGEST = 32_000
"""Bytes of one piece for a model: in JSON they are at most six times as many, and have to fit a result."""

GONE = {"unreachable", "worker_lost"}
"""How it is told that whoever kept it is not there any more."""


class Whole(NamedTuple):
    """A whole result: the text that a tool returned if it `is_text`, else JSON."""

    text: str
    is_text: bool

    def json(self) -> str:
        """It as JSON text."""
        return encode_json(self.text).decode() if self.is_text else self.text


class ArtifactPart(Struct):
    """A piece of what a tool returned. `next_offset` is where the next one begins, null at the end."""

    text: str
    next_offset: int | None
    size: int


async def part(asking: context.Context, identity: str, offset: int, length: int) -> ArtifactRead:
    """A piece of an artifact, from the process that keeps it. Raises ToolwireError."""
    found = ID.fullmatch(identity)
    if found is None:
        raise ToolwireError(gone(identity))
    instance = found[1]
    address = asking.system.address("artifact", instance)
    try:
        return await asking.ask(address, ReadArtifact(identity, offset, length), to=instance)
    except ToolwireError as error:
        if error.failure.code in GONE:
            raise ToolwireError(gone(identity)) from error
        raise


async def whole(asking: context.Context, artifacts: Artifacts, identity: str) -> Whole:
    """All of an artifact, from `artifacts` if it is kept here. Raises ToolwireError."""
    if identity.startswith(f"{artifacts.instance}."):
        kept = artifacts.find(identity, asking.whose().caller, asking.system.clock())
        return Whole(kept.data.decode(), kept.is_text)
    read = await part(asking, identity, 0, STEP)
    pieces = [read.text]
    while read.next is not None:
        read = await part(asking, identity, read.next, STEP)
        pieces.append(read.text)
    return Whole("".join(pieces), read.is_text)


async def read_whole(
    asking: context.Context, artifacts: Artifacts, of: ToolResult[Any] | Artifact | str, caller: str
) -> str:
    """All of a result that was too large, for `caller`: its text or its JSON. Raises ToolwireError."""
    named = of.artifact if isinstance(of, ToolResult) else of
    if named is None:
        raise Misuse(failed("invalid_call", "the result has no artifact: all of it is in its content"))
    asking.trail = Raw(encode(replace(asking.whose(), caller=caller)))
    return (await whole(asking, artifacts, named if isinstance(named, str) else named.id)).text


# Described here and not in a docstring: to read one takes a parser, for which no program should wait that needs none.
@tool(read_only=True, description="Read a piece of a large result that was kept as an artifact.")
async def read_artifact(
    artifact: Annotated[str, Meta(description="The id of the artifact.")],
    context: Context,
    offset: Annotated[
        int, Meta(ge=0, description="Where to begin, in bytes: 0, or next_offset of the piece before.")
    ] = 0,
    length: Annotated[int, Meta(ge=1, le=LONGEST, description="How many bytes to read.")] = 4000,
) -> ArtifactPart:
    read = await part(context, artifact, offset, length)
    context.tainted = context.tainted or read.tainted
    return ArtifactPart(read.text, read.next, read.size)
