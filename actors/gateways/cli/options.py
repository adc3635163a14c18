"""The options that several commands take, and the runtime that they ask for."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from cyclopts import Parameter

from ....protocol.failures import Misuse, ToolwireError, failed
from ...serving import Served
from ...wiring import Runtime
from .loading import loaded, where

Nats = Annotated[
    str | None,
    Parameter(name="--nats", help="URL of the bus: nats://host:port, or nats+embedded:///directory."),
]
Namespace = Annotated[str, Parameter(name="--namespace", help="The tenant of the bus; others do not see it.")]
Tools = Annotated[
    tuple[str, ...],
    Parameter(name="--tools", help="module:attribute of tools to serve here: a tool, function, object, class, agent "
              "or a list of them. May be given more than once.", negative="", show_default=False),
]  # fmt: skip
Json = Annotated[bool, Parameter(name="--json", help="Print JSON, for programs.", negative="")]


@asynccontextmanager
async def joined(nats: str | None, namespace: str, tools: Sequence[str]) -> AsyncIterator[Runtime]:
    """A runtime that serves `tools` and knows what others on the bus serve.

    Raises Misuse if there is neither a bus nor a tool, or for what can't be served, and ToolwireError where nobody
    listens.
    """
    if not nats and not tools:
        raise Misuse(failed("invalid_call", "say where the tools are: --nats URL, or --tools module:attribute"))
    things = [thing for reference in tools for thing in loaded(reference)]
    async with runtime_at(nats or "memory://", namespace) as runtime:
        if things:
            await served(runtime, things)
        await runtime.discover()
        yield runtime


async def served(runtime: Runtime, things: Sequence[Any]) -> Served:
    """Serve what a person named. Raises Misuse for what can't be, such as a class that can't be made."""
    try:
        return await runtime.serve(*things)
    except ToolwireError:
        raise
    except Exception as error:
        raise Misuse(failed("load_failed", f"what was named can't be served: {where(error)}")) from error


def runtime_at(url: str, namespace: str) -> Runtime:
    """A runtime on the bus that a person named. Raises Misuse for a URL of no known kind."""
    try:
        return Runtime(url, namespace=namespace)
    except ValueError as error:
        raise Misuse(failed("invalid_call", str(error))) from None
