"""Which calls are the same call: the same tool as it stands now, the same arguments, the same caller."""

from decimal import Decimal
from typing import NamedTuple

import msgspec

from ...protocol.failures import ToolwireError
from .contract import Passage

# Numbers keep their digits: two arguments that a tool may tell apart are never one here.
decode = msgspec.json.Decoder(float_hook=Decimal).decode
encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode

NO_IDENTITY = (msgspec.MsgspecError, ToolwireError, ValueError, ArithmeticError, RecursionError)


class Identity(NamedTuple):
    """What makes two calls the same. `arguments` is JSON text with sorted keys, `caller` JSON text or ""."""

    tool: str
    edition: int
    arguments: bytes
    caller: str


def identity(passage: Passage) -> Identity | None:
    """The identity of a call; None where its arguments are no JSON, so that nobody can tell."""
    entry = passage.entry
    try:
        arguments, caller = encode(decode(passage.arguments)), passage.context.whose().caller
    except NO_IDENTITY:
        return None
    return Identity(entry.spec.name, entry.edition, arguments, caller)
