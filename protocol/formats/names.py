"""Names of tools and ids of calls as others take them. Two names never become one, nor do two ids."""

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from typing import Final, NamedTuple

from ..naming import ACCEPTED
from ..tools import ToolSpec

_ESCAPED = re.compile(r".*__[0-9a-f]{16}", re.DOTALL)
_READABLE = 46  # and two underscores, and sixteen digits: 64
_STRANGE = re.compile(r"[^a-zA-Z0-9_-]")


class Names(NamedTuple):
    """Which names a provider takes for a tool, and which ids for a call."""

    name: re.Pattern[str]
    id: re.Pattern[str]

    def told(self, name: str) -> str:
        """`name` as it is taken there.

        A name that has the form of an escaped one is escaped too, so nobody can pass for another by choosing a name.
        """
        if self.name.fullmatch(name) and not _ESCAPED.fullmatch(name):
            return name
        readable = _STRANGE.sub("_", name)
        if not self.name.fullmatch(readable[:1] or "_"):
            readable = f"_{readable}"
        return f"{readable[:_READABLE]}__{digest(name, 8)}"

    def back(self, specs: Iterable[ToolSpec]) -> dict[str, str]:
        """Their names of `specs` and ours, where they differ."""
        return {theirs: spec.name for spec in specs if (theirs := self.told(spec.name)) != spec.name}

    def call_id(self, id_: str) -> str:
        """The id of a call as it is taken there."""
        if self.id.fullmatch(id_) and not _ESCAPED.fullmatch(id_):
            return id_
        return f"call__{digest(id_, 8)}"


def digest(text: str, size: int) -> str:
    """`size` bytes that stand for `text`, in hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


# "string too long. Expected a string with maximum length 40": messages[].tool_calls[].id
OPENAI: Final = Names(ACCEPTED, re.compile(r".{1,40}", re.DOTALL))
# input[].call_id: "maximum length 64"
OPENAI_RESPONSES: Final = Names(ACCEPTED, re.compile(r".{1,64}", re.DOTALL))
# messages.…tool_use.id: "String should match pattern '^[a-zA-Z0-9_-]+$'"
ANTHROPIC: Final = Names(ACCEPTED, ACCEPTED)
# It takes dots and colons too, and 128 characters, of FunctionDeclaration; its relatives do not.
GEMINI: Final = Names(re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}"), re.compile(r".{1,128}", re.DOTALL))
# Revision 2025-11-25, server/tools, "Tool Names": letters, digits, underscore, dash and dot; 1 to 128 of them.
MCP: Final = Names(re.compile(r"[a-zA-Z0-9_.-]{1,128}"), re.compile(r".+", re.DOTALL))


def free_id(id_: str, number: int, used: set[str], taken: Container[str], made_up: str) -> str:
    """The id of the call `number` of an answer: `id_`, or one made up where that is missing, doubled or taken."""
    if not id_ or id_ in used or id_ in taken:
        id_ = f"{made_up}_{number}"
    used.add(id_)
    return id_


def called(theirs: str | None, names: Mapping[str, str]) -> str:
    """Our name of what is called. Raises ValueError if nothing is."""
    if not theirs:
        raise ValueError("a call without a name is no call")
    return names.get(theirs, theirs)
