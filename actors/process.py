"""Tools with a process to themselves while they run: how one is named there, and the way of a call to it and back."""

import sys
from collections.abc import Iterable
from logging import LoggerAdapter
from types import MethodType
from typing import Any

import msgspec
from anyio.lowlevel import current_token
from msgspec import Raw

from ..protocol.envelope import encode
from ..protocol.failures import Misuse, ToolwireError, failed
from ..protocol.jobs import Done, Job, Logged, Prepare, decode_done, decode_word
from ..protocol.messages import CallTool
from ..protocol.schema import Untyped
from ..protocol.secret import Secret
from ..protocol.standins import plain
from ..runtime.child import POSSIBLE, Child
from ..runtime.context import Context
from ..runtime.deadline import left
from ..runtime.processes import LARGEST, Processes
from .context import logger
from .tool import Tool

OUTPOST = f"{__package__}.outpost"

BOOT = f"import sys; sys.path[:] = sys.argv[3:]; from {OUTPOST} import main; main(int(sys.argv[1]), int(sys.argv[2]))"
"""What a worker process runs. Not `-m`: what can be imported here is to be found there, however it came to be so."""


def command(channel: int, lifeline: int) -> list[str]:
    """The command line of a worker process. `-u`: what a tool prints is not lost when it is killed."""
    return [sys.executable, "-u", "-P", "-c", BOOT, str(channel), str(lifeline), *map(str, sys.path)]


def revealed(value: object) -> Any:
    """A value inside arguments that msgspec can't write. A secret has to arrive as what it is."""
    return value.reveal() if isinstance(value, Secret) else plain(value)


write = msgspec.json.Encoder(enc_hook=revealed).encode


async def prepare(tools: Iterable[Tool[Any]], processes: Processes) -> None:
    """Have a process import those of `tools` that run there. Raises Misuse for what can't, with the reason."""
    for made in tools:
        if made.spec.isolation != "process":
            continue
        refuse(made)
        if processes.most < 1:
            raise Misuse(failed("invalid_call", f"{made.name} needs a process of its own, and Runtime(processes=0)"))
        made.where = where(made)
        order = encode(Prepare(made.where, tuple(map(str, sys.path)), backend()))
        try:
            failure = decode_done(await processes.prepare(order)).failure
        except ToolwireError as error:
            failure = error.failure
        if failure is not None:
            processes.forget(order)
            said = f"{made.name}: a worker process can't import {made.where!r}: {failure.message}"
            raise Misuse(failed("invalid_call", said))


def refuse(made: Tool[Any]) -> None:
    """Raise Misuse for a tool that can't run in a process of its own, whatever it is called."""
    why = ""
    if not POSSIBLE:
        why = "this system can't hand a process what it needs; leave isolation out, and it runs in a thread"
    elif Child.here:
        why = "this is a worker process itself: guard what starts a runtime with `if __name__ == '__main__'`"
    elif made.injected:
        kind = getattr(made.injected[0][1], "__name__", str(made.injected[0][1]))
        why = (
            f"it asks for a {kind} of this process (its parameter {made.injected[0][0]!r}): make it in the tool itself"
        )
    elif made.handlers.by_type:
        why = "what it raises stays in its process: give on_error a failure code, such as 'failed', in place of a type"
    if why:
        raise Misuse(failed("invalid_call", f"{made.name} can't run in a process of its own: {why}"))


def where(made: Tool[Any]) -> str:
    """`module:qualname` by which another process finds the tool. Raises Misuse where there is no such name."""
    function = made.function
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    why = ""
    if made.spec.object or isinstance(function, MethodType):
        why = "it is a method of an object, which is in this process only: make it a function of a module"
    elif not isinstance(module, str) or not isinstance(name, str):
        why = f"a {type(function).__name__} has no name to import it by: make it a function of a module"
    elif module == "__main__":
        why = "it stands in the program that was started, which nobody can import: move it to a module of its own"
    elif "<lambda>" in name:
        why = "a lambda has no name to import it by: write it with def, in a module"
    elif "<locals>" in name:
        why = f"{name!r} is made when another function runs: move it to the top of its module"
    else:
        for each in (name, *named(made, module)):
            if found(made, module, each):
                return f"{module}:{each}"
        why = f"{module}.{name} is something else: give it that name in its module, or another one there"
    raise Misuse(failed("invalid_call", f"{made.name} can't run in a process of its own: {why}"))


def named(made: Tool[Any], module: str) -> list[str]:
    """The names that a module has for a tool."""
    known = vars(sys.modules[module]) if module in sys.modules else {}
    return [name for name, value in known.items() if isinstance(value, Tool) and value.function is made.function]


def found(made: Tool[Any], module: str, name: str) -> bool:
    """Whether `name` in `module` is the tool, or the function from which it can be made again."""
    there: Any = sys.modules.get(module)
    for part in name.split("."):
        there = getattr(there, part, None)
    if isinstance(there, Tool):
        return there.function is made.function
    return there is made.function and not isinstance(made.signature, Untyped)


def backend() -> str:
    """The name of the event loop that runs here, as anyio calls it."""
    return "trio" if current_token().backend_class.__module__.endswith("_trio") else "asyncio"


async def in_process(
    tool: Tool[Any],
    changed: dict[str, Any] | None,
    message: CallTool,
    context: Context,
    processes: Processes,
    most: int,
) -> Raw:
    """What the tool gives, as JSON text of at most `most` bytes. Cancelled, it kills the process that runs it.

    `changed` is what it is called with, where that is not what `message` says. Raises ToolwireError with what the tool
    raised, and where no process was to be had, or the one that ran it ended.
    """
    if changed is not None:
        values = changed[tool.signature.takes] if isinstance(tool.signature, Untyped) else as_struct(tool, changed)
        message = msgspec.structs.replace(message, arguments=write(values).decode())
    budget = left(context.deadline, context.system.clock)
    job = Job(tool.where, message, context.trail, budget, most, backend(), logger.getEffectiveLevel())

    def hear(said: bytes) -> None:
        word = decode_word(said)
        if isinstance(word, Logged):
            LoggerAdapter(logger, {"call_id": message.id, "tool": message.tool}).log(word.level, "%s", word.text)
        else:
            context.report(word)

    done: Done = decode_done(await processes.run(encode(job), hear, most + LARGEST))
    if done.failure is not None:
        raise ToolwireError(done.failure)
    return Raw((done.content or "null").encode())


def as_struct(tool: Tool[Any], values: dict[str, Any]) -> Any:
    """What the function is called with, as the value that its arguments are read into."""
    return tool.signature.arguments(**{field: values[field] for field in fields(tool) if field in values})


def fields(tool: Tool[Any]) -> tuple[str, ...]:
    """The names of what a call gives."""
    return tool.signature.arguments.__struct_fields__
