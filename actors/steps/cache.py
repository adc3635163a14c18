"""What a tool answered may be given again, to the same caller for the same arguments, for as long as the tool says."""

from typing import Any

from msgspec.structs import replace

from ...protocol.kept import Kept
from ...protocol.tools import ToolResult, ToolSpec
from ...runtime.context import Context
from ..catalogue import Entry
from .contract import Following, Passage
from .identity import Identity, identity

MOST = 10_000
"""Results that one runtime keeps."""
ROOM = 64 * 1024 * 1024
"""Bytes of arguments and results that one runtime keeps."""
OVERHEAD = 1_024
"""About what an entry takes beside its texts, in bytes."""


class Cache:
    """Keeps successful results, never failures. Those of a tool that is replaced or gone are dropped."""

    def __init__(self, most: int = MOST, room: int = ROOM) -> None:
        self.kept: Kept[Identity, ToolResult[Any]] = Kept(most, room)

    def concerns(self, entry: Entry) -> bool:
        """Whether the tool lets its results be kept."""
        return entry.spec.cache is not None and entry.spec.read_only

    async def __call__(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """Answer with what is kept, or keep what comes. One whose whole is kept elsewhere for a time is not kept."""
        key, clock, seconds = identity(passage), context.system.clock, passage.entry.spec.cache
        if key is None or seconds is None:
            return await following(context)
        kept = self.kept.get(key, clock())
        if kept is not None:
            return replace(kept, id=passage.call.id, cached=True, attempts=0, queued=0.0, ran=0.0)
        result = await following(context)
        # What was shared is kept by the one that ran.
        if result.failure is None and result.content is not None and result.artifact is None and not result.shared:
            size = OVERHEAD + len(key.arguments) + len(key.caller) + len(result.content)
            self.kept.put(key, replace(result, hedged=False), key.tool, size, clock() + seconds)
        return result

    def add(self, spec: ToolSpec) -> None:
        """`spec` is new, or takes the place of another."""
        self.kept.forget(spec.name)

    def remove(self, name: str) -> None:
        """The tool is gone."""
        self.kept.forget(name)
