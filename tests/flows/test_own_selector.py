"""Agents with a selector of their own, on every bus: what is offered, and what becomes of what it raises."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from toolwire import Agent, Keyword, Misuse, ModelRequest, Runtime, SelectionStrategy, ToolSpec, scripted, tool

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    return a + b


@tool
async def send_mail(text: str) -> None:
    """Send a mail."""


@tool
async def get_weather(city: str) -> str:
    """The weather."""
    return f"sunny in {city}"


TOOLS = (add, send_mail, get_weather)


class Choosing:
    """Selects what it is told to, always."""

    always = True

    def __init__(self, *names: Any) -> None:
        self.names = names
        self.known: dict[str, ToolSpec] = {}
        self.queries: list[str] = []

    def add(self, spec: ToolSpec) -> None:
        self.known[spec.name] = spec

    def remove(self, name: str) -> None:
        self.known.pop(name, None)

    def select(self, query: str, *, limit: int, among: Callable[[str], bool] | None = None) -> list[str]:
        self.queries.append(query)
        return list(self.names)


class Few(Choosing):
    always = False
    most = 2


class Raising(Choosing):
    def select(self, query: str, *, limit: int, among: Callable[[str], bool] | None = None) -> list[str]:
        raise LookupError("no index")


class Deaf(Choosing):
    def add(self, spec: ToolSpec) -> None:
        raise LookupError("no room")


def offered(request: ModelRequest) -> str:
    return " ".join(spec.name for spec in request.tools)


async def test_an_agent_is_offered_what_its_own_selector_says(bus: Any) -> None:
    chooser = Choosing("send_mail", "nobody", "add", "add")
    async with bus.open(*TOOLS) as runtime:
        own = await runtime.converse(Agent("own", scripted([offered]), selector=chooser))
        other = await runtime.converse(model=scripted([offered]))
        assert (await own.say("Which?")).text == "send_mail add"
        assert (await other.say("Which?")).text == "add send_mail get_weather"
        assert chooser.queries == ["Which?"]
        assert chooser.known.keys() >= {"add", "send_mail", "get_weather"}


async def test_where_few_are_in_reach_all_are_offered_and_nobody_is_asked(bus: Any) -> None:
    few = Few("get_weather")
    async with bus.open(add, send_mail) as runtime:
        chat = await runtime.converse(model=scripted([offered, offered]), selector=few)
        assert (await chat.say("Which?")).text == "add send_mail"
        assert few.queries == []
        await runtime.serve(get_weather)
        assert (await chat.say("And now?")).text == "get_weather"
        assert few.queries == ["And now?"]


async def test_what_was_called_stays_on_offer(bus: Any) -> None:
    few = Few("send_mail", "get_weather")
    async with bus.open(*TOOLS) as runtime:
        chat = await runtime.converse(model=scripted([("add", {"a": 1, "b": 2}), offered, offered]), selector=few)
        await chat.say("1 + 2?")
        assert (await chat.say("And?")).text == "add send_mail"


async def test_only_tools_of_the_agent_can_be_chosen(bus: Any) -> None:
    chooser = Choosing("send_mail", "add")
    async with bus.open(*TOOLS) as runtime:
        chat = await runtime.converse(Agent("a", scripted([offered]), tools=[add], selector=chooser))
        assert (await chat.say("?")).text == "add"


@pytest.mark.parametrize(
    ("chooser", "said"),
    [
        (Raising(), "the selector Raising raised when it was to select: LookupError: no index"),
        (Deaf("add"), "the selector Deaf raised when it was told of a tool: LookupError: no room"),
        (Choosing("add", 3), "the selector Choosing gave ['add', 3], and not names of tools"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_it_raises_ends_the_turn_and_nothing_else(
    bus: Any, valid: Any, chooser: SelectionStrategy, said: str
) -> None:
    async with bus.open(*TOOLS) as runtime:
        chat = await runtime.converse(model=scripted(["never said"]), selector=chooser)
        reply = await chat.say("?")
        assert (reply.ended, reply.failure and reply.failure.code) == ("failed", "failed")
        assert reply.failure is not None
        assert reply.failure.message == said
        assert valid(chat)
        other = await runtime.converse(model=scripted([("add", {"a": 1, "b": 2}), "3"]))
        assert (await other.say("?")).text == "3"


async def test_a_runtime_may_have_one_for_all(bus: Any) -> None:
    async with bus.open(*TOOLS, selector=Choosing("get_weather")) as runtime:
        agent = Agent("own", scripted([offered]), selector=Choosing("add"))
        assert (await (await runtime.converse(agent)).say("?")).text == "add"
        assert (await (await runtime.converse(model=scripted([offered]))).say("?")).text == "get_weather"
        named = await runtime.converse(agent, id="named")
        assert (await named.say("?")).failure is not None  # the script has ended; who selects was found


async def test_one_strategy_is_told_of_tools_once_and_no_longer_than_somebody_asks_it() -> None:
    chooser = Choosing("add")
    agent = Agent("own", scripted([offered] * 3), selector=chooser)
    async with Runtime() as runtime:
        await runtime.serve(add)
        before = len(runtime.tools._indexes)
        first, second = await runtime.converse(agent), await runtime.converse(agent)
        assert (await first.say("?")).text == (await second.say("?")).text == "add"
        assert len(runtime.tools._indexes) == before + 1
        del first, second
        runtime._conversations._lately.clear()
        gc.collect()
        assert len(runtime.tools._indexes) == before
        await runtime.serve(send_mail)
        assert chooser.known.keys() == {"add"}
        assert (await (await runtime.converse(agent)).say("?")).text == "add"
        assert chooser.known.keys() == {"add", "send_mail"}


@pytest.mark.parametrize("wrong", [Keyword, "keyword", object()], ids=["class", "text", "object"])
async def test_what_is_no_selector_is_refused(wrong: Any) -> None:
    with pytest.raises(Misuse, match="selector must be an object with add, remove and select"):
        Agent("a", scripted([]), selector=wrong)
    with pytest.raises(Misuse, match="selector must be an object with add, remove and select"):
        Runtime(selector=wrong)


@pytest.mark.parametrize(("name", "value"), [("most", 0), ("most", "all"), ("always", "yes")])
async def test_bounds_that_can_not_be_meant_are_refused(name: str, value: Any) -> None:
    chooser = Choosing()
    setattr(chooser, name, value)
    with pytest.raises(Misuse, match="selector must be"):
        Runtime(selector=chooser)
