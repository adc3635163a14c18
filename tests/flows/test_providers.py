"""Whole turns with the real SDKs, against providers that refuse what the real ones refuse.

Three rounds with calls side by side and what the model thought, a second turn, then the same conversation at another
provider; and turns that are broken off at every event of a stream: whatever was heard of an answer, the next one is
asked for with a history that the provider takes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from strict.anthropic import bound
from strict.asking import PATIENCE, speaking
from strict.judge import FORMATS, objection_to
from strict.provider import Delivery, Provider, Silence
from strict.said import Said, call, said, searched, text, thought
from strict.spoken import WIRES
from toolwire import (
    Agent,
    Chat,
    History,
    ModelRequest,
    Reply,
    Runtime,
    ToolError,
    Trim,
    TurnFinished,
    UserMessage,
    tool,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_authorities")]


@tool(read_only=True)
async def get_weather(city: str = "Paris") -> dict[str, str]:
    """Current weather for a city."""
    return {city: "mild 🌤"}


@tool
async def book(city: str) -> str:
    """Book a trip."""
    if city == "Atlantis":
        raise ToolError("no such place")
    return f"booked {city}"


TURN = (
    said(thought("hm! 1"), text("Let me see."), call("get_weather", {"city": "Orléans"}), call("get_weather", {})),
    said(thought("hm! 2"), call("book", {"city": "Orléans"}), call("book", {"city": "Atlantis"}), call("nothing", {})),
    said(thought("hm! 3"), thought("", hidden=True), text("Booked Orléans.")),
)
BYE = said(thought("hm! 4"), call("get_weather", {"city": "Rome"}))
SETTINGS = {"reasoning_effort": "low"}


@pytest.fixture(params=FORMATS, scope="module")
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@asynccontextmanager
async def talking(model: Any, **options: Any) -> AsyncIterator[tuple[Runtime, Chat]]:
    async with Runtime() as runtime:
        await runtime.serve(get_weather, book)
        agent = Agent("travel", model, "Be brief.", settings=SETTINGS, **options)
        yield runtime, await runtime.converse(agent)


async def finished(chat: Chat, words: str) -> Reply:
    """What a streamed turn comes to."""
    async with chat.stream(words) as events:
        heard = [event async for event in events]
    assert isinstance(heard[-1], TurnFinished)
    return heard[-1].reply


@pytest.mark.parametrize("eager", ["off", "read_only", "all"])
@pytest.mark.parametrize("way", ["say", "stream"])
async def test_three_rounds_and_a_second_turn(wire: str, way: str, eager: Any) -> None:
    async with (
        speaking(wire, *TURN, BYE, said(text("Bye."))) as (model, provider),
        talking(model, eager=eager) as (_, chat),
    ):
        speak = chat.say if way == "say" else lambda words: finished(chat, words)
        reply = await speak("To Orléans!")
        assert (reply.ended, reply.text, reply.rounds) == ("answered", "Booked Orléans.", 3)
        ended = [result.failure.code if result.failure else "ok" for result in reply.calls]
        assert ended == ["ok", "ok", "ok", "failed", "unknown_tool"]
        assert (reply.usage.input_tokens, reply.usage.cached_tokens, reply.usage.reasoning_tokens) == (36, 12, 6)
        assert (await speak("And Rome?")).text == "Bye."
        assert all(not objection_to(each, list(chat.history())) for each in FORMATS)
        assert [provider.raw[-1].decode().count(f"hm! {n}") for n in (1, 2, 3, 4)] == [1, 1, 1, 1]
    if wire == "anthropic":  # what stood before a thought is the same in each later request: newer models insist on it
        assert not [each for n, body in enumerate(provider.bodies) for each in bound(body, provider.exchanges[:n])]


@pytest.mark.parametrize("other", FORMATS)
async def test_a_conversation_goes_on_at_another_provider(wire: str, other: str) -> None:
    """As it is, and by way of each format; and then home again."""
    async with (
        speaking(wire, *TURN, *[said(text("Home."))] * 4) as (model, _),
        speaking(other, *[said(text("Away."))] * 4) as (elsewhere, _),
        talking(model) as (runtime, chat),
    ):
        assert (await chat.say("To Orléans!")).ended == "answered"
        history = chat.history()
        # What speaks in a provider's own words does not tell which of its relatives it was.
        ways = [each for each in FORMATS if each != other or each != wire]
        told = [history, *(getattr(History, f"from_{each}")(getattr(history, f"to_{each}")()) for each in ways)]
        for each in told:
            away = await runtime.converse(model=elsewhere, history=list(each))
            assert (await away.say("Thanks.")).text == "Away."
            again = await runtime.converse(model=model, history=list(away.history()), settings=SETTINGS)
            assert (await again.say("Home?")).text == "Home."


LONG = said(
    thought("hm"),
    text("Let me see."),
    call("get_weather", {"city": "Paris"}),
    thought("hm"),
    call("book", {"city": "Rome"}),
    text("So."),
    call("get_weather", {}),
)
HOSTED = said(thought("hm"), searched("x"), text("So."), searched("y"), call("get_weather", {}))


@pytest.mark.parametrize("eager", ["off", "read_only", "all"])
@pytest.mark.parametrize("spoken", [LONG, HOSTED], ids=["calls", "searches"])
async def test_an_answer_that_is_interrupted_at_each_of_its_events(wire: str, eager: Any, spoken: Said) -> None:
    if wire == "openai" and spoken is HOSTED:
        return
    count = len(WIRES[wire]().streamed(WIRES[wire]().whole(spoken)))
    async with speaking(wire) as (model, provider), talking(model) as (runtime, _):
        for upto in range(0, count, 2):
            chat = await runtime.converse(model=model, eager=eager)
            provider.exchanges.clear()
            provider.answers += [Delivery(spoken, upto=upto, end="silent"), said(text("Well."))]
            provider.silent = anyio.Event()
            replies: list[Reply] = []
            async with anyio.create_task_group() as tasks:

                async def speak(chat: Chat = chat, replies: list[Reply] = replies) -> None:
                    replies.append(await finished(chat, "Go."))

                tasks.start_soon(speak)
                await provider.silent.wait()
                await anyio.wait_all_tasks_blocked()
                await chat.interrupt()
            assert replies[0].ended == "interrupted"
            assert not [each for each in FORMATS if objection_to(each, list(chat.history()))]
            assert (await chat.say("Well?")).text == "Well."


@pytest.mark.parametrize("eager", ["off", "all"])
@pytest.mark.parametrize("leave", ["torn", "left"])
async def test_an_answer_that_breaks_off_at_each_of_its_events(wire: str, eager: Any, leave: str) -> None:
    count = len(WIRES[wire]().streamed(WIRES[wire]().whole(LONG)))
    end = "abrupt" if leave == "torn" else "silent"
    async with speaking(wire) as (model, provider), talking(model) as (runtime, _):
        for upto in range(0, count - 3, 3):
            chat = await runtime.converse(model=model, eager=eager)
            provider.exchanges.clear()
            provider.answers += [Delivery(LONG, upto=upto, end=end), said(text("Well."))]
            provider.silent = anyio.Event()
            if leave == "torn":
                assert (await finished(chat, "Go.")).ended == "failed"
            else:
                async with chat.stream("Go."):
                    await provider.silent.wait()
                    await anyio.wait_all_tasks_blocked()
            assert not [each for each in FORMATS if objection_to(each, list(chat.history()))]
            assert (await chat.say("Well?")).text == "Well."


ENDS: dict[str, tuple[Said, str]] = {
    "thoughts alone, cut off": (said(thought("hm"), finish="length"), "tokens"),
    "thoughts alone": (said(thought("hm")), "answered"),
    "nothing": (said(), "answered"),
    "nothing, cut off": (said(finish="length"), "tokens"),
    "blanks": (said(text(" \n")), "answered"),
    "thoughts and blanks": (said(thought("hm"), text(" ")), "answered"),
    "cut off behind a call": (said(thought("hm"), call("book", {"city": "Rome"}), finish="length"), "answered"),
    "filtered": (said(thought("hm"), text("So"), finish="filtered"), "filtered"),
    "filtered before a word": (said(thought("hm"), finish="filtered"), "filtered"),
    "refused": (said(thought("hm"), text("No."), finish="refused"), "refused"),
    "a search alone": (said(searched("x")), "answered"),
    "thoughts after the text": (said(text("So."), thought("hm")), "answered"),
    "blanks at the end": (said(text("So. \n")), "answered"),
}


@pytest.mark.parametrize("way", ["say", "stream"])
async def test_however_an_answer_ends_the_next_is_asked_for(wire: str, way: str) -> None:
    async with speaking(wire) as (model, provider), talking(model) as (runtime, _):
        for end, (spoken, ended) in ENDS.items():
            if wire == "openai" and "search" in end:
                continue
            calls = [said(text("Booked."))] if "call" in end else []
            provider.answers[:] = [spoken, *calls, said(text("Well."))]
            chat = await runtime.converse(model=model, settings=SETTINGS)
            reply = await (chat.say("Go.") if way == "say" else finished(chat, "Go."))
            assert reply.ended == ("refused" if wire == "anthropic" and ended == "filtered" else ended), end
            assert not [each for each in FORMATS if objection_to(each, list(chat.history()))], end
            assert (await chat.say("Well?")).text == "Well.", end


async def test_a_deadline_holds_before_a_silent_provider(wire: str) -> None:
    async with (
        speaking(wire, said(text("Yes.")), Silence(), said(text("Well."))) as (model, provider),
        talking(model, limits={"seconds": 0.2}) as (runtime, chat),
    ):
        await model.complete(ModelRequest([UserMessage("Are you there?")]))  # so that no time goes into connecting
        assert (await chat.say("Go.")).ended == "time"
        await provider.left.wait()
        patient = await runtime.converse(model=model, history=list(chat.history()))
        assert (await patient.say("Well?")).text == "Well."


async def test_a_provider_hears_its_own_words_only(wire: str) -> None:
    """Two relatives that speak the same: neither is told what the other one thought."""
    home, away = Provider(wire, *TURN), Provider(wire, said(text("Away.")))
    async with home.serving() as here, away.serving() as there:
        with anyio.fail_after(PATIENCE):
            async with Runtime() as runtime:
                await runtime.serve(get_weather, book)
                names = [f"{wire}:m@{url}" for url in (here, there)]
                chat = await runtime.converse(model=names[0])
                assert (await chat.say("To Orléans!")).ended == "answered"
                other = await runtime.converse(model=names[1], history=list(chat.history()))
                assert (await other.say("Thanks.")).text == "Away."
    assert home.refused + away.refused == []
    assert "hm!" not in away.raw[0].decode()


@pytest.mark.parametrize("way", ["say", "stream"])
async def test_another_agent_other_tools_and_a_memory_that_cuts_off(way: str) -> None:
    """The newest models of Anthropic refuse what they thought before anything else stood before it."""
    answers = [said(thought(f"hm! {n}"), text(f"Answer {n}.")) for n in range(9)]
    newest: Any = {"model": "claude-opus-5-5", "refused": True, "binding": True}
    async with speaking("anthropic", *answers, **newest) as (model, provider), Runtime() as runtime:
        agents = [
            Agent("one", model, "Be brief.", tools=[get_weather]),
            Agent("two", model, "Be long.", tools=[book, get_weather], memory=Trim(tokens=10)),
        ]
        for n in range(6):
            chat = await runtime.converse(agents[n % 2], id="c")
            reply = await chat.say("Well?") if way == "say" else await finished(chat, "Well?")
            assert (reply.ended, reply.text) == ("answered", f"Answer {n}.")
        assert len(provider.refused) == 1
        history = list((await runtime.converse(agents[0], id="c")).history())
        assert all(not objection_to(each, history) for each in FORMATS)
