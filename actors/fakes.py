"""A fake in the place of a tool, for a while: the model is offered the real one, and the test says what came of it."""

import inspect
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, get_type_hints

import anyio
from msgspec.structs import replace

from ..protocol.failures import Failure, Misuse, ToolError, ToolwireError, failed
from ..protocol.schema import Signature, Untyped
from .context import Context
from .tool import Tool
from .wiring import Runtime

Step = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
"""One answer: by the arguments, and by what the runtime fills in."""

GIVING_BACK = 5.0
"""Seconds that the real tool may take to stand in its place again, also where the test was cancelled."""


class replaced:  # noqa: N801 - it is used as a function, inside `async with`
    """Let `fake` answer the calls of a tool that `runtime` serves, inside `async with … as calls`.

    `tool` is its name, or what was served: a tool, a function, an agent. `fake` is a value, an exception or a Failure,
    a function of the arguments (async or not; it may take only some of them, and a Context), or a list of these, one
    for each call. `calls` holds the arguments of each call, as the real tool would have got them: to the model and to
    whatever stands around calls it is the real one, with its schema, its confirmation, its rate. At the end that is
    back, whatever has happened.

    Raises Misuse for a tool that is not served there, and for a function that asks for what the tool does not take;
    AssertionError at the end, if there were more calls than the list has.
    """

    def __init__(self, runtime: Runtime, tool: Any, fake: Any) -> None:
        self._runtime = runtime
        self._tool = tool
        self._fake = fake

    async def __aenter__(self) -> list[dict[str, Any]]:
        services, tools = self._runtime._services, self._runtime.tools  # noqa: SLF001 - it is of the house
        name = await self._named()
        real = services.tool(name)
        if real is None:
            raise Misuse(elsewhere(name) if name in tools else tools.unknown(name))
        self._answers = Answers(name, real.signature, self._fake)
        self._give_back = await services.stand_in(faked(real, self._answers))
        return self._answers.calls

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GIVING_BACK):
            await self._give_back()
        if error is None and (said := self._answers.lacking):
            raise AssertionError(said)

    async def _named(self) -> str:
        """The name of the tool. What is not served yet is served first."""
        if isinstance(self._tool, str):
            return self._tool
        runtime = self._runtime
        names = await runtime._services.names_of(runtime._conversations.as_tool(self._tool))  # noqa: SLF001 - as above
        if len(names) != 1:
            said = f"{self._tool!r:.100} is several tools: replace one of them, by its name: {', '.join(names)}"
            raise Misuse(failed("invalid_call", said))
        return names[0]


def elsewhere(name: str) -> Failure:
    """Why a tool can't be replaced that others serve, or that is not loaded."""
    return failed("unknown_tool", f"{name!r} is not served by this runtime, or not yet loaded: it can't be replaced")


def faked(real: Tool[Any], answers: "Answers") -> Tool[Any]:
    """`real`, with another function: what it is offered as, and what is done about its calls, stays."""
    signature = replace(real.signature, streams=False, filled=answers.filled, injected={}, needed=())
    spec = replace(real.spec, isolation="")
    guards = (real.sanitize, real.handlers, real.confirm, real.guard, real.touching)
    return Tool(answers.answer, spec, signature, 1 if spec.object else real.concurrency, *guards)


class Answers:
    """What a fake says, call by call, and what it was asked."""

    def __init__(self, name: str, signature: Signature, fake: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self.filled: dict[str, type] = {}
        self._name = name
        self._signature = signature
        self._takes = signature.takes if isinstance(signature, Untyped) else ""
        self._one_by_one = isinstance(fake, list)
        self._steps = [self._step(each) for each in (fake if self._one_by_one else [fake])]

    @property
    def lacking(self) -> str:
        """That there were more calls than answers; empty if there were not."""
        said, known = len(self.calls), len(self._steps)
        if not self._one_by_one or said <= known:
            return ""
        asked = f"the next was called with {self.calls[known]}"
        return f"the fake of {self._name!r} has answers to {known} of {said} calls: {asked}"

    async def answer(self, /, **arguments: Any) -> Any:
        """Stand in for the function of the tool."""
        contexts = {name: arguments.pop(name) for name in self.filled}
        given: dict[str, Any] = arguments[self._takes] if self._takes else arguments
        self.calls.append(dict(given))
        if said := self.lacking:
            raise ToolError(said)
        value = self._steps[len(self.calls) - 1 if self._one_by_one else 0](given, contexts)
        return await value if inspect.isawaitable(value) else value

    def _step(self, fake: Any) -> Step:
        if isinstance(fake, Failure):
            return raising(ToolwireError(fake))
        if isinstance(fake, BaseException) or (inspect.isclass(fake) and issubclass(fake, BaseException)):
            return raising(fake)
        return self._calling(fake) if callable(fake) else lambda *_: fake

    def _calling(self, function: Callable[..., Any]) -> Step:
        """`function`, given those of the arguments that it takes. Raises Misuse if it asks for others."""
        parameters = inspect.signature(function).parameters.values()
        rest = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        whole = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        hints = annotations(function)
        contexts = {each.name for each in parameters if hints.get(each.name) is Context}
        taken = {each.name: each.default is each.empty for each in parameters if each.kind not in rest}
        known = list(self._signature.parameters.get("properties", {}))
        if wrong := [name for name, needed in taken.items() if needed and name not in {*known, *contexts}]:
            takes = ", ".join(known) or "nothing"
            said = f"the fake of {self._name!r} asks for {', '.join(wrong)}; the tool takes {takes}"
            raise Misuse(failed("invalid_call", said))
        self.filled.update(dict.fromkeys(contexts, Context))
        defaults = {name: value for name, value in self._signature.defaults.items() if taken.get(name)}

        def call(given: Mapping[str, Any], filled: Mapping[str, Any]) -> Any:
            named = given if whole else {name: value for name, value in given.items() if name in taken}
            return function(**{**defaults, **named, **{name: filled[name] for name in contexts}})

        return call


def raising(error: BaseException | type[BaseException]) -> Step:
    """A step that raises."""

    def fail(*_: object) -> Any:
        raise error

    return fail


def annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of the parameters of `function`, those that can be read."""
    try:
        return get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    except Exception:  # noqa: BLE001 - a name that is not there is no reason to refuse a fake
        return {}
