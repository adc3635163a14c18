"""Whom a conversation asks: what would be selected again is not asked for."""

from typing import Any

import pytest

from toolwire import ModelRequest, Runtime, scripted, tool
from toolwire.actors.asks import SCOPES, Asks
from toolwire.actors.selector import Selector
from toolwire.protocol.messages import ToolsSelected

pytestmark = pytest.mark.anyio


@tool
async def first() -> int:
    return 1


@tool
async def second() -> int:
    return 2


def offered(request: ModelRequest) -> str:
    return " ".join(sorted(spec.name for spec in request.tools))


def foremost(request: ModelRequest) -> str:
    return request.tools[0].name


def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What selectors are asked from now on."""
    queries: list[str] = []
    receive = Selector.receive

    async def hearing(self: Selector, message: Any, context: Any) -> ToolsSelected:
        queries.append(message.query)
        return await receive(self, message, context)

    monkeypatch.setattr(Selector, "receive", hearing)
    return queries


async def test_few_tools_are_selected_once_for_all_conversations_until_one_comes_or_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries = asked(monkeypatch)
    model = scripted([offered] * 9)
    async with Runtime() as runtime:
        await runtime.serve(first)
        chat = await runtime.converse(model=model)
        assert [(await chat.say(said)).text for said in ("a", "b")] == ["first", "first"]
        assert (await (await runtime.converse(model=model)).say("c")).text == "first"
        served = await runtime.serve(second)
        assert [(await chat.say(said)).text for said in ("d", "e")] == ["first second", "first second"]
        await served.stop()
        assert [(await chat.say(said)).text for said in ("f", "g")] == ["first", "first"]
    assert queries == ["a", "d", "f"]


async def test_what_an_agent_may_call_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = asked(monkeypatch)
    model = scripted([offered] * 9)
    async with Runtime() as runtime:
        await runtime.serve(first, second)
        chats = [await runtime.converse(model=model, tools=tools) for tools in (["first"], ["second"], None)]
        for _ in range(2):
            assert [(await chat.say(f"{n}")).text for n, chat in enumerate(chats)] == [
                "first",
                "second",
                "first second",
            ]
    assert queries == ["0", "1", "2"]


async def test_among_many_tools_each_turn_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = asked(monkeypatch)
    model = scripted([foremost, foremost])
    async with Runtime() as runtime:
        await runtime.serve(*(tool(name=f"number_{n}", description=f"The number {n}.")(one) for n in range(200)))
        chat = await runtime.converse(model=model)
        assert [(await chat.say(said)).text for said in ("number 7", "number 9")] == ["number_7", "number_9"]
    assert queries == ["number 7", "number 9"]


async def one() -> int:
    return 1


def test_only_so_many_are_kept() -> None:
    asks = Asks({})
    for n in range(SCOPES + 1):
        asks.keep((f"{n}",), 1, ToolsSelected((), ""))
    assert asks.selected((f"{SCOPES}",), 1) is not None
    assert asks.selected(("0",), 1) is None
