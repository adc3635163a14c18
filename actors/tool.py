"""A function as a tool: its spec, the way from JSON text to its arguments and back, and the decorator that makes it."""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, TypeVar, Unpack, overload

import msgspec

from ..protocol.arguments import Checker
from ..protocol.dialect import normalised
from ..protocol.failures import Failure, Misuse, failed
from ..protocol.options import check
from ..protocol.sanitizers import Sanitizer
from ..protocol.schema import Signature, Untyped, describe, untyped
from ..protocol.standins import written
from ..protocol.tools import ToolSpec, unwritten
from ..runtime.border import shown
from .context import Context
from .guard import Guard, Guards, guard
from .handlers import Handler, Handlers, Key
from .options import TOOL
from .steps.asked import Asked, asked
from .touching import NOTHING, Touched, Touching, names

Confirm = bool | Callable[[Any], bool | str]
"""Whether a person is asked before a call: always, never, or by the arguments, which the function has as attributes."""

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CONCURRENCY = 100
"""Calls of one tool that run at once; more wait at its door."""


class Promises(Asked, Guards, total=False):
    """What is said of a tool beside its name, description and schema. `tool` tells what each means."""

    timeout: float | None
    read_only: bool
    idempotent: bool
    destructive: bool
    exclusive: bool
    writes: Touched
    reads: Touched
    concurrency: int
    version: str
    lenient: bool | None
    sanitize: Mapping[str, Sanitizer | None]
    on_error: Mapping[Key, Handler]
    isolation: Literal["process"] | None
    confirm: Confirm
    untrusted: bool


class Options(Promises, total=False):
    """What `tool(...)` takes."""

    name: str | None
    description: str | None


class Tool(Generic[T_co]):
    """A function that can be offered to a model. It stays callable as the plain function that it is."""

    def __init__(
        self,
        function: Callable[..., Any],
        spec: ToolSpec,
        signature: Signature,
        concurrency: int,
        sanitize: Mapping[str, Sanitizer | None] = {},
        handlers: Handlers | None = None,
        confirm: Confirm | None = None,
        guard: Guard | None = None,
        touching: Touching = NOTHING,
    ) -> None:
        if unknown := sanitize.keys() - spec.parameters.get("properties", {}).keys():
            said = f"{spec.name}: there is no parameter {', '.join(sorted(map(repr, unknown)))} to sanitize"
            raise Misuse(failed("invalid_call", said))
        self.sanitize = sanitize
        self.handlers = Handlers() if handlers is None else handlers
        self.confirm = confirm
        self.guard = guard
        self.touching = touching
        self.function = function
        self.spec = spec
        self.signature = signature
        self.where = ""  # by what name a worker process finds it, once it is served
        self.concurrency = concurrency
        self.is_async = is_async(function)
        self.context_parameters = tuple(name for name, kind in signature.filled.items() if kind is Context)
        self.injected = tuple(signature.injected.items())
        filled = self.context_parameters or self.injected
        # Most tools: a coroutine function that needs nothing but its arguments.
        self.is_plain = self.is_async and not (signature.streams or filled or spec.isolation == "process")
        self.needs = spec.needs if isinstance(spec.needs, int | float) else None
        self.asks = self.needs is not None or bool(self.confirm)
        self.__doc__ = function.__doc__
        self.__name__ = spec.name

    @staticmethod
    @overload
    def from_schema(
        name: str,
        description: str,
        schema: dict[str, Any],
        function: Callable[..., AsyncIterator[T]],
        *,
        normalise: bool = False,
        **promises: Unpack[Promises],
    ) -> "Tool[T]": ...
    @staticmethod
    @overload
    def from_schema(
        name: str,
        description: str,
        schema: dict[str, Any],
        function: Callable[..., Coroutine[Any, Any, T]],
        *,
        normalise: bool = False,
        **promises: Unpack[Promises],
    ) -> "Tool[T]": ...
    @staticmethod
    @overload
    def from_schema(
        name: str,
        description: str,
        schema: dict[str, Any],
        function: Callable[..., T],
        *,
        normalise: bool = False,
        **promises: Unpack[Promises],
    ) -> "Tool[T]": ...
    @staticmethod
    def from_schema(
        name: str,
        description: str,
        schema: dict[str, Any],
        function: Callable[..., Any],
        *,
        normalise: bool = False,
        **promises: Unpack[Promises],
    ) -> "Tool[Any]":
        """A tool whose arguments are described by a JSON Schema (2020-12), for a function without annotations.

        `function` takes one dict, which `schema` accepts, and what the runtime fills in (`Context`, `Inject`). Raises
        Misuse for what is no schema of an object, and for a function that can't be called so. With `normalise` a schema
        in a known dialect (`dict`, `float`, `any`, `OBJECT`, …) is made one of JSON Schema first.
        """
        if normalise:
            schema = normalised(schema).schema
        signature = untyped(name, description, schema, function, fills=(Context,))
        return _made(function, signature, {**promises, "name": name, "description": description})

    @property
    def name(self) -> str:
        """What a model calls it."""
        return self.spec.name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself, without a runtime."""
        return self.function(*arguments, **named)

    def __get__(self, owner: object, kind: type | None = None) -> "Tool[T_co]":
        """As a method: the tool of that very object; of a class method, or a static one, also by the class."""
        if owner is None and not isinstance(self.function, classmethod | staticmethod):
            return self
        function = self.function.__get__(owner, kind)
        return self._remade(function, self.spec)

    def __repr__(self) -> str:
        return f"<Tool {self.spec.name}>"

    def renamed(self, name: str, *, owner: str = "") -> "Tool[T_co]":
        """The same tool under another name, as a method of the served object `owner`."""
        spec = msgspec.structs.replace(self.spec, name=name, object=owner)
        return self._remade(self.function, spec)

    def described(self, parameters: dict[str, Any]) -> "Tool[T_co]":
        """The same tool, whose arguments `parameters`, a JSON Schema, describe: stricter than its function may be."""
        return self._remade(self.function, msgspec.structs.replace(self.spec, parameters=parameters))

    def promising(self, returns: dict[str, Any]) -> "Tool[T_co]":
        """The same tool, whose results `returns`, a JSON Schema, describes."""
        return self._remade(self.function, msgspec.structs.replace(self.spec, returns=returns))

    def _remade(self, function: Callable[..., Any], spec: ToolSpec) -> "Tool[T_co]":
        return Tool(
            function,
            spec,
            self.signature,
            self.concurrency,
            self.sanitize,
            self.handlers,
            self.confirm,
            self.guard,
            self.touching,
        )

    @cached_property
    def checker(self) -> Checker:
        """What explains wrong arguments."""
        made = self.signature.checker if isinstance(self.signature, Untyped) else None
        return Checker(self.spec.parameters) if made is None else made

    @property
    def result_type(self) -> Any:
        """The type of what the function returns, Any if it does not say."""
        return self.signature.result


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to wait for. It is not seen of a plain decorator around such a function."""
    called = getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async def
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in (function, called))


def encoded(value: object, largest: int) -> tuple[str | None, Failure | None]:
    """A tool's result as JSON text, or why it can't be one. The tool has done its work by then."""
    size = 0
    try:
        content = written(value)
        size, text = len(content), content.decode()
        if size <= largest and not ("null" in text and unwritten(value)):  # asked of bytes it takes ten times as long
            return text, None
        reason = "" if size > largest else "it holds a NaN or an infinity"
    except Exception as error:  # noqa: BLE001 - somebody's own type may raise anything while it is read
        reason = shown(error)
    if reason:
        said = f"the tool did its work, but its result is not what JSON can carry: {reason}"
        return None, failed("invalid_result", said, "done", type=type(value).__name__)
    said = f"the tool did its work, but its result has {size} bytes; at most {largest} are taken"
    return None, failed("too_large", said, "done", size=size, limit=largest)


class Decorator:
    """What `tool(...)` with options gives: it makes a `Tool` of the function below it, of the type that it returns."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @overload
    def __call__(self, function: Callable[P, AsyncIterator[T]], /) -> Tool[T]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Tool[T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Tool[T]: ...
    def __call__(self, function: Callable[..., Any], /) -> Tool[Any]:
        """Make the tool. Raises Misuse for what is none."""
        if isinstance(function, Tool):
            said = f"{function.name!r} is a tool already: say @tool once, with all of its options"
            raise Misuse(failed("invalid_call", said))
        return _made(function, describe(function, fills=(Context,)), self.options)


@overload
def tool(function: Callable[P, AsyncIterator[T]], /, **options: Unpack[Options]) -> Tool[T]: ...
@overload
def tool(function: Callable[P, Coroutine[Any, Any, T]], /, **options: Unpack[Options]) -> Tool[T]: ...
@overload
def tool(function: Callable[P, T], /, **options: Unpack[Options]) -> Tool[T]: ...
@overload
def tool(**options: Unpack[Options]) -> Decorator: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Any:
    """Make a tool of a function: bare (`@tool`), with options (`@tool(timeout=5.0)`), or on a function that is there.

    `name` and `description` stand for what the function and its docstring say. `timeout` is in seconds, for one call.
    `read_only`: it changes nothing; `idempotent`: a second run of the same call does no harm; `destructive`: what it
    does can't be undone. `writes` and `reads` name resources for which calls of one response wait for each other:
    `{"calendar", "file:{path}"}`, or a function, `writes=lambda a: {f"file:{a.path}"}` (docs/plans.md); an `exclusive`
    call runs alone in its response. At most `concurrency` calls run at once (100). `version` is yours, in any form.
    `lenient=False` refuses what could be mended, `True` mends it whatever the runtime does; `sanitize` has a function
    for the name of a parameter, which gives the value to use, or raises ValueError; None leaves that parameter as it
    comes. `on_error` has handlers by exception type or failure code, see `Runtime.on_error`; they come before those of
    the runtime. With `confirm` a person is asked before each call, or, where it is a function, before those whose
    arguments it returns true or a reason for: `confirm=lambda a: a.amount > 100`. What an `untrusted` tool brings may
    be written by strangers (docs/protection.md). Raises Misuse, naming parameter and type, for a signature that has no
    schema.

    `isolation="process"` runs each call in a worker process, which is killed at once when the call is cancelled or its
    time is over; another process has to find the tool by `module:name` (docs/time.md).

    `rate` ("10/s") is how many calls start in a time; `breaker` lets the tool rest after failures in a row. A result of
    more than `result_bytes` (the runtime's limit) is refused, truncated or spilled, as `result` says (docs/results.md).

    `retries` is how often a failed call is tried again, or a `Retry` that says how. A call is not begun with less than
    `needs` seconds left. `cache` is how many seconds a result may be given again; with `share` identical calls of one
    moment run once; with `hedge` a second attempt begins where the first takes unusually long: these three are for
    `read_only` tools (docs/outcomes.md).

    What an async generator yields is told as progress, each value when it comes; the last one is also the result.
    """
    return Decorator(options) if function is None else Decorator(options)(function)


def look_at(name: str, options: Options) -> None:
    """Raises Misuse for what can't be meant of the tool `name`."""
    check(name, options, TOOL, Options.__optional_keys__)
    if (isolation := options.get("isolation")) not in {None, "process"}:
        raise Misuse(failed("invalid_call", f"{name}: isolation is 'process' or None, not {isolation!r:.100}"))
    confirm = options.get("confirm", False)
    if inspect.iscoroutinefunction(confirm) or not (isinstance(confirm, bool) or callable(confirm)):
        said = f"{name}: confirm is True, or a function (not async) of the arguments, not {confirm!r:.100}"
        raise Misuse(failed("invalid_call", said))
    if options.get("read_only") and options.get("destructive"):
        said = f"{name}: what is read_only changes nothing, so it can't be destructive: it is one or the other"
        raise Misuse(failed("invalid_call", said))


def _made(function: Callable[..., Any], signature: Signature, options: Options) -> Tool[Any]:
    name, timeout = options.get("name"), options.get("timeout")
    description = options.get("description")
    look_at(signature.name, options)
    confirm = options.get("confirm", False)
    writes, writes_by = names(signature.name, "writes", options.get("writes", ()), signature.parameters)
    reads, reads_by = names(signature.name, "reads", options.get("reads", ()), signature.parameters)
    touching = Touching(writes_by, reads_by)
    spec = ToolSpec(
        name=signature.name if name is None else name,
        description=signature.description if description is None else description,
        parameters=signature.parameters,
        returns=signature.returns,
        read_only=options.get("read_only", False),
        idempotent=options.get("idempotent", False),
        destructive=options.get("destructive", False),
        timeout=timeout,
        exclusive=options.get("exclusive", False),
        writes=writes,
        reads=reads,
        computed=bool(touching),
        version=options.get("version", ""),
        lenient=options.get("lenient"),
        isolation=options.get("isolation") or ("" if is_async(function) else "thread"),
        confirm="" if confirm is False else "always" if confirm is True else "maybe",
        untrusted=options.get("untrusted", False),
        **asked(signature.name, options, read_only=options.get("read_only", False)),
    )
    handlers = Handlers(options.get("on_error"))
    concurrency = options.get("concurrency", CONCURRENCY)
    sanitize, limits = options.get("sanitize", {}), guard(spec.name, options)
    return Tool(function, spec, signature, concurrency, sanitize, handlers, confirm, limits, touching)
