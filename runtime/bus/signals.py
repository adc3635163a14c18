"""What ends of a bus say to each other beside requests and answers, and where.

A request carries as its reply subject `<inbox>.<number>`; its answer goes there, as plain bytes. All else about it
goes to one of the words below it, so that no message needs a header, which would cost 30 µs. `<inbox>` is secret:
who knows it can answer. So a beat names the requests in hand by a hash of their reply subjects.

    <inbox>.<number>              the answer
    <inbox>.<number>.progress     bytes of the handler's, before the answer
    <inbox>.<number>.taken        the name of the instance that has it, if it takes longer than an instant
    <inbox>.<number>.refused      nothing ran: it is full, or it was away for so long that nobody waits any more
    <inbox>.<number>.lost         why there will be no answer
    <inbox>.<number>.large        how many bytes the answer would have had
    <inbox>.<number>.cancelled    the confirmation of a cancel
    <inbox>.alive.<instance>      the answer to a ping
    tw.<namespace>.beat           a Beat, once a second from every end that serves something
    tw.<namespace>.ping.<instance>    asks for a sign of life
    tw.<namespace>.cancel             whoever has the request with this reply subject: leave it
    tw.<namespace>.cancel.<instance>  the same, where it is known who has it
"""

import secrets
from hashlib import blake2b

import msgspec
from msgspec import Struct

INBOX = "_INBOX"
"""How every reply subject begins. A request that asks for its answer elsewhere is none."""

PROGRESS = ".progress"
TAKEN = ".taken"
REFUSED = ".refused"
LOST = ".lost"
LARGE = ".large"
CANCELLED = ".cancelled"
ALIVE = "alive."

EVERY = 1.0
"""Seconds between two beats."""

HEADROOM = 1024
"""Bytes of the broker's limit that are left alone, for it counts headers too."""


class Beat(Struct, frozen=True, array_like=True, gc=False):
    """A sign of life: who lives, and the keys of the requests in its hands."""

    instance: str
    keys: list[bytes] = []


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Beat).decode


def key(reply: str) -> bytes:
    """What stands for a reply subject where others can read it."""
    return blake2b(reply.encode(), digest_size=8).digest()


def new_inbox() -> str:
    """A reply prefix that nobody can guess."""
    return f"{INBOX}.{secrets.token_hex(12)}"


class Subjects:
    """Where the ends of one namespace hear of each other. `namespace` is one token of a subject."""

    def __init__(self, namespace: str) -> None:
        self.beat = f"tw.{namespace}.beat"
        self.cancel = f"tw.{namespace}.cancel"
        self.ping = f"tw.{namespace}.ping"

    def cancel_at(self, instance: str) -> str:
        """Where to cancel a request: at `instance`, or anywhere if that is not known."""
        return f"{self.cancel}.{instance}" if instance else self.cancel

    def ping_at(self, instance: str) -> str:
        """Where `instance` answers pings."""
        return f"{self.ping}.{instance}"
