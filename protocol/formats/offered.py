"""Tools as they are offered round after round: each is translated once, and a list that was offered before, not at all.

Specs are never changed, so one is known by its identity; what is remembered of it keeps it alive, so that nobody else
gets its identity.
"""

from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Raw, Struct

from ..tools import ToolSpec, encode_json
from .contract import Format

SPECS = 8_192
LISTS = 64


class Offered(Struct, frozen=True):
    """Tools in a provider's words, as one JSON text, and how its names lead back to ours."""

    specs: tuple[ToolSpec, ...]
    told: Raw
    names: dict[str, str]


class Offers:
    """The tools that were offered last, in one format. What is over a limit is forgotten, the oldest first."""

    def __init__(self, format_: Format, *, strict: bool = False, specs: int = SPECS, lists: int = LISTS) -> None:
        self._format = format_
        self._strict = strict
        self._limits = (specs, lists)
        self._specs: OrderedDict[int, tuple[ToolSpec, bytes]] = OrderedDict()
        self._lists: OrderedDict[tuple[int, ...], Offered] = OrderedDict()

    def told(self, specs: Sequence[ToolSpec]) -> Offered:
        """`specs` in the provider's words: a JSON list of what `Format.tool_to` gives for each."""
        key = tuple(map(id, specs))
        known = self._lists.get(key)
        if known is None:
            told = b"[" + b",".join([self._told(spec) for spec in specs]) + b"]"
            known = self._lists[key] = Offered(tuple(specs), Raw(told), self._format.names.back(specs))
            if len(self._lists) > self._limits[1]:
                self._lists.popitem(last=False)
        self._lists.move_to_end(key)
        return known

    def _told(self, spec: ToolSpec) -> bytes:
        known = self._specs.get(id(spec))
        if known is None:
            known = self._specs[id(spec)] = spec, encode_json(self._format.tool_to(spec, strict=self._strict))
            if len(self._specs) > self._limits[0]:
                self._specs.popitem(last=False)
        self._specs.move_to_end(id(spec))
        return known[1]
