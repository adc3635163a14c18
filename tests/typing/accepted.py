"""Uses of the public face whose types must be known: checked by `make types` and by tests/typing/test_typing.py."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, assert_type

from toolwire import Agent, Blob, Chat, Context, Inject, Reply, Runtime, Tool, ToolResult, tool
from toolwire.models import Settings, anthropic, openai, openai_responses


class Weather:
    """What is returned."""


class Db:
    """What is injected."""


@tool
async def bare(city: str) -> Weather:
    return Weather()


@tool
def plain(city: str) -> int:
    return len(city)


@tool(timeout=5.0, read_only=True, writes={"calendar"})
async def optioned(city: str, *, context: Context, db: Annotated[Db, Inject]) -> Weather:
    return Weather()


@tool(name="other")
def optioned_plain(city: str) -> list[int]:
    return [len(city)]


@tool
async def counting(n: int) -> AsyncIterator[int]:
    yield n


class Desk:
    @tool
    async def book(self, seat: int) -> Weather:
        return Weather()


async def written(arguments: dict[str, Any]) -> Weather:
    return Weather()


def base(it: Tool[object]) -> str:
    return it.name


assert_type(bare, Tool[Weather])
assert_type(plain, Tool[int])
assert_type(optioned, Tool[Weather])
assert_type(optioned_plain, Tool[list[int]])
assert_type(counting, Tool[int])
assert_type(Desk().book, Tool[Weather])
assert_type(tool(written), Tool[Weather])
assert_type(tool(written, timeout=1.0), Tool[Weather])
assert_type(Tool.from_schema("a", "A.", {"type": "object"}, written, read_only=True), Tool[Weather])
base(bare)


def settings(given: Settings) -> None:
    assert_type(openai("m", settings={"temperature": 0.5, "stop": ["a"], "extra": {"user": "u"}}).model, str)
    assert_type(anthropic("m", settings=given, cache=False).model, str)
    Agent("a", openai_responses("m"), settings=given)
    Agent("a", "openai:m", settings={"reasoning_effort": "low"})


async def answers(chat: Chat) -> None:
    assert_type((await chat.say("a", output=Weather)).output, Weather | None)
    assert_type((await chat.say("a", output=list[int])).output, list[int] | None)
    assert_type(await chat.say("a", Blob("image/png", b"x")), Reply)
    assert_type(await chat.say(["a", Blob("image/png", b"x")], output={"type": "object"}), Reply)
    told: Reply[object] = await chat.say("a", output=Weather)
    assert_type(told.text, str)


async def calls(runtime: Runtime) -> None:
    assert_type(await runtime.call(bare, {"city": "Paris"}), ToolResult[Weather])
    assert_type((await runtime.call(optioned, {"city": "Paris"}, timeout=1.0)).value, Weather)
    assert_type((await runtime.call(counting, {"n": 1})).value, int)
    assert_type(await runtime.call("bare", {"city": "Paris"}), ToolResult[Any])
    runtime.provide(Db, Db)
