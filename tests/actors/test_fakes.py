"""A fake in the place of a tool: what it answers, what it was asked, and that the real one comes back."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import pytest
from msgspec import Struct

from toolwire import (
    Agent,
    Context,
    Failure,
    Inject,
    Misuse,
    Runtime,
    Tool,
    ToolError,
    ToolResult,
    lazy,
    scripted,
    testing,
    tool,
)

pytestmark = pytest.mark.anyio


class Weather(Struct):
    sky: str
    degrees: float = 0.0


@tool(read_only=True)
async def get_weather(city: str, units: str = "celsius") -> Weather:
    """Current weather for a city."""
    raise ConnectionError("no network in tests")


class Database:
    pass


@tool
async def find(word: str, database: Annotated[Database, Inject], context: Context) -> AsyncIterator[str]:
    """Find a word."""
    yield "looking"
    yield f"{word} found by {type(database).__name__}"


class Car:
    def __init__(self) -> None:
        self.running = False

    async def start(self, gear: int = 1) -> str:
        """Start."""
        self.running = True
        return "it runs"

    async def honk(self) -> str:
        """Honk."""
        return "honk"


def failure(result: ToolResult[Any]) -> Failure:
    assert result.failure is not None
    return result.failure


async def test_the_fake_answers_and_the_real_one_comes_back() -> None:
    async with testing.runtime(get_weather) as runtime:
        async with testing.replaced(runtime, "get_weather", Weather("sunny", 21.0)) as calls:
            result = await runtime.call(get_weather, {"city": "Paris"})
            assert result.value == Weather("sunny", 21.0)
            assert calls == [{"city": "Paris"}]
        assert "no network" in failure(await runtime.call(get_weather, {"city": "Paris"})).message
        assert len(calls) == 1


async def test_it_comes_back_after_an_exception_and_a_cancellation() -> None:
    async with testing.runtime(get_weather) as runtime:
        with pytest.raises(ZeroDivisionError):
            async with testing.replaced(runtime, get_weather, "sunny"):
                raise ZeroDivisionError
        with anyio.CancelScope() as scope:
            async with testing.replaced(runtime, get_weather, "sunny"):
                scope.cancel()
                await anyio.sleep_forever()
        assert "no network" in failure(await runtime.call("get_weather", {"city": "Paris"})).message


async def test_arguments_are_checked_as_the_real_tool_would() -> None:
    async with (
        testing.runtime(get_weather, lenient=False) as runtime,
        testing.replaced(runtime, "get_weather", "sunny") as calls,
    ):
        assert runtime.tools["get_weather"].parameters == get_weather.spec.parameters
        assert failure(await runtime.call("get_weather", {"town": "Paris"})).code == "invalid_arguments"
        assert calls == []


@pytest.mark.parametrize(
    ("fake", "value"),
    [
        (lambda: "no matter what", "no matter what"),
        (lambda city: f"sunny in {city}", "sunny in Paris"),
        (lambda units, city: f"{city} in {units}", "Paris in celsius"),
        (lambda **given: sorted(given), ["city"]),
        (lambda city, more=1: f"{city} {more}", "Paris 1"),
        ({"sky": "blue"}, {"sky": "blue"}),
        (None, None),
        ([["a list"]], ["a list"]),
    ],
)
async def test_what_a_fake_may_be(fake: Any, value: Any) -> None:
    async with testing.runtime(get_weather) as runtime, testing.replaced(runtime, "get_weather", fake):
        assert (await runtime.call("get_weather", {"city": "Paris"})).value == value


@pytest.mark.parametrize(
    ("fake", "code", "said"),
    [
        (ToolError("try another city"), "failed", "try another city"),
        (ConnectionError("gone"), "failed", "gone"),
        (TimeoutError, "failed", "TimeoutError"),
        (Failure("rate_limited", "too many", retry_after=3.0), "rate_limited", "too many"),
    ],
)
async def test_a_fake_may_fail(fake: Any, code: str, said: str) -> None:
    async with testing.runtime(get_weather) as runtime, testing.replaced(runtime, "get_weather", fake):
        found = failure(await runtime.call("get_weather", {"city": "Paris"}))
        assert (found.code, said in found.message) == (code, True)


async def test_a_list_is_one_for_each_call() -> None:
    async def later(city: str) -> str:
        await anyio.lowlevel.checkpoint()
        return city

    steps = [ToolError("busy"), "sunny", later]
    async with testing.runtime(get_weather) as runtime, testing.replaced(runtime, "get_weather", steps) as calls:
        results = [await runtime.call("get_weather", {"city": city}) for city in ("Rome", "Oslo", "Bonn")]
        assert [result.ok for result in results] == [False, True, True]
        assert results[2].value == "Bonn"
        assert calls == [{"city": "Rome"}, {"city": "Oslo"}, {"city": "Bonn"}]


async def test_more_calls_than_answers_are_told_at_once_and_at_the_end() -> None:
    said = "the fake of 'get_weather' has answers to 1 of 2 calls: the next was called with {'city': 'Oslo'}"
    async with testing.runtime(get_weather) as runtime:
        faked = testing.replaced(runtime, "get_weather", ["sunny"])
        await faked.__aenter__()
        await runtime.call("get_weather", {"city": "Rome"})
        assert failure(await runtime.call("get_weather", {"city": "Oslo"})).message == said
        with pytest.raises(AssertionError, match="has answers to 1 of 2 calls"):
            await faked.__aexit__(None, None, None)


async def test_what_the_runtime_fills_in_is_not_needed() -> None:
    told: list[str] = []

    def fake(word: str, of: Context) -> str:
        told.append(of.call_id)
        return word.upper()

    async with testing.runtime() as runtime:
        runtime.provide(Database, Database)
        await runtime.serve(find)
        async with testing.replaced(runtime, "find", fake) as calls:
            assert (await runtime.call("find", {"word": "x"})).value == "X"
            assert (calls, told) == ([{"word": "x"}], ["call_1"])
        assert (await runtime.call("find", {"word": "x"})).value == "x found by Database"


async def test_one_method_of_an_object_whose_state_stays() -> None:
    car = Car()
    async with testing.runtime(car) as runtime:
        async with testing.replaced(runtime, "start", "it coughs") as calls:
            assert (await runtime.call("start", {"gear": 2})).value == "it coughs"
            assert (await runtime.call("honk")).value == "honk"
            async with testing.replaced(runtime, "honk", "moo"):
                assert (await runtime.call("honk")).value == "moo"
                assert (await runtime.call("start")).value == "it coughs"
            assert (await runtime.call("honk")).value == "honk"
        assert (calls, car.running) == ([{"gear": 2}, {}], False)
        assert (await runtime.call("start")).value == "it runs"
        assert car.running


async def test_a_class_that_is_built_anew_comes_back() -> None:
    async with testing.runtime(Car) as runtime:
        async with testing.replaced(runtime, "start", ToolError("flat battery")):
            assert failure(await runtime.call("start")).message == "flat battery"
        assert (await runtime.call("start")).value == "it runs"


async def test_an_agent_that_is_a_tool() -> None:
    expert = Agent("expert", scripted(["never asked"]))
    model = scripted([("expert", {"message": "what is 6 * 7?"}), "It is 42."])
    async with testing.runtime(expert) as runtime:
        chat = await runtime.converse(model=model)
        async with testing.replaced(runtime, expert, "42") as calls:
            reply = await chat.say("Ask the expert.")
        assert (calls, reply.calls[0].value) == ([{"message": "what is 6 * 7?"}], "42")


async def test_a_conversation_is_opened_with_the_tools_that_are_replaced() -> None:
    car = Car()
    async with testing.runtime(get_weather, car) as runtime, testing.replaced(runtime, get_weather, "sunny") as calls:
        async with testing.replaced(runtime, "start", "it coughs"):
            agent = Agent(
                "a", scripted([[("get_weather", {"city": "Rome"}), ("start",)], "ok"]), tools=[get_weather, car]
            )
            reply = await (await runtime.converse(agent)).say("?")
        assert [result.value for result in reply.calls] == ["sunny", "it coughs"]
        assert calls == [{"city": "Rome"}]


async def test_bound_methods_are_known_again() -> None:
    car = Car()
    async with testing.runtime(car.honk) as runtime, testing.replaced(runtime, "honk", "moo"):
        chat = await runtime.converse(model=scripted([("honk",), "ok"]), tools=[car.honk])
        assert (await chat.say("?")).calls[0].value == "moo"


async def test_nested_the_inner_one_counts() -> None:
    async with testing.runtime(get_weather) as runtime, testing.replaced(runtime, "get_weather", "outer"):
        async with testing.replaced(runtime, "get_weather", "inner"):
            assert (await runtime.call("get_weather", {"city": "Rome"})).value == "inner"
            await runtime.converse(model=scripted([]), tools=[get_weather])
        assert (await runtime.call("get_weather", {"city": "Rome"})).value == "outer"


async def test_what_is_served_meanwhile_stays() -> None:
    async with testing.runtime(get_weather) as runtime:
        async with testing.replaced(runtime, "get_weather", "fake"):
            await runtime.serve(tool(lambda: "new", name="get_weather"), replace=True)
        assert (await runtime.call("get_weather")).value == "new"


async def test_what_waits_for_a_person_does_so_too() -> None:
    @tool(confirm=True)
    def pay(amount: int) -> None:
        raise AssertionError

    async with testing.runtime(pay) as runtime, testing.replaced(runtime, pay, "paid") as calls:
        chat = await runtime.converse(model=scripted([("pay", {"amount": 3}), "done"]))
        reply = await chat.say("?")
        assert (reply.ended, calls) == ("paused", [])
        await chat.answer(reply.pending[0], "approve")
        assert calls == [{"amount": 3}]


async def test_a_tool_of_a_schema() -> None:
    def run(given: dict[str, Any]) -> str:
        raise AssertionError

    schema = {"type": "object", "properties": {"x": {"type": "integer"}, "self": {}}, "required": ["x"]}
    made = Tool.from_schema("run", "Run.", schema, run)
    async with testing.runtime(made) as runtime, testing.replaced(runtime, "run", lambda x: x + 1) as calls:
        assert (await runtime.call("run", {"x": 1, "self": 2})).value == 2
        assert calls == [{"x": 1, "self": 2}]


async def test_what_is_not_served_yet_is_served_for_it() -> None:
    async with testing.runtime() as runtime:
        async with testing.replaced(runtime, get_weather, "sunny"):
            assert (await runtime.call("get_weather", {"city": "Rome"})).value == "sunny"
        assert not (await runtime.call("get_weather", {"city": "Rome"})).ok


async def test_what_can_not_be_replaced_is_said() -> None:
    def wrong(town: str, x: int, y: int = 1) -> str:
        return town

    async with testing.runtime(get_weather, Car(), lazy("later", Car)) as runtime:
        with pytest.raises(Misuse, match="no tool 'get_wether'; did you mean 'get_weather'"):
            await testing.replaced(runtime, "get_wether", 1).__aenter__()
        with pytest.raises(Misuse, match="several tools: replace one of them, by its name: honk2, start2"):
            await testing.replaced(runtime, Honker(), 1).__aenter__()
        with pytest.raises(Misuse, match="the fake of 'get_weather' asks for town, x; the tool takes city, units"):
            await testing.replaced(runtime, "get_weather", wrong).__aenter__()
        with pytest.raises(Misuse, match="'later' is not served by this runtime, or not yet loaded"):
            await testing.replaced(runtime, "later", 1).__aenter__()


class Honker:
    def honk2(self) -> None:
        """Honk."""

    def start2(self) -> None:
        """Start."""


async def test_over_nats_others_call_the_fake_too(nats_url: str) -> None:
    space = "fakes"
    async with (
        Runtime(nats_url, namespace=space) as host,
        testing.runtime(get_weather, url=nats_url, namespace=space) as worker,
    ):
        await host.discover()
        async with testing.replaced(worker, "get_weather", "faked") as calls:
            assert (await host.call("get_weather", {"city": "Rome"})).value == "faked"
            with pytest.raises(Misuse, match="not served by this runtime"):
                await testing.replaced(host, "get_weather", 1).__aenter__()
        assert calls == [{"city": "Rome"}]
        assert "no network" in failure(await host.call("get_weather", {"city": "Rome"})).message
