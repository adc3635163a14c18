"""Tests of an agent, on both event loops and in no time: `pytest examples/test_an_agent.py`. See docs/testing.md."""

from typing import Any

import anyio
import pytest

from toolwire import Agent, ToolError, testing, tool


@tool(timeout=30)
async def get_weather(city: str) -> str:
    """The weather in a city."""
    raise ConnectionError(f"there is no network in tests to ask for {city}")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return testing.virtual_time(request.param)


pytestmark = pytest.mark.anyio


async def test_it_asks_for_the_city() -> None:
    model = testing.scripted([("get_weather", {"city": "Paris"}), "Take a coat."])
    async with testing.runtime(get_weather) as runtime, testing.replaced(runtime, get_weather, "rain") as calls:
        reply = await (await runtime.converse(Agent("travel", model))).say("What do I wear in Paris?")
    assert (reply.text, calls, model.unspoken) == ("Take a coat.", [{"city": "Paris"}], ())


@pytest.mark.parametrize(("fake", "code"), [(ToolError("no such city"), "failed"), (anyio.sleep_forever, "timed_out")])
async def test_it_hears_of_what_fails(fake: Any, code: str) -> None:
    model = testing.scripted([("get_weather", {"city": "Atlantis"}), "I don't know."])
    async with testing.runtime(get_weather) as runtime, testing.replaced(runtime, get_weather, fake):
        reply = await (await runtime.converse(Agent("travel", model))).say("And in Atlantis?")
    assert [call.failure and call.failure.code for call in reply.calls] == [code]
