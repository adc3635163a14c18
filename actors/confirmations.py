"""What needs a person's word, in the process that serves it: asked for, and spent, here and nowhere else.

So no host and no other end of the bus can pass it by: whoever says that a call is confirmed has to bring a token that
this very process gave out for exactly that call, and that was not spent yet.
"""

import secrets
from collections import Counter
from itertools import islice
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..protocol.confirmation import SHORTEST_KEY, Claim, Seal, exact, refused, visible
from ..protocol.failures import Failure, Misuse, failed
from ..protocol.messages import CallTool
from ..protocol.sanitizers import Refused
from ..protocol.schema import Untyped
from ..protocol.standins import written
from ..runtime.context import Context
from ..runtime.deadline import Clock
from .tool import Confirm, Tool

SECONDS = 24 * 3600.0
"""How long a person may take: a day."""

OUTSTANDING = 10_000
"""Tokens of one process that wait to be spent: about 2 MB. Beyond that, whoever has most of them loses the oldest."""

LARGEST = 64 * 1024
"""Characters of arguments that a person is asked about: nobody reads more."""


class Outstanding(NamedTuple):
    """Until when a token counts, and whose it is: a hash, for a caller may be long."""

    until: float
    caller: int


class Confirmations:
    """Asks for confirmations, and takes each that was given out here once, within `seconds`."""

    __slots__ = ("_clock", "_most", "_outstanding", "_seal", "_seconds", "instance")

    def __init__(
        self,
        instance: str,
        clock: Clock,
        key: bytes,
        seconds: float = SECONDS,
        most: int = OUTSTANDING,
    ) -> None:
        self.instance = instance
        self._clock = clock
        self._seal = Seal(key)
        self._seconds = seconds
        self._most = most
        self._outstanding: dict[bytes, Outstanding] = {}  # by nonce; the first to expire is the first

    def __len__(self) -> int:
        return len(self._outstanding)

    def ask(self, tool: Tool[Any], values: dict[str, Any], message: CallTool, context: Context) -> None:
        """Raise Refused if a person has to be asked about a call that brings no token; it says what to bring then."""
        given = of_the_call(tool, values)
        own = reason_of(tool.confirm, {**tool.signature.defaults, **given})
        reason = visible("; ".join(each for each in (own, message.confirm) if each))
        if not reason:
            return
        shown = seen(tool, given, message.arguments)
        if len(shown) > LARGEST:
            said = f"a person would have to confirm it, and nobody reads {len(shown)} characters of arguments"
            raise Refused(failed("too_large", f"{said}; at most {LARGEST} are shown", size=len(shown), limit=LARGEST))
        token = self._given_out(self._claim(tool, values, message, context))
        said = f"a person has to confirm this call of {message.tool!r} first: {reason}"
        details = {"token": token, "seconds": self._seconds, "reason": reason, "arguments": shown}
        raise Refused(Failure("confirmation_required", said, details=details))

    def known(self, tool: Tool[Any], values: dict[str, Any], message: CallTool, context: Context) -> bytes:
        """What to `spend` of the token that a call brings. Raises Refused if it does not count."""
        claim = self._claim(tool, values, message, context)
        nonce = self._seal.opened(message.token, claim, self._clock(), changed=message.changed)
        if isinstance(nonce, Failure):
            raise Refused(nonce)
        if nonce not in self._outstanding:
            raise Refused(refused("it was used already, or too many were asked for since"))
        return nonce

    def spend(self, nonce: bytes) -> None:
        """The token never counts again. To be done with `known` in one step: of two with one token, one is too late."""
        del self._outstanding[nonce]

    def _claim(self, tool: Tool[Any], values: dict[str, Any], message: CallTool, context: Context) -> Claim:
        arguments = exact(message.arguments, of_the_call(tool, values))
        return Claim(self.instance, message.id, message.tool, context.whose().caller, arguments)

    def _given_out(self, claim: Claim) -> str:
        now = self._clock()
        if len(self._outstanding) >= self._most:
            self._make_room(now)
        nonce, expires = secrets.token_bytes(16), now + self._seconds
        self._outstanding[nonce] = Outstanding(expires, hash(claim.caller))
        return self._seal.token(claim, expires, nonce)

    def _make_room(self, now: float) -> None:
        """Forget what has expired; if nothing has, the oldest of whoever has most. So nobody keeps others from asking.

        A hundredth of all at once, for it takes a look at each.
        """
        outstanding = self._outstanding
        late = [nonce for nonce, each in outstanding.items() if each.until <= now]
        if not late:
            most = Counter(each.caller for each in outstanding.values()).most_common(1)[0][0]
            its = (nonce for nonce, each in outstanding.items() if each.caller == most)
            late = list(islice(its, max(1, self._most // 100)))
        for nonce in late:
            del outstanding[nonce]


def of_the_call(tool: Tool[Any], values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a function's parameters, by the names that its caller has for them."""
    return values[tool.signature.takes] if isinstance(tool.signature, Untyped) else values


def reason_of(rule: Confirm | None, given: dict[str, Any]) -> str:
    """Why a person is to be asked about arguments, "" if not. A rule that can't tell asks."""
    if not callable(rule):
        return "its tool asks for that before each call" if rule else ""
    try:
        said = rule(SimpleNamespace(**given))
    except Exception as error:  # noqa: BLE001 - whatever it raises, it did not say that nobody has to be asked
        return f"the rule that decides whether to ask could not ({type(error).__name__})"
    if isinstance(said, str):
        return said
    return "its tool asks for that before such a call" if said else ""


def seen(tool: Tool[Any], given: Any, text: str) -> str:
    """Arguments as a person is shown them: as JSON text, as the tool gets them, without secrets."""
    try:
        whole = written(given).decode()
    except Exception:  # noqa: BLE001 - a sanitizer may have made anything of them: then as they came
        whole = text
    return visible(tool.checker.shown(whole))


def key_of(secret: str | bytes | None) -> bytes:
    """The key that tokens are sealed with. Raises Misuse for one that could be guessed."""
    if secret is None:
        return secrets.token_bytes(32)
    key = secret.encode() if isinstance(secret, str) else secret
    if len(key) < SHORTEST_KEY:
        said = f"a secret has {SHORTEST_KEY} bytes or more, not {len(key)}; secrets.token_hex() makes one"
        raise Misuse(failed("invalid_call", said))
    return key
