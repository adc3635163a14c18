"""How a turn ends: each limit, what a follower was told, the last answer, pauses of the provider's, and the caller."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    Agent,
    AssistantMessage,
    Chat,
    Context,
    Limits,
    Misuse,
    ModelReply,
    ModelRequest,
    Price,
    Reply,
    TextDelta,
    ToolCall,
    ToolMessage,
    ToolwireError,
    TurnFinished,
    Usage,
    UserMessage,
    scripted,
    spoken,
    tool,
)

pytestmark = pytest.mark.anyio

USED = Usage(1_000, 100)


@tool(read_only=True)
async def look(n: int) -> int:
    return n


@tool
async def forever() -> None:
    await anyio.sleep_forever()


async def followed(chat: Chat, text: str, **options: Any) -> Reply:
    async with chat.stream(text, **options) as events:
        async for event in events:
            if isinstance(event, TurnFinished):
                return event.reply
    raise AssertionError("a stream that is not left ends with its reply")


async def said(chat: Chat, text: str, **options: Any) -> Reply:
    return await chat.say(text, **options)


Saying = Callable[..., Awaitable[Reply]]
WAYS_TO_SAY = pytest.mark.parametrize("saying", [said, followed])


def looking(*numbers: int, text: str = "", usage: Usage = USED, model: str = "m-1") -> ModelReply:
    """A reply with calls."""
    calls = tuple(ToolCall(f"c{n}.{place}", "look", {"n": n}) for place, n in enumerate(numbers))
    return ModelReply(text, calls, usage, "calls", (), model)


ENDS: list[tuple[Limits, str, int, list[str | None]]] = [
    ({"rounds": 2}, "rounds", 2, [None, None, "limit_reached", "limit_reached"]),
    ({"calls": 3}, "calls", 3, [None, None, None, "limit_reached", "limit_reached", "limit_reached"]),
    ({"calls_per_response": 1}, "answered", 4, [None, "limit_reached"] * 3),
    ({"input_tokens": 1_500}, "tokens", 2, [None, None, "limit_reached", "limit_reached"]),
    ({"output_tokens": 150}, "tokens", 2, [None, None, "limit_reached", "limit_reached"]),
    ({"cost": 0.015}, "cost", 2, [None, None, "limit_reached", "limit_reached"]),
    ({"same_call": 1}, "answered", 4, [None, "limit_reached"] * 3),
]


@WAYS_TO_SAY
@pytest.mark.parametrize(("limits", "ended", "rounds", "codes"), ENDS, ids=[next(iter(each[0])) for each in ENDS])
async def test_each_limit(
    memory: Any, valid: Any, saying: Saying, limits: Limits, ended: str, rounds: int, codes: list[str | None]
) -> None:
    """Three responses of two calls, and an answer, as far as it goes. `same_call`: the two are the same."""
    same = "same_call" in limits
    steps = [looking(n, n + (not same)) for n in (1, 3, 5)]
    model = scripted([*steps, ModelReply("done", usage=USED, model="m-1"), "fine"])
    async with memory.open(look, prices={"m-*": Price(10, 0)}) as runtime:
        chat = await runtime.converse(model=model, limits=limits)
        reply = await saying(chat, "go")
        assert (reply.ended, reply.rounds) == (ended, rounds)
        assert [result.failure and result.failure.code for result in reply.calls] == codes
        assert (reply.text == "done") == (ended == "answered")
        assert reply.usage.cost == pytest.approx(rounds * 0.01)
        assert reply.failure is None
        assert valid(chat, model)


@WAYS_TO_SAY
async def test_the_time(memory: Any, valid: Any, saying: Saying) -> None:
    async with memory.open(look, forever) as runtime:
        model = scripted([[("look", {"n": 1}), ("forever",)], "fine"])
        chat = await runtime.converse(model=model, limits={"seconds": 0.02})
        reply = await saying(chat, "go")
        assert reply.ended == "time"
        assert reply.failure is not None
        assert (reply.failure.code, len(reply.calls)) == ("timed_out", 2)
        assert not reply.calls[1].ok
        assert (await saying(chat, "again")).text == "fine"
        assert valid(chat, model)


@WAYS_TO_SAY
@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (looking(1, model="x"), "Runtime.prices=….* has no price for the model 'x'"),
        (looking(1, usage=Usage()), "the model 'm-1' does not say how many tokens it has used"),
        (ModelReply("done", usage=USED, model="x"), "has no price for the model 'x'"),
    ],
)
async def test_a_limit_of_cost_that_can_not_be_kept(
    memory: Any, valid: Any, saying: Saying, reply: ModelReply, sentence: str
) -> None:
    async with memory.open(look, prices={"m-*": Price(10, 0)}) as runtime:
        chat = await runtime.converse(model=scripted([reply, "never"]), limits={"cost": 1}, eager="all")
        ended = await saying(chat, "go")
        assert (ended.ended, ended.text) == ("failed", reply.text)
        assert ended.failure is not None
        assert ended.failure.code == "limit_reached"
        with pytest.raises(ToolwireError, match=sentence):
            raise ToolwireError(ended.failure)
        assert valid(chat)


async def test_a_limit_of_cost_without_prices_is_refused(memory: Any) -> None:
    async with memory.open() as runtime:
        with pytest.raises(Misuse, match="a limit of cost needs prices: Runtime"):
            await runtime.converse(model=scripted([]), limits={"cost": 1.0})
        await runtime.converse(model=scripted([]), limits={"cost": math.inf})


async def test_prices_that_raise_are_told(memory: Any) -> None:
    def broken(model: str, usage: Usage) -> float:
        raise KeyError(model)

    async with memory.open(prices=broken) as runtime:
        chat = await runtime.converse(model=scripted([ModelReply("done", usage=USED, model="m")]))
        reply = await chat.say("go")
        assert reply.failure is not None
        assert "prices=…) raised KeyError: 'm' for the model 'm'" in reply.failure.message


async def test_a_function_gives_what_it_cost(bus: Any) -> None:
    async with bus.open(prices=lambda model, usage: usage.input_tokens * len(model)) as runtime:
        chat = await runtime.converse(model=scripted([ModelReply("a", usage=USED, model="four"), "b"]), id="c")
        assert (await chat.say("go")).usage == Usage(1_000, 100, cost=4_000)
        assert (await chat.say("go")).usage.cost == 0


@WAYS_TO_SAY
@pytest.mark.parametrize("limits", [{"rounds": 3}, {"calls": 4, "rounds": 9}])
async def test_the_last_response_is_an_answer(memory: Any, valid: Any, saying: Saying, limits: Limits) -> None:
    def answer(request: ModelRequest) -> Any:
        assert [spec.name for spec in request.tools] == ["look"]  # they stay on offer
        if request.tool_choice == "none":
            return "what I know so far"
        return looking(len(request.messages), len(request.messages) + 1)

    model = scripted([answer] * 9)
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=model, limits=limits, last_answer=True, eager="all")
        reply = await saying(chat, "go")
        assert (reply.text, reply.rounds, len(reply.calls)) == ("what I know so far", 3, 4)
        assert reply.ended == next(iter(limits))
        assert all(result.ok for result in reply.calls)
        assert [request.tool_choice for request in model.requests] == ["auto", "auto", "none"]
        assert valid(chat, model)


@WAYS_TO_SAY
async def test_a_model_that_calls_in_its_last_response_all_the_same(memory: Any, valid: Any, saying: Saying) -> None:
    async with memory.open(look) as runtime:
        chat = await runtime.converse(
            model=scripted([looking(1), looking(2, text="but")]), limits={"rounds": 2}, last_answer=True
        )
        reply = await saying(chat, "go")
        assert (reply.ended, reply.text, [result.ok for result in reply.calls]) == ("rounds", "but", [True, False])
        assert valid(chat)


async def test_an_answer_before_the_last_response_is_one(memory: Any) -> None:
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=scripted(["hello"] * 3), limits={"rounds": 2}, last_answer=True)
        assert (await chat.say("go")).ended == "answered"
        assert (await chat.say("go", tool_choice="none")).ended == "answered"


@WAYS_TO_SAY
async def test_a_provider_that_pauses_is_asked_again(memory: Any, valid: Any, saying: Saying) -> None:
    paused = ModelReply("I search. ", usage=USED, finish="paused")
    model = scripted([paused, paused, ModelReply("Found.", usage=USED), paused, paused, paused])
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=model, limits={"rounds": 3})
        reply = await saying(chat, "go")
        assert (reply.ended, reply.rounds, reply.text) == ("answered", 3, "I search. I search. Found.")
        assert reply.usage == Usage(3_000, 300)
        texts = [message.text for message in chat.history() if isinstance(message, AssistantMessage)]
        assert texts == ["I search. ", "I search. ", "Found."]
        reply = await saying(chat, "go")
        assert (reply.ended, reply.rounds, reply.text) == ("rounds", 3, "I search. " * 3)
        assert valid(chat, model)


@WAYS_TO_SAY
@pytest.mark.parametrize("choice", ["none", "required", "look", look, "auto"])
async def test_the_tool_choice_of_a_turn(bus: Any, valid: Any, saying: Saying, choice: Any) -> None:
    model = scripted([("look", {"n": 1}), "done", "fine"])
    async with bus.open(look) as runtime:
        chat = await runtime.converse(model=model, id="c")
        assert (await saying(chat, "go", tool_choice=choice)).text == "done"
        assert (await saying(chat, "go")).text == "fine"
        first = "look" if choice is look else choice
        choices = [request.tool_choice for request in model.requests]
        assert choices == [first, "none" if choice == "none" else "auto", "auto"]
        assert valid(chat, model)


@WAYS_TO_SAY
async def test_a_tool_that_is_not_on_offer_can_not_be_chosen(bus: Any, valid: Any, saying: Saying) -> None:
    async with bus.open(look) as runtime:
        chat = await runtime.converse(model=scripted(["fine"]), id="c")
        with pytest.raises(ToolwireError, match="there is no tool 'lok' on offer; do you mean 'look'") as raised:
            await saying(chat, "go", tool_choice="lok")
        assert raised.value.failure.code == "unknown_tool"
        assert len(chat.history()) == 0
        assert (await saying(chat, "go")).text == "fine"
        assert valid(chat)


class Leaving(Exception):
    """The follower's own."""


async def interrupted(chat: Chat, at: str) -> Reply | None:
    async with chat.stream("go") as events:
        async for event in events:
            if isinstance(event, TextDelta) and at in event.text:
                await chat.interrupt()
            if isinstance(event, TurnFinished):
                return event.reply
    return None


async def left(chat: Chat, at: str) -> Reply | None:
    async with chat.stream("go") as events:
        async for event in events:
            if isinstance(event, TextDelta) and at in event.text:
                break
    return None


async def cancelled(chat: Chat, at: str) -> Reply | None:
    with anyio.CancelScope() as scope:
        async with chat.stream("go") as events:
            async for event in events:
                if isinstance(event, TextDelta) and at in event.text:
                    scope.cancel()
    return None


@pytest.mark.parametrize("ending", [interrupted, left, cancelled])
async def test_what_a_follower_was_told_stands(bus: Any, valid: Any, ending: Any) -> None:
    model = scripted([spoken("It is so that nobody knows", every=0.0, then=1000.0), "fine"])
    async with bus.open(look) as runtime:
        chat = await runtime.converse(model=model, id="c")
        reply = await ending(chat, "nobody")
        partial = chat.history()[-1]
        assert isinstance(partial, AssistantMessage)
        assert partial.text.startswith("It is so that nobody")
        assert "It is so that nobody knows".startswith(partial.text)
        if reply is not None:
            assert (reply.ended, reply.text, reply.rounds) == ("interrupted", partial.text, 1)
        assert (await chat.say("again")).text == "fine"
        assert valid(chat, model)


@pytest.mark.parametrize("eager", ["read_only", "all", "off"])
async def test_what_was_told_before_the_model_failed_or_the_time_was_over_stands(
    memory: Any, valid: Any, eager: Any
) -> None:
    broken = spoken(["Let me see."], raises=ConnectionError("gone"))
    late = spoken("Let me see.", then=1000.0)
    model = scripted([broken, late, "fine"])
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=model, limits={"seconds": 0.05}, eager=eager)
        for ended in ("failed", "time"):
            reply = await followed(chat, "go")
            assert (reply.ended, reply.text, reply.rounds) == (ended, "Let me see.", 1)
            assert chat.history()[-1] == AssistantMessage("Let me see.")
        assert (await followed(chat, "again")).text == "fine"
        assert valid(chat, model)


async def test_the_text_before_calls_that_are_dropped_stands_alone(memory: Any, valid: Any) -> None:
    """Calls that only read are dropped with the response that they belong to; what was said is not."""
    model = scripted([spoken(["Let me see.", ("look", {"n": 1}), ("look", {"n": 2})], raises=OSError("gone"), after=1)])
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=model)
        reply = await followed(chat, "go")
        assert (reply.ended, reply.text, reply.calls) == ("failed", "Let me see.", ())
        assert list(chat.history()) == [UserMessage("go"), AssistantMessage("Let me see.")]
        assert valid(chat)


async def test_what_nobody_was_told_leaves_nothing(memory: Any) -> None:
    lines: list[Any] = [spoken("Let me see.", then=1000.0), spoken("  ", then=1000.0)]
    async with memory.open() as runtime:
        chat = await runtime.converse(model=scripted(lines), limits={"seconds": 0.1})
        assert (await chat.say("go")).text == ""
        assert (await followed(chat, "go")).text == ""
        assert list(chat.history()) == [UserMessage("go"), UserMessage("go")]


async def test_a_stream_that_is_left_may_go_on(bus: Any, valid: Any) -> None:
    begun, go_on = anyio.Event(), anyio.Event()

    @tool
    async def wait() -> str:
        begun.set()
        await go_on.wait()
        return "waited"

    async with bus.open(wait) as runtime:
        chat = await runtime.converse(model=scripted([("wait",), "done", "fine"]), id="c", when_busy="queue")
        async with chat.stream("go", detach=True) as events:
            async for event in events:
                if begun.is_set() or event.number:
                    break
        await begun.wait()
        go_on.set()
        assert (await chat.say("and then?")).text == "fine"  # waits for the turn before
        answers = [message.text for message in chat.history() if isinstance(message, AssistantMessage)]
        assert answers == ["", "done", "fine"]
        async with chat.stream("go", detach=True) as events:
            reply = [event async for event in events][-1]
            assert isinstance(reply, TurnFinished)
            assert reply.reply.ended == "failed"  # the script is over
        assert valid(chat)


async def test_a_detached_turn_can_be_interrupted_and_ends_with_the_runtime(bus: Any, valid: Any) -> None:
    begun = [anyio.Event(), anyio.Event()]
    count = 0

    @tool
    async def wait() -> None:
        nonlocal count
        begun[count].set()
        count += 1
        await anyio.sleep_forever()

    async with bus.open(wait) as runtime:
        chat = await runtime.converse(model=scripted([("wait",), ("wait",)]), id="c")
        async with chat.stream("go", detach=True):
            await begun[0].wait()
        assert await chat.interrupt()
        assert valid(chat)
        assert len(chat.history()) == 3
        follower = chat.stream("go", detach=True)
        async with follower:
            await begun[1].wait()
    with pytest.raises(ToolwireError, match="the runtime was closed before the turn had ended"):
        async for _ in follower:
            pass


@tool
async def whoami(context: Context) -> Any:
    await checkpoint()
    return context.caller


@tool(confirm=True)
async def sign(context: Context) -> Any:
    return context.caller


async def test_the_caller_reaches_tools_however_a_turn_starts(bus: Any) -> None:
    caller = {"user": "u1"}
    heard = scripted([("whoami",), lambda request: getattr(request.messages[-1], "content", "")])
    helper = Agent("helper", heard, tools=["whoami"])
    lines: list[Any] = [
        ("whoami",),
        "x",
        ("whoami",),
        "x",
        ("sign",),
        "x",
        ("whoami",),
        "x",
        ("helper", {"message": "?"}),
        "x",
    ]
    async with bus.open(whoami, sign, helper) as runtime:
        chat = await runtime.converse(model=scripted(lines), id="c", caller=caller)
        replies = [await chat.say("go"), await followed(chat, "go")]
        paused = await chat.say("go")
        answered = await chat.answer(paused.pending[0], "approve")
        assert answered is not None
        replies.append(answered)
        async with chat.stream("go", detach=True) as events:
            replies += [event.reply async for event in events if isinstance(event, TurnFinished)]
        assert [reply.calls[0].value for reply in replies] == [caller] * 4
        asked = await chat.say("go")
        assert asked.calls[0].value == '{"user":"u1"}'


async def test_limits_may_depend_on_the_caller(memory: Any) -> None:
    def limits(caller: Any) -> Limits:
        return {"rounds": 3 if caller == {"plan": "paid"} else 1}

    agent = Agent("a", scripted([("look", {"n": n}) for n in range(20)]), limits=limits)
    async with memory.open(look) as runtime:
        free = await runtime.converse(agent)
        paid = await runtime.converse(agent, caller={"plan": "paid"})
        assert [(await free.say("go")).rounds, (await paid.say("go")).rounds] == [1, 3]
        opened = await runtime.converse(Agent("b", scripted([])), id="c", caller={"plan": "paid"})
        assert await runtime.converse(agent, id="c") is opened
        assert (await opened.say("go")).rounds == 3  # on behalf of whoever has opened it
        branch = await paid.branch()
        assert (await branch.say("go")).rounds == 3
        wrong: Any
        for wrong, sentence in (
            (lambda _caller: {"round": 3}, "the agent 'a', limits: there is no 'round'; do you mean 'rounds'"),
            (lambda _caller: 3, "limits are a dict, such as {'rounds': 5}, not 3"),
        ):
            with pytest.raises(Misuse, match=sentence):
                await runtime.converse(Agent("a", scripted([]), limits=wrong))


async def test_results_of_calls_stand_when_a_turn_ends_by_a_limit(memory: Any) -> None:
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=scripted([looking(1), looking(2)]), limits={"rounds": 2})
        await chat.say("go")
        contents = [message.content for message in chat.history() if isinstance(message, ToolMessage)]
        assert contents[0] == "1"
        assert "the limit of the turn is reached: rounds" in contents[1]
