"""A function as a tool: its spec, the way from JSON text to its arguments and back, and the decorator that makes it."""

import inspect
import math
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from ..protocol.arguments import Checker
from ..protocol.failures import Failure, Misuse, failed
from ..protocol.schema import Signature, describe
from ..protocol.tools import ToolSpec, encode_json
from ..runtime.border import shown
from .context import Context

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CONCURRENCY = 100
"""Calls of one tool that run at once; more wait at its door."""


class Tool(Generic[T_co]):
    """A function that can be offered to a model. It stays callable as the plain function that it is."""

    def __init__(self, function: Callable[..., Any], spec: ToolSpec, signature: Signature, concurrency: int) -> None:
        self.function = function
        self.spec = spec
        self.signature = signature
        self.concurrency = concurrency
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async def
        )
        self.context_parameters = tuple(name for name, kind in signature.filled.items() if kind is Context)
        self.__doc__ = function.__doc__
        self.__name__ = spec.name

    @property
    def name(self) -> str:
        """What a model calls it."""
        return self.spec.name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself, without a runtime."""
        return self.function(*arguments, **named)

    def __get__(self, owner: object, kind: type | None = None) -> "Tool[T_co]":
        """As a method: the tool of that very object."""
        if owner is None:
            return self
        function = self.function.__get__(owner, kind)
        return Tool(function, self.spec, self.signature, self.concurrency)

    def __repr__(self) -> str:
        return f"<Tool {self.spec.name}>"

    def renamed(self, name: str, *, owner: str = "") -> "Tool[T_co]":
        """The same tool under another name, as a method of the served object `owner`."""
        spec = msgspec.structs.replace(self.spec, name=name, object=owner)
        return Tool(self.function, spec, self.signature, self.concurrency)

    @cached_property
    def checker(self) -> Checker:
        """What explains wrong arguments."""
        return Checker(self.spec.parameters)

    @property
    def result_type(self) -> Any:
        """The type of what the function returns, Any if it does not say."""
        return self.signature.result


def encoded(value: object, largest: int) -> str | Failure:
    """A tool's result as JSON text, or why it can't be one. The tool has done its work by then."""
    content, reason = b"", ""
    try:
        content = encode_json(value)
        lost = len(content) <= largest and b"null" in content and unwritten(value)
        reason = "it holds a NaN or an infinity" if lost else ""
    except Exception as error:  # noqa: BLE001 - somebody's own type may raise anything while it is read
        reason = shown(error)
    if reason:
        said = f"the tool did its work, but its result is not what JSON can carry: {reason}"
        return failed("invalid_result", said, "done", type=type(value).__name__)
    if len(content) > largest:
        said = f"the tool did its work, but its result has {len(content)} bytes; at most {largest} are taken"
        return failed("too_large", said, "done", size=len(content), limit=largest)
    return content.decode()


def unwritten(value: object) -> bool:
    """Whether `value` holds a number that stands in JSON as null: NaN, or an infinity."""
    todo: list[Any] = [msgspec.to_builtins(value, enc_hook=repr)]  # whatever is text already has no number in it
    while todo:
        part = todo.pop()
        if isinstance(part, float) and not math.isfinite(part):
            return True
        if isinstance(part, dict):
            todo.extend(part.values())
        elif isinstance(part, (list, tuple, set)):
            todo.extend(part)
    return False


@overload
def tool(function: Callable[P, Coroutine[Any, Any, T]], /) -> Tool[T]: ...
@overload
def tool(function: Callable[P, T], /) -> Tool[T]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
    exclusive: bool = False,
    writes: set[str] | frozenset[str] = frozenset(),
    reads: set[str] | frozenset[str] = frozenset(),
    concurrency: int = CONCURRENCY,
) -> "Decorator": ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
    exclusive: bool = False,
    writes: set[str] | frozenset[str] = frozenset(),
    reads: set[str] | frozenset[str] = frozenset(),
    concurrency: int = CONCURRENCY,
) -> Any:
    """Make a tool of a function: bare (`@tool`), called (`@tool(timeout=5.0)`), or on a function that is there.

    `timeout` is in seconds, for one call. `read_only`: it changes nothing; `idempotent`: a second run of the same
    call does no harm; `destructive`: what it does can't be undone. `writes` and `reads` name resources for which
    calls of one response wait for each other; an `exclusive` call runs alone in its response. At most `concurrency`
    calls run at once. Raises Misuse, naming parameter and type, for a signature that has no schema.
    """

    def decorate(function: Callable[..., Any]) -> Tool[Any]:
        signature = describe(function, fills=(Context,))
        if timeout is not None and not timeout > 0:
            raise Misuse(failed("invalid_call", f"{signature.name}: timeout must be more than 0 s, not {timeout!r}"))
        if name == "":
            raise Misuse(failed("invalid_call", f"{signature.name}: a tool needs a name"))
        spec = ToolSpec(
            name if name is not None else signature.name,
            description if description is not None else signature.description,
            signature.parameters,
            signature.returns,
            read_only,
            idempotent,
            destructive,
            timeout,
            "",
            exclusive,
            tuple(sorted(writes)),
            tuple(sorted(reads)),
        )
        return Tool(function, spec, signature, concurrency)

    return decorate if function is None else decorate(function)


class Decorator:
    """What `tool(...)` with options gives: it makes a `Tool` of the function below it, of the type that it returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Tool[T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Tool[T]: ...
    def __call__(self, function: Callable[..., Any], /) -> Tool[Any]:
        """Make the tool."""
        return tool(function)
