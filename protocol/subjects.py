"""Where messages go: `tw.<namespace>.<kind>.<token>[.<instance>]`, and how a name becomes one token of it.

No text of a user, a model or a tool's author reaches a subject raw. A name of 1 to 64 characters out of
`A-Z a-z 0-9 _ -` is its own token. Any other is quoted: `=`, then its UTF-8 bytes, each that is not such a
character written as `=XX` (`weather.get` becomes `=weather=2Eget`). A quoted name of more than 80 characters gives way
to `sha256-` and 64 hexadecimal digits. The three can't meet: only a quoted token has a `=`, only a hashed one
is longer than 64 characters without it. All of it is legal in a NATS subject and in a key of its KV store.
"""

import re
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, get_args

Kind = Literal["tool", "conversation", "selector", "model", "validator", "executor", "cancel", "directory", "artifact"]
KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))

LONGEST: Final = 80
"""Characters of a token: four, and `tw` and a kind, stay under the 512 of a subject."""

HASHED: Final = "sha256-"

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STRANGE = re.compile(rb"[^A-Za-z0-9_-]")
_QUOTED = re.compile(r"=(?:[A-Za-z0-9_-]|=[0-9A-F]{2})*")
_BYTE = re.compile(rb"=([0-9A-F]{2})")


def token(name: str) -> str:
    """The one part of a subject that stands for `name`. No two names share one."""
    # A name longer than a quoted token may be is not worth a place in the cache, whatever its size.
    return _token(name) if len(name) <= LONGEST else _hashed(_bytes(name))


def name(token: str) -> str | None:
    """The name that `token` stands for. None if it is hashed, or no token at all."""
    if _PLAIN.fullmatch(token):
        return token
    if len(token) > LONGEST or not _QUOTED.fullmatch(token):
        return None
    text = _BYTE.sub(lambda found: bytes.fromhex(found[1].decode()), token[1:].encode())
    try:
        meant = text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return meant if _token(meant) == token else None


def subject(namespace: str, kind: Kind, name: str, instance: str = "") -> str:
    """Where messages of `kind` for `name` go; with `instance`, those for one process that serves it.

    Raises ValueError for a kind that is not in KINDS.
    """
    if len(namespace) + len(name) + len(instance) > 4 * LONGEST:
        return _joined(namespace, kind, name, instance)
    return _subject(namespace, kind, name, instance)


def _joined(namespace: str, kind: Kind, name: str, instance: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of subject: {', '.join(sorted(KINDS))}")
    start = f"tw.{token(namespace)}.{kind}.{token(name)}"
    return f"{start}.{token(instance)}" if instance else start


_subject = lru_cache(maxsize=4096)(_joined)


@lru_cache(maxsize=4096)
def _token(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    written = _bytes(name)
    quoted = "=" + _STRANGE.sub(lambda found: b"=%02X" % found[0][0], written).decode()
    return quoted if len(quoted) <= LONGEST else _hashed(written)


def _hashed(written: bytes) -> str:
    return HASHED + sha256(written).hexdigest()


def _bytes(name: str) -> bytes:
    # A lone surrogate has no UTF-8, yet a name that came out of JSON may hold one.
    return name.encode("utf-8", "surrogatepass")
