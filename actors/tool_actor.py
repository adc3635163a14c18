"""The tool actor: one function, or the methods of one object, behind one door."""

from collections.abc import Callable
from functools import partial
from inspect import iscoroutine
from typing import Any, ClassVar

from ..protocol.arguments import LARGEST
from ..protocol.envelope import NO_MESSAGE
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import CallEnded, CallTool
from ..runtime.actor import Actor
from ..runtime.border import ends_program, failure_of, is_ours
from ..runtime.context import Context, Door
from ..runtime.isolation import isolated
from ..runtime.threads import Threads
from ..runtime.tracing import entered
from .context import of_call
from .tool import Tool, encoded


class Workshop:
    """What the tools of one runtime share: its name, its threads, how large a result may be, who runs their calls."""

    def __init__(self, worker: str, executor: str | Door, threads: int, largest: int) -> None:
        self.worker = worker
        self.executor = executor
        self.threads = Threads(threads)
        self.largest = largest


class ToolActor(Actor):
    """Runs calls to `tools`: `limit` of them at once, each on arguments of its own.

    If it can be `rebuilt`, what a tool raises without declaring it (ToolError) is a crash.
    """

    hears = CallTool
    limit: ClassVar[int | None] = None

    def __init__(self, tools: dict[str, Tool[Any]], workshop: Workshop, limit: int, *, rebuilt: bool = False) -> None:
        self.tools = tools
        self.rebuilt = rebuilt
        self.workshop = workshop
        self.limit = limit  # type: ignore[misc]  # each tool says how many at once

    async def receive(self, message: CallTool, context: Context) -> CallEnded:
        """Run one call. What the tool raises is an answer; only a cancellation that is ours goes on."""
        tool = self.tools.get(message.tool)
        if tool is None:
            raise ToolwireError(failed("unknown_tool", f"there is no tool {message.tool[:100]!r} here"))
        worker = self.workshop.worker
        if len(message.arguments) > LARGEST:
            return CallEnded(None, refused(tool, message.arguments, ValueError("they are too long")), worker)
        try:
            signature = tool.signature
            arguments = signature.keywords(signature.decode(message.arguments))
        except NO_MESSAGE as error:
            return CallEnded(None, refused(tool, message.arguments, error), worker)
        try:
            for name in tool.context_parameters:
                arguments[name] = of_call(context, message, self.workshop.executor)
            trace = entered(context)
            if tool.is_async:
                value = await isolated(tool.function(**arguments), trace)
            else:
                value = await self._in_thread(partial(tool.function, **arguments), trace)
        except BaseException as error:
            if is_ours(error):
                raise
            if ends_program(error):
                context.system.end(error)
            elif self.rebuilt and not isinstance(error, ToolwireError):
                raise  # a crash: the state that is left behind is not to be trusted
            return CallEnded(None, failure_of(error, "maybe"), worker)
        content = encoded(value, self.workshop.largest)
        return CallEnded(None, content, worker) if isinstance(content, Failure) else CallEnded(content, None, worker)

    async def _in_thread(self, work: Callable[[], Any], trace: Callable[[], object] | None) -> Any:
        if trace is not None:
            work = partial(after, trace, work)
        outcome = partial(settled, work)
        value, error = await self.workshop.threads.run(outcome)
        if error is not None:
            raise error
        # A decorator that is not async, around a function that is, can be told only by what it gives.
        return await isolated(value, trace) if iscoroutine(value) else value


def settled(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What `work` gave or raised, as a value: a loop takes some of both for its own (a coroutine, GeneratorExit)."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
        return None, error


def after(first: Callable[[], object], work: Callable[[], Any]) -> Any:
    """Do `first`, then `work`: a thread has context variables of its own."""
    first()
    return work()


def refused(tool: Tool[Any], text: str, error: Exception) -> Failure:
    """Why `text` is not what `tool` takes: every error there is, by its schema."""
    failure = tool.checker.judge(text)
    if failure is not None:
        return failure
    said = f"the arguments are not what the tool takes: {error}"
    return failed("invalid_arguments", said, errors=[{"pointer": "", "expected": str(error), "got": ""}])
