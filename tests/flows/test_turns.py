"""Whole turns: what a user says, what the model and the tools do, what comes back, and what stays."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from toolwire import (
    Agent,
    AssistantMessage,
    Context,
    ModelReply,
    ModelRequest,
    Reply,
    Runtime,
    SystemMessage,
    ToolCall,
    ToolError,
    ToolMessage,
    ToolwireError,
    Usage,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.model import Memory, ModelActor
from toolwire.actors.models.scripted import Scripted
from toolwire.protocol.failures import failed
from toolwire.protocol.messages import Complete

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    """Add.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


@tool
async def refuse() -> None:
    raise ToolError("the box office is closed", details={"opens": "10:00"})


async def forever() -> None:
    await anyio.sleep_forever()


def codes(reply: Reply) -> list[str]:
    return [result.failure.code if result.failure else "" for result in reply.calls]


def told(request: ModelRequest) -> list[Any]:
    """What the last calls came to, as the model reads it."""
    messages = list(request.messages)
    answered = max(n for n, message in enumerate(messages) if isinstance(message, AssistantMessage))
    results = [message for message in messages[answered + 1 :] if isinstance(message, ToolMessage)]
    return [json.loads(result.content) for result in results]


async def test_text_alone(bus: Any) -> None:
    model = scripted(["Good morning."])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model, system="Be brief.")
        assert await chat.say("Hello") == Reply("Good morning.", rounds=1)
        assert list(chat.history()) == [
            SystemMessage("Be brief."),
            UserMessage("Hello"),
            AssistantMessage("Good morning."),
        ]
    assert list(model.requests[0].messages) == [SystemMessage("Be brief."), UserMessage("Hello")]
    assert model.requests[0].tools == ()


async def test_one_call(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": 1, "b": 2}), lambda request: f"It is {told(request)[0]}."])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("1 + 2?")
        assert (reply.text, reply.ended, reply.rounds) == ("It is 3.", "answered", 2)
        [result] = reply.calls
        assert (result.id, result.name, result.value, result.attempts) == ("call_1", "add", 3, 1)
        assert result.worker == runtime.system.bus.instance
        assert valid(chat, model)
    assert [spec.name for spec in model.requests[0].tools] == ["add"]


async def test_several_rounds(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": n, "b": n}) for n in range(5)] + ["done"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("Go on")
        assert (reply.text, reply.rounds, [result.value for result in reply.calls]) == ("done", 6, [0, 2, 4, 6, 8])
        assert valid(chat, model)
    assert [len(request.messages) for request in model.requests] == [1, 3, 5, 7, 9, 11]


async def test_several_turns_share_a_history(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": 1, "b": 1}), "two", "nothing to do", ("add", {"a": 2, "b": 2}), "four"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model, system="Count.")
        assert [(await chat.say(text)).text for text in ("one", "two", "three")] == ["two", "nothing to do", "four"]
        assert valid(chat, model)
        kinds = [type(message).__name__.removesuffix("Message") for message in chat.history()]
        assert kinds == ["System", *["User", "Assistant", "Tool", "Assistant"], "User", "Assistant", *kinds[1:5]]
    for request in model.requests:
        assert valid(request.messages)
        assert list(request.messages) == list(chat.history())[: len(request.messages)]


async def test_a_text_beside_calls_stays(bus: Any) -> None:
    model = scripted([["Let me see.", ("add", {"a": 1, "b": 2})], "3"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)
        assert (await chat.say("?")).text == "3"
        said = chat.history()[1]
        assert isinstance(said, AssistantMessage)
        assert (said.text, [call.name for call in said.calls]) == ("Let me see.", ["add"])


async def test_refused_arguments_are_corrected_by_the_next_reply(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": "one", "c": 3}), ("add", {"a": 1, "b": 3}), "4"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("1 + 3?")
        assert (reply.text, codes(reply)) == ("4", ["invalid_arguments", ""])
        assert valid(chat, model)
    [heard] = told(model.requests[1])
    error = heard["error"]
    assert error["code"] == "invalid_arguments"
    expected = {each["pointer"]: each["expected"] for each in error["details"]["errors"]}
    assert expected.keys() == {"/a", "", "/c"}  # what is missing stands nowhere: it lacks in the object
    assert '"b"' in expected[""]
    for pointer in ("/a", '"b"', "/c"):
        assert pointer in error["message"]


async def test_what_a_tool_says_in_its_error_reaches_the_model(bus: Any, valid: Any) -> None:
    model = scripted([("refuse",), "closed"])
    async with bus.open(refuse) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("Two tickets")
        assert (reply.ended, codes(reply)) == ("answered", ["failed"])
        assert valid(chat, model)
    [heard] = told(model.requests[1])
    assert heard["error"]["message"] == "the box office is closed"
    assert heard["error"]["details"] == {"opens": "10:00"}


async def test_an_unknown_tool_is_named_with_those_that_are_close(bus: Any, valid: Any) -> None:
    model = scripted([("ad", {}), "sorry"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert (reply.ended, codes(reply)) == ("answered", ["unknown_tool"])
        assert valid(chat, model)
    [heard] = told(model.requests[1])
    assert "'add'" in heard["error"]["message"]
    assert heard["error"]["details"] == {"closest": ["add"]}


@pytest.mark.parametrize(
    ("limits", "steps", "ended", "expected"),
    [
        ({"rounds": 2}, [("add", {"a": 1, "b": 1})] * 2, "rounds", ["", "limit_reached"]),
        ({"calls": 2}, [("add", {"a": 1, "b": 1})] * 3, "calls", ["", "", "limit_reached"]),
        ({"calls": 3}, [[("add", {"a": 1, "b": 1})] * 4] * 2, "calls", ["", "", "", *["limit_reached"] * 5]),
        ({"calls_per_response": 2}, [[("add", {"a": 1, "b": 1})] * 3, "x"], "answered", ["", "", "limit_reached"]),
        ({"calls_per_response": 0}, [("add", {"a": 1, "b": 1}), "x"], "answered", ["limit_reached"]),
    ],
)
async def test_limits(bus: Any, valid: Any, limits: Any, steps: Sequence[Any], ended: str, expected: list[str]) -> None:
    model = scripted([*steps])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model, limits=limits)
        reply = await chat.say("?")
        assert (reply.ended, codes(reply)) == (ended, expected)
        assert len(model.requests) == len(steps)
        assert valid(chat, model)
        for result in reply.calls:
            assert result.failure is None or result.failure.effect == "none"


async def test_a_limit_holds_for_one_turn_and_the_next_begins_anew(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": 1, "b": 1})] * 2 + [("add", {"a": 2, "b": 2}), "four"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model, limits={"rounds": 2})
        assert (await chat.say("one")).ended == "rounds"
        reply = await chat.say("two")
        assert (reply.ended, reply.text, codes(reply)) == ("answered", "four", [""])
        assert valid(chat, model)


async def test_the_tokens_of_a_turn_have_a_limit(bus: Any, valid: Any) -> None:
    call = (ToolCall("a", "add", '{"a": 1, "b": 1}'),)
    model = scripted([ModelReply("", call, Usage(60, 5), "calls"), ModelReply("", call, Usage(60, 5), "calls")])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model, limits={"input_tokens": 100})
        reply = await chat.say("?")
        assert (reply.ended, reply.usage, codes(reply)) == ("tokens", Usage(120, 10), ["", "limit_reached"])
        assert valid(chat, model)


async def test_the_time_of_a_turn_has_a_limit(bus: Any, valid: Any) -> None:
    stuck = tool(name="stuck")(forever)
    model = scripted([[("add", {"a": 1, "b": 1}), ("stuck",)], "back again"])
    async with bus.open(add, stuck) as runtime:
        chat = await runtime.converse(model=model, limits={"seconds": 0.3})
        reply = await chat.say("?")
        assert (reply.ended, reply.failure and reply.failure.code) == ("time", "timed_out")
        assert len(reply.calls) == 2
        assert reply.calls[1].failure is not None
        assert reply.calls[1].failure.effect == "maybe"
        assert valid(chat)
        assert (await chat.say("And now?")).text == "back again"
        assert valid(chat, model)


async def test_a_model_that_takes_too_long_ends_the_turn_in_time(bus: Any, valid: Any) -> None:
    async def slow(request: ModelRequest) -> str:
        await anyio.sleep_forever()
        raise AssertionError

    model = scripted([slow, "here I am"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model, limits={"seconds": 0.1})
        reply = await chat.say("?")
        assert (reply.ended, reply.rounds) == ("time", 0)
        assert (await chat.say("Hello?")).text == "here I am"
        assert valid(chat, model)


@pytest.mark.parametrize(
    ("raises", "ended", "code"),
    [
        (ToolwireError(failed("model_failed", "the provider is down")), "failed", "model_failed"),
        (ToolwireError(failed("model_refused", "I would rather not")), "refused", "model_refused"),
        (ToolwireError(failed("context_too_long", "too much")), "failed", "context_too_long"),
        (RuntimeError("a bug in the client"), "failed", "model_failed"),
        (ExceptionGroup("several", [ValueError("one")]), "failed", "model_failed"),
        (GeneratorExit(), "failed", "model_failed"),
    ],
)
async def test_a_model_that_fails(bus: Any, valid: Any, raises: BaseException, ended: str, code: str) -> None:
    model = scripted([("add", {"a": 1, "b": 1}), raises, "mended"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert (reply.ended, reply.failure and reply.failure.code) == (ended, code)
        assert codes(reply) == [""]
        assert valid(chat, model)
        assert (await chat.say("Again")).text == "mended"
        assert valid(chat, model)


async def test_a_model_with_nothing_more_to_say_fails(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": 1, "b": 1})])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert (reply.ended, reply.failure and reply.failure.code) == ("failed", "model_failed")
        assert "1 step" in str(reply.failure)
        assert valid(chat, model)


@pytest.mark.parametrize("finish", ["length", "filtered", "refused"])
async def test_how_a_reply_without_calls_was_cut_off(bus: Any, finish: str) -> None:
    ends = {"length": "tokens", "filtered": "filtered", "refused": "refused"}
    async with bus.open() as runtime:
        chat = await runtime.converse(model=scripted([ModelReply("I am af", finish=finish)]))
        reply = await chat.say("?")
        assert (reply.text, reply.ended) == ("I am af", ends[finish])


async def test_a_model_that_says_no_reply_fails(bus: Any, valid: Any) -> None:
    class Odd:
        async def complete(self, request: ModelRequest) -> ModelReply:
            return "text"  # type: ignore[return-value]  # what a careless author would write

    async with bus.open() as runtime:
        chat = await runtime.converse(model=Odd())
        reply = await chat.say("?")
        assert (reply.ended, reply.failure and reply.failure.code) == ("failed", "model_failed")
        assert valid(chat)


def forgetful(runtime: Runtime, chat: Any) -> None:
    """Let the model actor of `chat` forget all, and from now on remember one conversation only."""
    door = chat._conversation._asks[Complete]
    cell = runtime.system._places[door].ref.cell if isinstance(door, str) else door
    assert isinstance(cell.actor, ModelActor)
    cell.actor.memory = Memory(conversations=1, offers=1)


async def test_a_model_that_forgot_is_told_everything_again(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": 1, "b": 0}), "done"] * 4)
    async with bus.open(add) as runtime:
        chats = [await runtime.converse(model=model, system=f"You are {n}.") for n in range(2)]
        forgetful(runtime, chats[0])
        for turn in range(2):
            for n, chat in enumerate(chats):
                assert (await chat.say(f"turn {turn}")).text == "done"
                assert valid(chat, model)
                assert model.requests[-1].messages[0] == SystemMessage(f"You are {n}.")
                assert [spec.name for spec in model.requests[-1].tools] == ["add"]
    assert len(model.requests) == 8


async def test_two_conversations_at_once_with_a_model_that_remembers_one(bus: Any, valid: Any) -> None:
    async def answer(request: ModelRequest) -> Any:
        calls = sum(isinstance(message, ToolMessage) for message in request.messages)
        return ("add", {"a": calls, "b": 0}) if calls < 6 else request.messages[0].text  # type: ignore[union-attr]

    model = scripted([answer] * 14)
    texts: dict[str, str] = {}
    async with bus.open(add) as runtime:
        chats = {name: await runtime.converse(model=model, system=name) for name in ("left", "right")}
        forgetful(runtime, chats["left"])

        async def speak(name: str) -> None:
            reply = await chats[name].say("Go")
            texts[name] = reply.text or str(reply.failure)

        async with anyio.create_task_group() as speaking:
            for name in chats:
                speaking.start_soon(speak, name)
        assert texts == {"left": "left", "right": "right"}
        assert all(valid(chat) for chat in chats.values())
    for request in model.requests:
        assert valid(request.messages)


async def test_a_history_of_several_messages_of_the_bus_is_told_in_parts(bus: Any, valid: Any) -> None:
    """Eight texts of 250 KB, of which NATS carries 1 MiB in a message."""
    model = scripted(["noted"] * 9)
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model)
        for n in range(8):
            assert (await chat.say(f"{n}" * 250_000)).text == "noted"
        forgetful(runtime, chat)
        assert (await chat.say("Do you remember?")).text == "noted"
        assert valid(chat, model)
    assert len(model.requests[-1].messages) == 17
    assert sum(len(message.text) for message in model.requests[-1].messages if isinstance(message, UserMessage)) > 2e6


async def test_results_that_are_together_too_long_for_the_bus(bus: Any, valid: Any) -> None:
    """Ten megabytes. Where they stay in the process they are no trouble; over NATS those that do not fit fail alone."""
    count = 40

    @tool
    async def page(n: int) -> str:
        return f"{n:02}" * 125_000

    model = scripted([[("page", {"n": n}) for n in range(count)], ("page", {"n": 0}), "read", "still here"])
    async with bus.open(page) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("Read it all")
        assert (reply.text, reply.ended, reply.failure) == ("read", "answered", None)
        assert set(codes(reply)) == ({"", "too_large"} if bus.name == "every-hop" else {""})
        assert [result.id for result in reply.calls] == [f"call_{n}" for n in range(1, count + 2)]
        for n, result in enumerate(reply.calls[:-1]):
            assert result.failure.effect == "done" if result.failure else result.value == f"{n:02}" * 125_000
        assert reply.calls[-1].ok
        assert valid(chat, model)
        assert (await chat.say("Are you there?")).text == "still here"
        assert valid(chat, model)


@pytest.mark.parametrize("name", [None, "library"])
async def test_a_reply_that_is_too_long_for_the_bus(bus: Any, valid: Any, name: str | None) -> None:
    """Twelve megabytes. A named conversation may be asked from anywhere, so its reply goes by the bus."""

    @tool
    async def page(n: int) -> str:
        return f"{n:02}" * 125_000

    model = scripted([*[("page", {"n": n}) for n in range(48)], "read", "still here"])
    async with bus.open(page) as runtime:
        chat = await runtime.converse(Agent("reader", model, limits={"rounds": 60}), id=name)
        reply = await chat.say("Read it all")
        assert (reply.text, reply.ended, reply.rounds) == ("read", "answered", 49)
        assert set(codes(reply)) == ({"", "too_large"} if name and bus.remote else {""})
        results = [message for message in chat.history() if isinstance(message, ToolMessage)]
        assert [(len(result.content), result.failed) for result in results] == [(250_002, False)] * 48
        assert valid(chat, model)
        assert (await chat.say("Are you there?")).text == "still here"
        assert valid(chat, model)


async def test_a_named_conversation_goes_on_where_it_was(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": 1, "b": 1}), "two", "as I said"])
    agent = Agent("counter", model, "Count.")
    async with bus.open(add) as runtime:
        first = await runtime.converse(agent, id="user-42 *.> é")
        assert (await first.say("1 + 1?")).text == "two"
        again = await runtime.converse(agent, id="user-42 *.> é")
        assert (await again.say("What was it?")).text == "as I said"
        assert valid(again, model)
        assert len(again.history()) == 7
        await again.close()
        fresh = await runtime.converse(Agent("counter", scripted(["who are you?"])), id="user-42 *.> é")
        assert (await fresh.say("Hello")).text == "who are you?"
        assert len(fresh.history()) == 2


async def test_what_the_application_says_of_the_caller_reaches_tools_and_no_model(bus: Any) -> None:
    seen: list[Any] = []

    @tool
    async def whoami(context: Context) -> str:
        seen.append((context.caller, context.conversation, context.tool, context.call_id, context.attempt))
        return "you"

    model = scripted([("whoami",), "you"])
    async with bus.open(whoami) as runtime:
        chat = await runtime.converse(Agent("a", model), id="c-7", caller={"user": "u1", "roles": ["admin"]})
        await chat.say("Who am I?")
        await runtime.call("whoami")
    assert seen[0] == ({"user": "u1", "roles": ["admin"]}, "c-7", "whoami", "call_1", 1)
    assert seen[1][:2] == (None, "")
    for request in model.requests:
        assert "u1" not in repr(request)


async def test_no_two_calls_share_an_idempotency_key(bus: Any) -> None:
    keys: list[str] = []

    @tool
    async def pay(context: Context) -> None:
        keys.append(context.idempotency_key)

    @tool
    async def shop(context: Context) -> None:
        await context.call("pay")
        await context.call("pay")

    @tool
    async def nested(context: Context) -> None:
        for result in (await context.call("shop"), await context.call("pay")):
            assert result.ok

    def script() -> Scripted:
        return scripted([[ToolCall("a", "pay"), ToolCall("b", "shop")], "paid", [ToolCall("a", "pay")], "paid"])

    async with bus.open(pay, shop, nested) as runtime:
        for agent in (Agent("one", script()), Agent("two", script())):
            for name in (None, agent.name):
                chat = await runtime.converse(agent, id=name)
                await chat.say("Pay")
                agent = Agent(agent.name, script())  # noqa: PLW2901 - each conversation has a script of its own
        for _ in range(2):
            await runtime.call("pay")
            await runtime.call_many([ToolCall("a", "pay"), ToolCall("b", "nested")])
    assert len(keys) == 4 * 3 + 2 * (1 + 1 + 3)
    assert len(set(keys)) == len(keys)


async def test_ids_that_come_again_in_a_later_round_are_other_calls(bus: Any, valid: Any) -> None:
    """Some servers of models count calls from the beginning in each response."""
    keys: list[str] = []

    @tool
    async def pay(n: int, context: Context) -> int:
        keys.append(context.idempotency_key)
        return n

    model = scripted([[ToolCall("call_0", "pay", {"n": 1})], [ToolCall("call_0", "pay", {"n": 2})], "paid"])
    async with bus.open(pay) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("Twice")
        assert [result.value for result in reply.calls] == [1, 2]
        assert valid(chat, model)
    assert len(set(keys)) == 2


async def test_an_agent_is_a_tool(bus: Any, valid: Any) -> None:
    inner = scripted([("add", {"a": 20, "b": 1}), lambda request: f"it is {told(request)[0]}"])
    outer = scripted([("adder", {"message": "20 + 1?"}), lambda request: f"The adder says: {told(request)[0]}"])
    async with bus.open(add, Agent("adder", inner, "You add.", tools=["add"])) as runtime:
        chat = await runtime.converse(model=outer, tools=["adder"], caller="u1")
        reply = await chat.say("Ask the adder")
        assert reply.text == "The adder says: it is 21"
        assert valid(chat, outer)
    assert [spec.name for spec in outer.requests[0].tools] == ["adder"]
    assert list(inner.requests[0].messages) == [SystemMessage("You add."), UserMessage("20 + 1?")]


async def test_an_agent_that_fails_is_a_call_that_failed(bus: Any) -> None:
    model = scripted([("broken", {"message": "?"}), "it is broken"])
    async with bus.open(Agent("broken", scripted([]))) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert (reply.text, codes(reply)) == ("it is broken", ["model_failed"])


async def test_an_agent_that_did_something_and_then_failed_may_have_done_it(bus: Any) -> None:
    """Its own failure says of the model that nothing ran; of the agent's tools that would be a lie."""
    async with bus.open(add, Agent("half", scripted([("add", {"a": 1, "b": 1})]))) as runtime:
        result = await runtime.call("half", {"message": "?"})
        assert result.failure is not None
        assert (result.failure.code, result.failure.effect) == ("model_failed", "maybe")


async def test_agents_that_ask_each_other_in_a_circle_come_to_an_end(bus: Any) -> None:
    def ask(name: str) -> Any:
        def step(request: ModelRequest) -> Any:
            asked = any(isinstance(message, ToolMessage) for message in request.messages)
            return f"{name} gives up" if asked else ("pong" if name == "ping" else "ping", {"message": "your turn"})

        return step

    agents = [Agent(name, scripted([ask(name)] * 40), tools=[other]) for name, other in PAIRS]
    async with bus.open(*agents) as runtime:
        result = await runtime.call("ping", {"message": "begin"}, timeout=10.0)
        assert result.value == "ping gives up"


PAIRS = (("ping", "pong"), ("pong", "ping"))


async def test_no_tools_are_offered_where_none_are_wanted(bus: Any) -> None:
    model = scripted(["alone"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model, tools=[])
        await chat.say("?")
    assert model.requests[0].tools == ()


async def test_tools_that_are_served_meanwhile_are_offered(bus: Any) -> None:
    model = scripted(["nothing", "something", "nothing"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model)
        await chat.say("?")
        served = await runtime.serve(add)
        await chat.say("?")
        await served.stop()
        await chat.say("?")
    assert [len(request.tools) for request in model.requests] == [0, 1, 0]
