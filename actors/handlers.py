"""What is done about errors: handlers by exception type or by failure code, for one tool or for all.

A handler is called with the error (by type: the exception, where the tool runs; by code: the Failure, where the call
comes from) and the call's Context. What it returns decides: None leaves things as they are, a Failure takes the place
of the one there was, and anything else is the result of the call after all.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..protocol.failures import CODES, Failure, Misuse, failed
from ..runtime.border import fault, is_ours
from .context import Context

Key = type[BaseException] | str
Handler = Callable[[Any, Context], Awaitable[Any] | Any]


class Handlers:
    """Handlers by key. Of several that fit an exception the one for the nearest type is called."""

    __slots__ = ("by_code", "by_type")

    def __init__(self, handlers: Mapping[Key, Handler] | None = None) -> None:
        self.by_type: dict[type[BaseException], Handler] = {}
        self.by_code: dict[str, Handler] = {}
        if not isinstance(handlers, Mapping | None):
            said = f"on_error is a dict of handlers by exception type or failure code, not {handlers!r:.100}"
            raise Misuse(failed("invalid_call", said))
        for key, handler in (handlers or {}).items():
            self.on(key, handler)

    def __bool__(self) -> bool:
        return bool(self.by_type or self.by_code)

    def on(self, key: Key, handler: Handler) -> None:
        """Call `handler` for `key`: an exception type, or one of the codes of `Failure`. Raises Misuse otherwise."""
        if not takes_two(handler):
            said = f"a handler is a function of the error and the call's context, which {handler!r:.100} is not"
            raise Misuse(failed("invalid_call", said))
        if isinstance(key, str):
            if key not in CODES:
                known = ", ".join(sorted(CODES))
                raise Misuse(failed("invalid_call", f"there is no failure code {key!r}; there are: {known}"))
            self.by_code[key] = handler
        elif inspect.isclass(key):
            self.by_type[key] = handler
        else:
            raise Misuse(failed("invalid_call", f"{key!r} is neither an exception type nor a failure code"))

    def for_error(self, error: BaseException) -> Handler | None:
        """The handler for an exception that a tool raised."""
        if not self.by_type:
            return None
        return next((self.by_type[kind] for kind in type(error).__mro__ if kind in self.by_type), None)

    def for_failure(self, failure: Failure) -> Handler | None:
        """The handler for a failure."""
        return self.by_code.get(failure.code)


def takes_two(handler: object) -> bool:
    """Whether `handler` can be called with two values, as far as that is seen."""
    if not callable(handler):
        return False
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # written in C, some say nothing of their parameters
        return True
    return True


async def handled(handler: Handler, about: object, context: Context) -> Any:
    """What `handler` decides. What it raises itself is a fault of its own, and becomes a Failure."""
    try:
        decided = handler(about, context)
        return await decided if inspect.isawaitable(decided) else decided
    except BaseException as error:
        if is_ours(error):
            raise
        return fault("an error handler", error)
