"""What a host and its own worker processes say to each other, as msgpack in frames of `runtime/child.py`.

Both ends are always of one version: a host starts its processes itself.
"""

import msgspec
from msgspec import Raw, Struct

from .events import CallProgress
from .failures import Failure
from .messages import CallTool


class Prepare(Struct, frozen=True, tag="prepare", gc=False):
    """Import the tool that is named `module:qualname`. `path` is where modules are looked for, `backend` the loop."""

    where: str
    path: tuple[str, ...]
    backend: str


class Job(Struct, frozen=True, tag="job", gc=False):
    """Run one call of the tool at `where`, on arguments that were mended and sanitized already.

    `trail` is an encoded Trail, `budget` what is left of the time, in milliseconds, `largest` the most bytes that its
    result may have, `level` from which on what it logs is wanted.
    """

    where: str
    call: CallTool
    trail: Raw
    budget: float | None
    largest: int
    backend: str
    level: int


class Logged(Struct, frozen=True, tag="logged", tag_field="event", gc=False):
    """What a tool logged, before the answer."""

    level: int
    text: str


class Done(Struct, frozen=True, gc=False):
    """The one answer: `content` (JSON text) or a `failure`; to Prepare, neither where all is well."""

    content: str | None = None
    failure: Failure | None = None


decode_order = msgspec.msgpack.Decoder(Prepare | Job).decode
decode_word = msgspec.msgpack.Decoder(CallProgress | Logged).decode
decode_done = msgspec.msgpack.Decoder(Done).decode
