"""A person's word for one call: tokens that stand for exactly that call, and the way to tell a real one.

A token is `tw1.<what it says>.<seal>`, both parts in base64url (RFC 4648, section 5, without padding). What it says is
a msgpack array; the seal is its HMAC-SHA256 (RFC 2104) under a key that does not leave the process which serves the
tool. `tw1` fixes the algorithm: a token cannot name another one. What the call is made of stands in it as keyed
digests, so that nobody can learn a caller or a secret argument from it by trying.

Nothing here reads a clock or draws a number: instants are on the clock of the process that serves the tool, which is
the only one to look at them, so no wall clock has to be right.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac
from typing import Any
from unicodedata import category

import msgspec
from msgspec import Struct

from .envelope import NO_MESSAGE, encode
from .failures import Failure, failed
from .secret import Secret
from .standins import plain

HEAD = "tw1"
LABEL = b"toolwire confirmation 1\0"
"""What stands before whatever is sealed: nothing sealed for another purpose with the same key is a token."""

LONGEST = 1024
"""Characters of a token. One that is issued here has about 330."""

UNSEEN = frozenset({"Cf", "Zl", "Zp", "Co", "Cn"})
"""Categories of characters that can make a person read another text than the one that is there (UTS 55): marks of
direction, of zero width, separators of lines, and those that no font has."""

SHORTEST_KEY = 16
"""Bytes below which a key can be guessed."""


class Claim(Struct, frozen=True, gc=False):
    """The call that a person is asked about. `caller` is JSON text, `arguments` what `exact` makes of them."""

    instance: str
    call: str
    tool: str
    caller: str
    arguments: bytes


class Words(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What a token says. `expires` is an instant; the last four are keyed digests."""

    instance: str
    expires: float
    nonce: bytes
    call: bytes
    tool: bytes
    caller: bytes
    arguments: bytes


decode = msgspec.msgpack.Decoder(Words).decode


class Seal:
    """Issues tokens, and tells those that it issued from all others."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = hmac(key, LABEL + b"key", "sha256")

    def __repr__(self) -> str:
        return "<Seal>"

    def token(self, claim: Claim, expires: float, nonce: bytes) -> str:
        """The token for `claim`, until `expires`. A `nonce` is to be used once."""
        digests = (self._digest(name, part) for name, part in parts(claim))
        said = encode(Words(claim.instance, expires, nonce, *digests))
        return f"{HEAD}.{text_of(said)}.{text_of(self._seal(said))}"

    def opened(self, token: str, claim: Claim, now: float, *, changed: bool = False) -> bytes | Failure:
        """The nonce of a token that was issued for `claim` and has not expired, or why it does not count.

        With `changed` a person gave other arguments on purpose: only those are not compared. Whether the nonce was
        used already is for the caller to know.
        """
        said, seal = torn(token)
        genuine = compare_digest(self._seal(said), seal)
        if not genuine:
            return refused("it is not one that was given out here")
        try:
            words = decode(said)
        except NO_MESSAGE:  # sealed with this key, so by a later version of this very file
            return refused("it is of a form that is not known here")
        if words.instance != claim.instance:
            return refused("it was given out by another process")
        for name, part in parts(claim):
            same = compare_digest(self._digest(name, part), getattr(words, name))
            if not same and not (changed and name == "arguments"):
                return refused(f"it is for {OTHER[name]}")
        return words.nonce if now < words.expires else refused("it has expired")

    def _seal(self, said: bytes) -> bytes:
        return hmac(self._key, LABEL + said, "sha256")

    def _digest(self, name: str, part: bytes) -> bytes:
        return hmac(self._key, LABEL + name.encode() + b"\0" + part, "sha256")


OTHER = {"call": "another call", "tool": "another tool", "caller": "another caller", "arguments": "other arguments"}


def parts(claim: Claim) -> tuple[tuple[str, bytes], ...]:
    """What of a claim is sealed as a digest, by the names that both have for it."""
    texts = {"call": claim.call, "tool": claim.tool, "caller": claim.caller}
    named = tuple((name, text.encode("utf-8", "surrogatepass")) for name, text in texts.items())
    return (*named, ("arguments", claim.arguments))


def refused(reason: str) -> Failure:
    """That a confirmation does not count, and why."""
    return failed("invalid_confirmation", f"the confirmation does not count: {reason}; call again, and ask again")


def denied(reason: str) -> Failure:
    """That a person said no, and why."""
    return failed("confirmation_denied", f"a person said no{f': {reason}' if reason else ''}", reason=reason)


def issuer(token: str) -> str:
    """The process that a token says it is from, "" if it is none. That alone proves nothing: that process looks."""
    try:
        return decode(torn(token)[0]).instance
    except NO_MESSAGE:
        return ""


def exact(text: str, values: Any) -> bytes:
    """Arguments in the one form that is sealed: as they came (JSON `text`), and as their tool gets them (`values`).

    Keys in order, no white space, secrets as they are. By their digest: they may be long.
    """
    try:
        came = canonical(msgspec.json.decode(text))
    except NO_MESSAGE:  # mended later, from this very text
        came = text.encode("utf-8", "surrogatepass")
    return sha256(came).digest() + sha256(canonical(values)).digest()


def visible(text: str) -> str:
    """`text` with what a reader does not see, or sees in another place, written as JSON escapes: for JSON the same."""
    if text.isascii():
        return text
    return "".join(escaped(each) if category(each) in UNSEEN else each for each in text)


def escaped(character: str) -> str:
    """One character as JSON escapes: two of them beyond U+FFFF."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


def torn(token: str) -> tuple[bytes, bytes]:
    """What a token says, and its seal; nothing for what is no token. Two texts never give the same."""
    head, _, rest = token.partition(".")
    said, _, seal = rest.partition(".")
    if head != HEAD or len(token) > LONGEST or not token.isascii():
        return b"", b""
    try:
        parts = bytes_of(said), bytes_of(seal)
    except ValueError:
        return b"", b""
    # A decoder of base64 lets pass letters that are none, and bits that stand for nothing.
    return parts if f"{HEAD}.{text_of(parts[0])}.{text_of(parts[1])}" == token else (b"", b"")


def text_of(part: bytes) -> str:
    """Bytes as base64url."""
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def bytes_of(part: str) -> bytes:
    """What `text_of` made a text of. Raises ValueError for some of what it never makes."""
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def revealing(value: Any) -> Any:
    """`value`, of a type that msgspec can't write, as one that it can: whole, for what is only hashed."""
    if isinstance(value, Secret):
        return value.reveal()
    try:
        return plain(value)
    except TypeError:  # made by a sanitizer, from arguments that are sealed as they came
        return type(value).__qualname__


canonical = msgspec.json.Encoder(enc_hook=revealing, order="deterministic").encode
