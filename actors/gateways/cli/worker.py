"""`toolwire worker`: serves tools to everybody on a bus."""

import signal
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter

from ....protocol.failures import Misuse, failed
from ...serving import Served
from ...wiring import Runtime
from ..console import harmless, output
from .exits import Exit
from .loading import loaded
from .options import Json, Namespace, Nats, runtime_at, served

SERVED = "module:attribute of a tool, function, object, class, agent, or a list of them."


def worker(
    *things: Annotated[str, Parameter(help=SERVED, show_env_var=False)],
    nats: Nats = None,
    namespace: Namespace = "default",
    json: Json = False,
) -> int:
    """Serve tools to everybody on a bus until SIGTERM or SIGINT; running calls may then end, for 10 s.

    A second signal ends it at once. With --json one line is printed when it is ready.
    """
    if not things:
        raise Misuse(failed("invalid_call", "say what to serve: module:attribute, such as examples.slow:TOOLS"))
    if not nats:
        raise Misuse(failed("invalid_call", "say on which bus to serve: --nats URL (`toolwire broker` starts one)"))
    loaded_things = [thing for reference in things for thing in loaded(reference)]
    return anyio.run(serve, loaded_things, nats, namespace, json)


async def serve(things: list[Any], nats: str, namespace: str, json: bool) -> int:  # noqa: FBT001 - as the command's
    """Serve until a signal, then drain; a second signal cuts the draining short."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals, anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            async with runtime_at(nats, namespace) as runtime:
                announce(runtime, await served(runtime, things), json=json)
                await anext(signals)
                tasks.start_soon(hurried, signals, scope)
                if not json:
                    output().print("no new calls; those that run may end")
            tasks.cancel_scope.cancel()
    return Exit.INTERRUPTED if scope.cancel_called else Exit.DONE


async def hurried(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
    """Give up at the next signal."""
    await anext(signals)
    scope.cancel()


def announce(runtime: Runtime, offered: Served, *, json: bool) -> None:
    """Say what is served, and where: from now on calls reach it."""
    instance, url = runtime.system.bus.instance, runtime.system.bus.url
    out = output()
    if json:
        out.out(msgspec.json.encode({"worker": instance, "url": url, "tools": offered.tools}).decode())
        return
    out.print(f"worker {instance} serves {harmless(', '.join(offered.tools))} on {url}; Ctrl-C ends it", soft_wrap=True)
