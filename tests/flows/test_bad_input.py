"""What a hostile model, tool, neighbour or application may send: each is one typed failure, and the next call works."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import nats
import pytest

from toolwire import (
    Agent,
    Chat,
    Context,
    Misuse,
    ModelReply,
    Runtime,
    ToolCall,
    ToolError,
    ToolResult,
    ToolSpec,
    ToolwireError,
    scripted,
    tool,
)
from toolwire.actors.tool import Tool
from toolwire.protocol.envelope import EMPTY_TRAIL, VERSION, answer_of, answers, encode
from toolwire.protocol.failures import CODES
from toolwire.protocol.messages import CallTool, Complete, Resume, SelectTools
from toolwire.protocol.naming import unfit
from toolwire.runtime.bus.contract import BusError
from toolwire.runtime.bus.local_first import LocalFirst
from toolwire.runtime.bus.nats import NatsBus

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@tool
async def double(n: int) -> int:
    return 2 * n


@tool
async def length(text: str) -> int:
    return len(text)


@tool
async def anything(value: Any) -> Any:
    return value


def codes(results: Sequence[ToolResult[Any]]) -> list[str]:
    return [result.failure.code if result.failure else "" for result in results]


def typed(result: ToolResult[Any]) -> bool:
    """Whether a result is one failure of the table, in words that can travel."""
    failure = result.failure
    assert failure is not None
    assert result.content is None
    assert failure.code in CODES
    assert failure.message
    assert json.loads(msgspec.json.encode(failure))["code"] == failure.code
    return True


@asynccontextmanager
async def unharmed(bus: Any, *things: Any, **options: Any) -> AsyncIterator[Runtime]:
    """A runtime in which the next call works, alone and in a batch, whatever happened in it."""
    async with bus.open(double, *things, **options) as runtime:
        yield runtime
        assert (await runtime.call(double, {"n": 4})).value == 8
        results = await runtime.call_many([ToolCall(f"{n}", "double", {"n": n}) for n in range(3)])
        assert [result.value for result in results] == [0, 2, 4]


BAD_ARGUMENTS = {
    "nothing": ("", "invalid_arguments"),
    "half": ('{"n": 1', "invalid_arguments"),
    "two": ('{"n": 1}{"n": 2}', "invalid_arguments"),
    "python": ("{'n': 1}", "invalid_arguments"),
    "NaN": ('{"n": NaN}', "invalid_arguments"),
    "infinite": ('{"n": Infinity}', "invalid_arguments"),
    "too far": ('{"n": 1e999}', "invalid_arguments"),
    "list": ("[1]", "invalid_arguments"),
    "number": ("1", "invalid_arguments"),
    "null": ("null", "invalid_arguments"),
    "text": ('"n"', "invalid_arguments"),
    "lacking": ("{}", "invalid_arguments"),
    "wrong type": ('{"n": "one"}', "invalid_arguments"),
    "fraction": ('{"n": 1.5}', "invalid_arguments"),
    "extra": ('{"n": 1, "m": 2}', "invalid_arguments"),
    "control character": ('{"n\x00": 1}', "invalid_arguments"),
    "half a character": ('{"n": "\\ud800"}', "invalid_arguments"),
    "deep": ('{"n": ' + "[" * 50_000 + "]" * 50_000 + "}", "invalid_arguments"),
    "deep objects": ('{"n":' * 50_000 + "1" + "}" * 50_000, "invalid_arguments"),
    "long number": ('{"n": ' + "9" * 10_000 + "}", "invalid_arguments"),
    "huge": ('{"n": "' + "x" * (2 * MIB) + '"}', "too_large"),
    "many keys": ("{" + ",".join(f'"k{n}": 1' for n in range(20_000)) + "}", "invalid_arguments"),
}


@pytest.mark.parametrize("kind", BAD_ARGUMENTS)
async def test_bad_arguments(bus: Any, kind: str) -> None:
    text, code = BAD_ARGUMENTS[kind]
    calls = [ToolCall("bad", "double", text), ToolCall("good", "double", {"n": 1})]
    model = scripted([[ToolCall("bad", "double", text), ("double", {"n": 1})], "sorry", "still here"])
    async with unharmed(bus) as runtime:
        results = await runtime.call_many(calls)
        # Where the executor is asked over NATS, a batch that is too long for a message can't be handed over at all.
        assert codes(results) == [code, "too_large" if (bus.name, kind) == ("every-hop", "huge") else ""]
        assert typed(results[0])
        failure = results[0].failure
        assert failure is not None
        assert failure.effect == "none"
        assert len(failure.message) < 4_000
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert reply.ended == ("failed" if (bus.name, kind) == ("every-hop", "huge") else "answered")
        assert (await chat.say("?")).ended == "answered"


UNSPEAKABLE = {
    "set": {"n": {1, 2}},
    "object": {"n": object()},
    "NaN": {"n": float("nan")},
    "half a character": {"n": "\ud800"},
    "key": {("a", "b"): 1},
}


@pytest.mark.parametrize("kind", UNSPEAKABLE)
async def test_arguments_that_json_cannot_carry(bus: Any, kind: str) -> None:
    arguments: Any = UNSPEAKABLE[kind]
    async with unharmed(bus) as runtime:
        results = await runtime.call_many([ToolCall("a", "double", arguments), ToolCall("b", "double", {"n": 1})])
        assert codes(results) == ["invalid_arguments", ""]
        assert codes([await runtime.call("double", arguments)]) == ["invalid_arguments"]


async def test_arguments_that_hold_themselves(bus: Any) -> None:
    arguments: dict[str, Any] = {}
    arguments["n"] = arguments
    async with unharmed(bus) as runtime:
        assert codes([await runtime.call("double", arguments)]) == ["invalid_arguments"]


@pytest.mark.parametrize("field", ["id", "name", "arguments"])
async def test_half_a_character_in_a_call_spoils_no_other_call(bus: Any, field: str) -> None:
    parts = {"id": "a", "name": "double", "arguments": '{"n": 1}'}
    parts[field] = {"id": "a\ud800", "name": "double\ud800", "arguments": '{"n": "\ud800"}'}[field]
    async with unharmed(bus) as runtime:
        results = await runtime.call_many([ToolCall(**parts), ToolCall("b", "double", {"n": 1})])  # type: ignore[arg-type]  # texts
        assert codes(results)[1] == ""
        assert typed(results[0])


@pytest.mark.parametrize("place", ["text", "id", "name", "arguments"])
async def test_half_a_character_in_what_a_model_says(bus: Any, valid: Any, place: str) -> None:
    """Providers send them: JSON has an escape for each half, and some cut text between the two."""
    bad = {
        "text": ModelReply("smile \ud83d"),
        "id": ModelReply("", (ToolCall("\ud83d", "double", '{"n": 1}'),), finish="calls"),
        "name": ModelReply("", (ToolCall("a", "double\ud83d", '{"n": 1}'),), finish="calls"),
        "arguments": ModelReply("", (ToolCall("a", "double", '{"n": "\ud83d"}'),), finish="calls"),
    }[place]
    model = scripted([bad, "fine", "fine"])
    async with unharmed(bus) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert reply.failure is not None
        assert reply.failure.code == "model_failed"
        assert valid(chat)
        assert (await chat.say("And now?")).text == "fine"
        assert valid(chat, model)


async def test_half_a_character_in_what_a_user_says(bus: Any, valid: Any) -> None:
    model = scripted(["fine"])
    async with unharmed(bus) as runtime:
        chat = await runtime.converse(model=model)
        with pytest.raises(ToolwireError) as raised:
            await chat.say("smile \ud83d")
        assert raised.value.failure.code == "invalid_message"
        assert (await chat.say("smile")).text == "fine"
        assert valid(chat, model)


@pytest.mark.parametrize("name", [None, "named"])
async def test_a_conversation_survives_what_was_too_long(bus: Any, valid: Any, name: str | None) -> None:
    model = scripted(["fine"] * 6)
    async with unharmed(bus) as runtime:
        chat = await runtime.converse(Agent("patient", model), id=name)
        for size in (900_000, 900_000, 2 * MIB, 20 * MIB):
            code = await said(chat, "x" * size)
            assert code == ("too_large" if bus.name == "every-hop" and size > MIB else code)
            assert code in {"", "too_large"}
            assert valid(chat)
        assert (await chat.say("short")).text == "fine"
        assert valid(chat, model)


async def said(chat: Chat, text: str) -> str:
    """The code of the failure that comes of saying `text`, "" for none."""
    try:
        reply = await chat.say(text)
    except ToolwireError as error:
        return error.failure.code
    return reply.failure.code if reply.failure else ""


async def test_a_round_that_is_too_long_for_one_message_is_told_in_parts(bus: Any, valid: Any) -> None:
    """Each message fits into one of the bus; the call, its result and what was said before do not together."""
    model = scripted(["hello", [("echo", {"text": "x" * 600_000})], "fine", "fine"])

    @tool
    async def echo(text: str) -> str:
        return text

    async with unharmed(bus, echo, result_bytes=MIB) as runtime:
        chat = await runtime.converse(model=model)
        await chat.say("Hello")
        assert (await chat.say("Go")).text == "fine"
        assert valid(chat, model)
        assert (await chat.say("Again")).text == "fine"
        assert valid(chat, model)


async def test_references_to_nowhere(bus: Any) -> None:
    bad: list[Any] = [
        {"$result": 0},
        {"$result": 1, "path": "/nowhere"},
        {"$result": 1, "path": "no pointer"},
        {"$result": 99},
        {"$result": -1},
        {"$result": "nobody"},
        {"$result": 1.5},
        {"$result": None},
        {"$result": 10**30},
        {"$result": 1, "else": 2},
        {"$result": 1, "path": ["a"]},
        {"$result": {"$result": 1}},
    ]
    calls = [ToolCall("first", "anything", {"value": {"a": [1]}})]
    calls += [ToolCall(f"bad-{n}", "anything", {"value": reference}) for n, reference in enumerate(bad)]
    calls.append(ToolCall("last", "anything", {"value": {"$result": 1, "path": "/a/0"}}))
    async with unharmed(bus, anything) as runtime:
        results = await runtime.call_many(calls)
        assert codes(results) == ["", *["invalid_reference"] * len(bad), ""]
        assert all(typed(result) for result in results[1:-1])
        assert results[-1].value == 1


async def test_cycles_fail_alone(bus: Any) -> None:
    calls = [
        ToolCall("a", "anything", {"value": {"$result": "b"}}),
        ToolCall("b", "anything", {"value": [{"$result": "c"}]}),
        ToolCall("c", "anything", {"value": {"$result": "a"}}),
        ToolCall("self", "anything", {"value": {"$result": "self"}}),
        ToolCall("hangs", "anything", {"value": {"$result": "a"}}),
        ToolCall("after", "double", {"n": 1}, after=("b",)),
        ToolCall("x", "double", {"n": 1}, after=("y",)),
        ToolCall("y", "double", {"n": 1}, after=("x",)),
        ToolCall("fine", "double", {"n": 1}),
    ]
    async with unharmed(bus, anything) as runtime:
        results = await runtime.call_many(calls)
        assert codes(results[:4]) == ["invalid_reference"] * 4
        assert codes(results[4:6]) == ["dependency_failed", ""]
        assert codes(results[6:]) == ["invalid_reference", "invalid_reference", ""]


async def test_doubled_and_missing_ids(bus: Any, valid: Any) -> None:
    calls = [
        ToolCall("a", "double", {"n": 1}),
        ToolCall("a", "double", {"n": 2}),
        ToolCall("", "double", {"n": 3}),
        ToolCall("b", "double", {"n": 4}),
        ToolCall("c", "double", {"n": {"$result": "a"}}),
    ]
    model = scripted([calls[:4], "sorry", [ToolCall("", "double", {"n": 1})], "fine"])
    async with unharmed(bus) as runtime:
        results = await runtime.call_many(calls)
        assert codes(results) == ["", "invalid_call", "invalid_call", "", "invalid_reference"]
        assert codes(await runtime.call_many([ToolCall("", "double", {"n": 1})])) == ["invalid_call"]
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert (reply.text, codes(reply.calls)) == ("sorry", ["", "invalid_call", "invalid_call", ""])
        assert valid(chat, model)
        assert codes((await chat.say("?")).calls) == ["invalid_call"]
        assert valid(chat, model)


async def test_ten_thousand_calls_in_a_response(bus: Any, valid: Any) -> None:
    model = scripted([[("double", {"n": n}) for n in range(10_000)], "that was too much", "fine"])
    async with unharmed(bus) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        if bus.name == "every-hop":  # so many refusals are too long for a message
            assert reply.failure is not None
            assert reply.failure.code == "too_large"
            assert valid(chat)
            reply = await chat.say("Once more")
            assert reply.text == "that was too much"
        else:
            assert (reply.text, reply.ended) == ("that was too much", "answered")
            assert codes(reply.calls) == [""] * 128 + ["limit_reached"] * 9_872
        assert (await chat.say("And now?")).text == "fine"
        assert valid(chat, model)


async def test_ten_thousand_calls_that_are_wanted(bus: Any) -> None:
    began = time.monotonic()
    async with unharmed(bus) as runtime:
        for start in range(0, 10_000, 5_000 if bus.name == "every-hop" else 10_000):
            count = 5_000 if bus.name == "every-hop" else 10_000
            calls = [ToolCall(f"{n}", "double", {"n": n}) for n in range(start, start + count)]
            results = await runtime.call_many(calls)
            assert codes(results) == [""] * count
            assert [result.value for result in results] == [2 * n for n in range(start, start + count)]
    assert time.monotonic() - began < 15.0


class Odd(BaseException):
    """What no library would raise."""


class Mute(Exception):
    """An error that can't even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


def deep() -> None:
    deep()


RAISES: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no"),
    "cancelled": asyncio.CancelledError,
    "group": lambda: ExceptionGroup("several", [ValueError("one"), TypeError("two")]),
    "base group": lambda: BaseExceptionGroup("several", [asyncio.CancelledError(), Odd()]),
    "cancelled group": lambda: BaseExceptionGroup("several", [asyncio.CancelledError()]),
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(1),
    "StopAsyncIteration": StopAsyncIteration,
    "MemoryError": MemoryError,
    "Odd": Odd,
    "mute": Mute,
    "half a character": lambda: ValueError("\ud800"),
    "long": lambda: ValueError("x" * (20 * MIB)),
    "ToolError": lambda: ToolError("no \ud800", details={"what": {1, 2}}),
    "long ToolError": lambda: ToolError("x" * (20 * MIB)),
    "TimeoutError": TimeoutError,
    "BusError": lambda: BusError("not the bus's own"),
    "Misuse": lambda: Misuse(ToolError("no").failure),
}


@pytest.mark.parametrize("kind", RAISES)
async def test_a_tool_may_raise_anything(bus: Any, valid: Any, kind: str) -> None:
    error = RAISES[kind]

    async def raising() -> None:
        raise error()

    def raising_in_a_thread() -> None:
        raise error()

    async with unharmed(bus, raising, raising_in_a_thread) as runtime:
        for name in ("raising", "raising_in_a_thread"):
            result = await runtime.call(name)
            assert typed(result)
            failure = result.failure
            assert failure is not None
            assert (failure.code, failure.effect) == ("failed", "maybe")
            assert len(failure.message) < 4_000
            model = scripted([[(name,), ("double", {"n": 1})], "sorry"])
            chat = await runtime.converse(model=model)
            reply = await chat.say("?")
            assert (reply.text, codes(reply.calls)) == ("sorry", ["failed", ""])
            assert typed(reply.calls[0])
            assert valid(chat, model)


async def test_a_tool_that_calls_itself_out_of_stack(bus: Any) -> None:
    @tool
    async def bad() -> None:
        deep()

    async with unharmed(bus, bad) as runtime:
        result = await runtime.call("bad")
        assert typed(result)
        assert result.failure is not None
        assert "RecursionError" in result.failure.message


async def test_a_tool_that_leaves_a_scope_which_it_cancelled(bus: Any) -> None:
    @tool
    async def bad() -> str:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()
        return "left"

    @tool
    async def group() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deep_soon)
            await anyio.sleep_forever()

    async def deep_soon() -> None:
        raise KeyError("inside")

    async with unharmed(bus, bad, group) as runtime:
        assert (await runtime.call("bad")).value == "left"
        assert codes([await runtime.call("group")]) == ["failed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["async", "thread"])
async def test_what_ends_the_program_answers_the_call_and_ends_the_runtime(
    shared_bus: Any, error: type[BaseException], way: str
) -> None:
    bus = shared_bus
    answered: list[ToolResult[Any]] = []
    ended = anyio.Event()

    async def raising() -> None:
        raise error

    def raising_in_a_thread() -> None:
        raise error

    async def work() -> None:
        try:
            async with bus.runtime() as worker:
                await worker.serve(tool(name="bad")(raising if way == "async" else raising_in_a_thread))
                ready.set()
                await anyio.sleep_forever()
        except error:
            ended.set()

    with anyio.fail_after(10):
        ready = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await ready.wait()
            async with unharmed(bus) as runtime:
                answered.append(await runtime.call("bad"))
                await ended.wait()  # in here, where the tasks of both are counted at the end
    assert typed(answered[0])
    failure = answered[0].failure
    assert failure is not None
    assert (failure.code, failure.effect) == ("failed", "maybe")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_is_raised_where_the_runtime_was_entered(
    bus: Any, error: type[BaseException]
) -> None:
    @tool
    async def bad() -> None:
        raise error

    async def program() -> None:
        async with bus.runtime() as runtime:
            await runtime.serve(bad)
            await runtime.call("bad")
            await anyio.sleep_forever()

    with anyio.fail_after(10), pytest.raises(error):
        await program()


class Hostile:
    """It can't be read, not even by `repr`."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


RETURNS: dict[str, tuple[Callable[[], Any], str]] = {
    "object": (object, "invalid_result"),
    "function": (lambda: deep, "invalid_result"),
    "half a character": (lambda: "\ud800", "invalid_result"),
    "keys": (lambda: {(1, 2): 3}, "invalid_result"),
    "NaN": (lambda: [1.0, float("nan")], "invalid_result"),
    "infinite": (lambda: {"a": float("-inf")}, "invalid_result"),
    "itself": (circle, "invalid_result"),
    "deep": (lambda: nested(100_000), "invalid_result"),
    "hostile": (Hostile, "invalid_result"),
    "generator": (lambda: (n for n in range(3)), "invalid_result"),
    "100 MiB": (lambda: "x" * (100 * MIB), "too_large"),
    "many small": (lambda: list(range(200_000)), "too_large"),
}


@pytest.mark.parametrize("kind", RETURNS)
async def test_a_tool_may_return_anything(bus: Any, valid: Any, kind: str) -> None:
    value, code = RETURNS[kind]

    @tool
    async def bad() -> Any:
        return value()

    @tool
    def bad_in_a_thread() -> Any:
        return value()

    model = scripted([[("bad",), ("double", {"n": 1})], "sorry"])
    async with unharmed(bus, bad, bad_in_a_thread) as runtime:
        for name in ("bad", "bad_in_a_thread"):
            result = await runtime.call(name)
            assert typed(result)
            assert result.failure is not None
            known = result.failure.code != "failed"  # it was raised before anybody knew that the tool had ended
            assert (result.failure.code, result.failure.effect) == ((code, "done") if known else ("failed", "maybe"))
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert (reply.text, codes(reply.calls)) == ("sorry", [code, ""])
        assert valid(chat, model)


async def test_a_result_over_what_the_bus_carries_has_happened(bus: Any) -> None:
    @tool
    async def bad() -> str:
        return "x" * (10 * MIB)

    async with unharmed(bus, bad, result_bytes=100 * MIB) as runtime:
        result = await runtime.call("bad")
        assert codes([result]) in (["too_large"], [""])
        assert result.failure is None or result.failure.effect in {"maybe", "done"}
        assert result.failure is not None or not bus.remote


async def test_arguments_over_what_the_bus_carries_have_not(bus: Any) -> None:
    ran: list[int] = []

    @tool
    async def take(texts: list[str]) -> None:
        ran.append(sum(map(len, texts)))

    async with unharmed(bus, take) as runtime:
        for size in (MIB - 10_000, MIB, 2 * MIB, 20 * MIB):
            whole, rest = divmod(size, CHUNK)  # one text may have 256 KiB
            result = await runtime.call("take", {"texts": ["x" * CHUNK] * whole + ["x" * rest]})
            failure = result.failure
            assert (failure and (failure.code, failure.effect)) == (None if size < MIB else ("too_large", "none"))
    assert ran == [MIB - 10_000]


CHUNK = 100_000

NAMES = [
    "a.*.>",
    "x" * 5_000,
    "wetter für morgen ☂",
    "a\r\nPUB tw.x 0\r\n",
    " leading and trailing ",
    "\x00",
    "=2E",
    "sha256-" + "0" * 64,
    "$SRV.PING",
    "_INBOX.x",
    "tool",
    "*",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
async def test_tools_with_odd_names(bus: Any, valid: Any, name: str) -> None:
    odd = tool(name=name)(plain)
    model = scripted([(name,), "fine"])
    if unfit(name):
        async with unharmed(bus) as runtime:
            with pytest.raises(Misuse, match="invalid_call"):
                await runtime.serve(odd)
        return
    async with unharmed(bus, odd) as runtime:
        assert (await runtime.call(name)).value == "odd"
        chat = await runtime.converse(model=model, tools=[odd])
        reply = await chat.say("?")
        assert [result.value for result in reply.calls] == ["odd"]
        assert valid(chat, model)


async def plain() -> str:
    return "odd"


async def test_many_odd_names_at_once_are_kept_apart(bus: Any) -> None:
    def naming(name: str) -> Tool[str]:
        async def own() -> str:
            return name

        return tool(name=name)(own)

    names = [name for name in NAMES if not unfit(name)]
    assert len(names) > len(NAMES) / 2
    async with unharmed(bus, *map(naming, names)) as runtime:
        results = await runtime.call_many([ToolCall(f"{n}", name) for n, name in enumerate(names)])
        assert [result.value for result in results] == names


async def test_odd_names_that_nobody_serves(bus: Any) -> None:
    async with unharmed(bus) as runtime:
        names = [*NAMES, "", "x" * (2 * MIB), "\ud800"]
        for name in names:
            result = await runtime.call(name)
            assert typed(result)
            assert result.failure is not None
            assert len(result.failure.message) < 1_000
            assert result.failure.code in {"unknown_tool", "invalid_call", "too_large"}


async def test_a_tool_without_a_name(bus: Any) -> None:
    async with unharmed(bus) as runtime:
        with pytest.raises(Misuse):
            await runtime.serve(tool(name="")(plain))


async def test_two_tools_of_one_name(bus: Any) -> None:
    async with unharmed(bus) as runtime:
        with pytest.raises(Misuse, match="plain") as raised:
            await runtime.serve(tool(name="double")(plain))
        assert "double" in str(raised.value)


def envelope(body: Any, *, version: int = VERSION, depth: int = 1, budget: Any = None) -> bytes:
    return encode((version, 7, budget, depth, (), EMPTY_TRAIL, body))


CALL = CallTool("a", "double", '{"n": 1}')

MESSAGES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "invalid_message"),
    "noise": (bytes(range(256)), "invalid_message"),
    "text": (b"hello", "invalid_message"),
    "JSON": (b'[1, 2, "call_tool"]', "invalid_message"),
    "half": (envelope(CALL)[:-4], "invalid_message"),
    "more": (envelope(CALL) + b"\x00", "invalid_message"),
    "long array": (b"\xdd\xff\xff\xff\xff", "invalid_message"),
    "long text": (b"\x97\x01\x01\xc0\x00\x90\xdb\xff\xff\xff\xff", "invalid_message"),
    "long path": (b"\x97\x01\x01\xc0\x00\xdd\xff\xff\xff\xff\xa1x", "invalid_message"),
    "long trail": (b"\x97\x01\x01\xc0\x00\x90\xdd\xff\xff\xff\xff\x01", "invalid_message"),
    "deep": (b"\x91" * 100_000, "invalid_message"),
    "map": (b"\x81\xa1x\x01", "invalid_message"),
    "version": (envelope(CALL, version=2), "incompatible"),
    "version 0": (envelope(CALL, version=0), "incompatible"),
    "negative version": (envelope(CALL, version=-1), "incompatible"),
    "version and more": (encode((9, 7, "anything", {"at": "all"})), "incompatible"),
    "kind": (envelope(["no_such_kind", 1, 2, 3, 4]), "incompatible"),
    "another's kind": (envelope(SelectTools("?")), "incompatible"),
    "another's, shorter": (envelope(Resume()), "invalid_message"),
    "negative budget": (envelope(CALL, budget=-1.0), "invalid_message"),
    "NaN for a budget": (envelope(CALL, budget=float("nan")), "invalid_message"),
    "text for a budget": (envelope(CALL, budget="soon"), "invalid_message"),
    "no time": (envelope(CALL, budget=0.0), "timed_out"),
    "depth": (envelope(CALL, depth=65), "limit_reached"),
    "negative depth": (envelope(CALL, depth=-1), "invalid_message"),
    "huge depth": (envelope(CALL, depth=2**63), "limit_reached"),
    "wrong fields": (envelope(["call_tool", 1, 2, 3]), "invalid_message"),
    "few fields": (envelope(["call_tool", "a"]), "invalid_message"),
    "another tool": (envelope(CallTool("a", "other", "{}")), "unknown_tool"),
    "no JSON": (envelope(CallTool("a", "double", "{")), "invalid_arguments"),
}


async def asked(runtime: Runtime, address: str, payload: bytes) -> str:
    """The code of the failure that a raw request to the tool `double` is answered with, "" for none."""
    answer = await runtime.system.bus.request(address, payload)
    try:
        ended = answer_of(answers(CallTool), answer)
    except ToolwireError as error:
        return error.failure.code
    return ended.failure.code if ended.failure else ""


async def test_messages_that_lie(bus: Any) -> None:
    async with unharmed(bus) as runtime:
        for address in (
            runtime.system.address("tool", "double"),
            runtime.system.address("tool", "double", runtime.system.bus.instance),
        ):
            for kind, (payload, code) in MESSAGES.items():
                with anyio.fail_after(5):
                    found = await asked(runtime, address, payload)
                    # Whether a call without time is still begun is a matter of microseconds.
                    assert found == code or (kind == "no time" and not found), kind
                    assert await asked(runtime, address, envelope(CALL)) == "", kind


async def test_a_trail_that_is_none(bus: Any) -> None:
    @tool
    async def whose(context: Context) -> str:
        return f"{context.caller} {context.conversation} {context.idempotency_key}"

    lies = [b"\xc0", b"\x90", b"\x93\x01\x02\x03", b"\x01", encode(("c", "t", "no JSON"))]
    async with unharmed(bus, whose) as runtime:
        address = runtime.system.address("tool", "whose")
        for trail in lies:
            payload = encode((VERSION, 7, None, 1, (), msgspec.Raw(trail), CallTool("a", "whose", "{}")))
            assert await asked(runtime, address, payload) in {"", "invalid_message", "failed"}


async def test_lies_to_the_six_actors_and_to_the_directory(bus: Any) -> None:
    model = scripted(["fine"] * 2)
    async with unharmed(bus) as runtime:
        chat = await runtime.converse(model=model, id="named")
        addresses = list(runtime.system._places)
        kinds = {address.split(".")[2] for address in addresses}
        assert kinds >= {"selector", "validator", "executor", "conversation", "tool"}
        model_door = chat._conversation._asks[Complete]
        if not isinstance(model_door, str):  # the actor of a model that is an object lives in no one's sight
            for payload in (b"", b"\xc1", envelope(["no_such_kind"]), envelope(CALL, version=3)):
                assert len(await model_door.deliver(payload, lambda _: None)) < 1_000
        for address in addresses:
            for payload in (b"", b"\xc1", envelope(["no_such_kind"]), envelope(CALL, version=3)):
                assert len(await runtime.system.bus.request(address, payload)) < 1_000
        if bus.remote:
            directory = runtime.system.address("directory", "tools")
            for payload in (b"", b"\xc1", encode((VERSION, 0, ["announce", 1])), encode((2, 0, ["who", "x"]))):
                await runtime.system.bus.publish(directory, payload)
        assert (await chat.say("Are you there?")).text == "fine"


async def test_raw_messages_of_a_stranger_on_the_broker(nats_url: str, bus: Any) -> None:
    if not bus.remote:
        pytest.skip("memory has no strangers")
    async with unharmed(bus) as runtime:
        instance, token = runtime.system.bus.instance, bus.namespace
        inbox = remote(runtime)._inbox
        subjects = [
            runtime.system.address("tool", "double"),
            runtime.system.address("tool", "double", instance),
            runtime.system.address("directory", "tools"),
            f"tw.{token}.cancel",
            f"tw.{token}.cancel.{instance}",
            f"tw.{token}.beat",
            f"tw.{token}.ping.{instance}",
            inbox + "nonsense",
            inbox + "nonsense.word",
        ]

        async def publish() -> None:
            client = await nats.connect(nats_url)
            try:
                for subject in subjects:
                    for payload in (b"", b"\xff" * 100, b"\xdd\xff\xff\xff\xff", envelope(CALL), envelope(CALL)[:-2]):
                        await client.publish(subject, payload)
                        await client.publish(subject, payload, reply="somewhere.else")
                        await client.publish(subject, payload, reply=subject)
                await client.flush()
            finally:
                await client.close()

        await on_asyncio(publish)


def remote(runtime: Runtime) -> NatsBus:
    """The end of a NATS bus that a runtime has, behind the short ways that it may have too."""
    bus = runtime.system.bus
    found = bus.remote if isinstance(bus, LocalFirst) else bus
    assert isinstance(found, NatsBus)
    return found


async def on_asyncio(function: Callable[[], Any]) -> None:
    """Run something of nats-py's, which speaks asyncio only."""
    if "asyncio" in anyio.lowlevel.current_token().backend_class.__module__:
        await function()
    else:
        await anyio.to_thread.run_sync(lambda: asyncio.run(function()))


async def test_nobody_listens(anyio_backend: str) -> None:
    began = time.monotonic()
    with anyio.fail_after(10), pytest.raises(ToolwireError) as raised:
        async with Runtime("nats://127.0.0.1:1", namespace=secrets.token_hex(4)):
            raise AssertionError
    assert time.monotonic() - began < 3.0
    failure = raised.value.failure
    assert failure.code == "unreachable"
    assert "127.0.0.1:1" in failure.message
    assert "\n" not in failure.message


@pytest.mark.parametrize("url", ["", "nats", "http://x", "memory", "nats://", "nats+embedded://relative"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Runtime(url)


async def test_a_schema_that_is_none_is_refused_by_whoever_serves_it(bus: Any) -> None:
    broken: Tool[str] = Tool(plain, ToolSpec("broken", parameters={"type": "no type"}), double.signature, 1)
    async with unharmed(bus) as runtime:
        try:
            await runtime.serve(broken)
        except Misuse:
            return
        assert typed(await runtime.call("broken", {"n": 1, "x": 2}))
