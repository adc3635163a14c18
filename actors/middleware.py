"""What stands around each call that leaves this process: guardrails, audit, caching, tenancy, recovery.

`async def middleware(call, context, next) -> ToolResult`: it may change the call, answer itself, call `next` again,
or change what came back. The first that was given stands outermost. Handlers by failure code come after all of them.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.tools import ToolCall, ToolResult, encode_json
from ..runtime.border import fault, is_ours, plain
from .context import Context
from .handlers import Handlers, handled

Next = Callable[[ToolCall], Awaitable[ToolResult[Any]]]
"""Goes on with a call: the next middleware, or the tool itself."""

Middleware = Callable[[ToolCall, Context, Next], Awaitable[ToolResult[Any]]]


class Around:
    """The middlewares and handlers of one runtime, in the order in which they were given."""

    __slots__ = ("handlers", "middlewares")

    def __init__(self) -> None:
        self.middlewares: list[Middleware] = []
        self.handlers = Handlers()

    def __bool__(self) -> bool:
        return bool(self.middlewares or self.handlers.by_code)

    async def run(self, call: ToolCall, context: Context, tool: Next) -> ToolResult[Any]:
        """`call` through all of them, to `tool` and back. The result keeps the id and name that were asked for."""
        result = await self.settled(await self._from(0, call, context, tool), context)
        if result.id != call.id or result.name != call.name:
            result = replace(result, id=call.id, name=call.name)
        return result

    async def settled(self, result: ToolResult[Any], context: Context) -> ToolResult[Any]:
        """`result` after the handler for its failure, if there is one."""
        failure = result.failure
        handler = None if failure is None else self.handlers.for_failure(failure)
        return result if handler is None else decided(result, await handled(handler, failure, context))

    async def _from(self, n: int, call: ToolCall, context: Context, tool: Next) -> ToolResult[Any]:
        if n == len(self.middlewares):
            return await tool(call)

        async def following(changed: ToolCall) -> ToolResult[Any]:
            return await self._from(n + 1, changed, context, tool)

        try:
            result: object = await self.middlewares[n](call, context, following)
        except BaseException as error:
            if is_ours(error):
                raise
            said = plain(error.failure) if isinstance(error, ToolwireError) else fault("a middleware", error)
            return ToolResult(call.id, call.name, None, said, 0)
        if isinstance(result, ToolResult):
            return result
        wrong = failed("internal", f"a middleware returned {type(result).__name__}, not a ToolResult", "maybe")
        return ToolResult(call.id, call.name, None, wrong, 0)


def decided(result: ToolResult[Any], decision: object) -> ToolResult[Any]:
    """`result` after what a handler decided about its failure."""
    if decision is None:
        return result
    if isinstance(decision, Failure):
        return replace(result, content=None, failure=plain(decision))
    try:
        content = encode_json(decision).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        said = f"an error handler gave what JSON can't carry: {error}"
        return replace(result, content=None, failure=failed("invalid_result", said, "maybe"))
    return replace(result, content=content, failure=None)
