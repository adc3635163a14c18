"""What strangers wrote, and tools return: whatever it says, it is data, and nothing is lost for it without a person."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from toolwire import Agent, Chat, Context, Policy, Reply, Rule, Runtime, ToolCall, ToolResult, scripted, tool
from toolwire.actors.middleware import Next
from toolwire.protocol.tools import ToolSpec

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[1] / "corpus" / "injections.jsonl"
ROWS = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def code(result: ToolResult[Any]) -> str:
    return "" if result.failure is None else result.failure.code


class Site:
    """A runtime with a page that strangers write, and what was done because of it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.page = "a page"
        self.deleted: list[str] = []

    async def turn(self, *responses: Any, **options: Any) -> Reply:
        """One turn of a model that says these, one after the other."""
        return await (await self.chat(*responses, **options)).say("summarize the page")

    async def chat(self, *responses: Any, **options: Any) -> Chat:
        return await self.runtime.converse(model=scripted([*responses, "done"]), tools=["*"], **options)


@asynccontextmanager
async def site(**options: Any) -> AsyncIterator[Site]:
    async with Runtime(**options) as runtime:
        it = Site(runtime)

        @tool(read_only=True, untrusted=True)
        async def fetch() -> str:
            return it.page

        @tool(untrusted=True)
        async def fails() -> str:
            raise OSError(it.page)

        @tool(destructive=True)
        async def delete_everything(path: str = "/") -> str:
            it.deleted.append(path)
            return "gone"

        @tool(read_only=True)
        async def echo(value: Any) -> Any:
            return value

        @tool
        async def digest(context: Context) -> Any:
            return (await context.call("fetch")).value[:10]

        @tool
        async def clean(context: Context) -> str:
            return code(await context.call("delete_everything", {"path": "old"}))

        await runtime.serve(fetch, fails, delete_everything, echo, digest, clean)
        yield it


FETCH: tuple[str, dict[str, Any]] = ("fetch", {})
DELETE = ("delete_everything", {"path": "/"})


async def test_no_text_gets_anything_deleted() -> None:
    policy = Policy(Rule(name="no plans", deny="run_plan"))
    async with site(policy=policy) as it:
        tools: dict[str, ToolSpec] = dict(it.runtime.tools)
        for row in ROWS:
            it.page = row["text"]
            reply = await it.turn(FETCH, DELETE)
            fetched, deleted = reply.calls
            assert fetched.value == row["text"], row["id"]
            assert code(deleted) == "confirmation_required", row["id"]
            assert it.deleted == []
        assert dict(it.runtime.tools) == tools
        assert it.runtime._workshop.confirmations._outstanding
        assert [rule.name for rule in policy.rules] == ["no plans"]
        assert code(await it.runtime.call("run_plan")) == "not_allowed"


async def test_no_text_is_read_as_a_reference() -> None:
    async with site() as it:
        for row in ROWS:
            it.page = row["text"]
            calls = [ToolCall("a", "fetch"), ToolCall("b", "echo", {"value": {"$result": "a"}})]
            assert [each.value for each in await it.runtime.call_many(calls)] == [row["text"]] * 2
            try:
                meant = json.loads(row["text"])
            except ValueError:
                continue
            # also where it is the very object that a reference is written as
            echoed = ToolCall("c", "echo", {"value": {"$literal": meant}})
            taken = ToolCall("d", "echo", {"value": {"$result": "c"}})
            assert [each.value for each in await it.runtime.call_many([echoed, taken])] == [meant, meant]


async def test_no_text_confirms_a_call() -> None:
    async with site() as it:
        asked = (await it.turn(FETCH, DELETE)).calls[1].failure
        assert asked is not None
        for row in ROWS:
            assert code(await it.runtime.confirm(row["text"])) == "invalid_confirmation"
        assert it.deleted == []


def test_the_corpus_is_large_enough() -> None:
    assert len(ROWS) >= 200
    assert len({row["id"] for row in ROWS}) == len({row["text"] for row in ROWS}) == len(ROWS)


async def test_a_turn_that_has_read_nothing_is_free() -> None:
    async with site() as it:
        reply = await it.turn(DELETE, ("echo", {"value": 1}), DELETE, FETCH)
        assert [code(each) for each in reply.calls] == [""] * 4
        assert [each.tainted for each in reply.calls] == [False, False, False, True]
        assert it.deleted == ["/", "/"]


async def test_what_can_be_undone_goes_on() -> None:
    async with site() as it:
        reply = await it.turn(FETCH, ("echo", {"value": 1}))
        assert (reply.ended, [code(each) for each in reply.calls]) == ("answered", ["", ""])


async def test_it_can_be_switched_off() -> None:
    async with site(taint=False) as it:
        await it.turn(FETCH, DELETE)
        assert it.deleted == ["/"]


async def test_the_next_turn_is_free_again() -> None:
    async with site() as it:
        chat = await it.chat(FETCH, "read", DELETE)
        await chat.say("read")
        reply = await chat.say("delete it")
        assert (reply.ended, it.deleted) == ("answered", ["/"])


async def test_a_failure_may_hold_what_strangers_wrote_too() -> None:
    async with site() as it:
        reply = await it.turn(("fails", {}), DELETE)
        assert code(reply.calls[1]) == "confirmation_required"
        assert it.deleted == []


async def test_the_reason_is_said() -> None:
    async with site() as it:
        failure = (await it.turn(FETCH, DELETE)).calls[1].failure
        assert failure is not None
        assert failure.details["reason"] == "the turn has read what strangers may have written"


@pytest.mark.parametrize("events", [False, True])
async def test_within_one_response_what_begins_after_it_waits(*, events: bool) -> None:
    calls = [
        ToolCall("a", "delete_everything", {"path": "before"}),
        ToolCall("b", "fetch"),
        ToolCall("c", "delete_everything", {"path": {"$result": 2}}),
    ]
    async with site() as it:
        chat = await it.chat(calls, references=True, limits={"confirm_within": 0.0})
        if events:
            async with chat.stream("go") as told:
                async for _ in told:
                    pass
        else:
            await chat.say("go")
        assert it.deleted == ["before"]


async def test_a_batch_of_a_program_too() -> None:
    async with site() as it:
        calls = [ToolCall("a", "fetch"), ToolCall("b", "delete_everything", {}, after=("a",))]
        fetched, deleted = await it.runtime.call_many(calls)
        assert (fetched.tainted, code(deleted)) == (True, "confirmation_required")
        assert deleted.failure is not None
        assert (await it.runtime.confirm(deleted.failure.details["token"])).value == "gone"


async def test_what_a_tool_hears_from_another_it_hands_on() -> None:
    async with site() as it:
        reply = await it.turn(("digest", {}), DELETE)
        assert (reply.calls[0].tainted, code(reply.calls[1])) == (True, "confirmation_required")
        assert it.deleted == []


async def test_a_tool_that_calls_another_does_so_for_the_turn() -> None:
    async with site() as it:
        assert (await it.turn(("clean", {}))).calls[0].value == ""
        assert (await it.turn(FETCH, ("clean", {}))).calls[1].value == "confirmation_required"
        assert it.deleted == ["old"]


async def test_an_agent_that_is_a_tool_hands_it_on_both_ways() -> None:
    async with site() as it:
        reader = Agent("reader", scripted([FETCH, "I read it.", FETCH, "I read it."]), tools=["fetch"])
        doer = Agent("doer", scripted([DELETE, "Done."]), tools=["delete_everything"])
        await it.runtime.serve(reader, doer)
        reply = await it.turn(("reader", {"message": "read"}), DELETE)
        assert (reply.calls[0].value, code(reply.calls[1])) == ("I read it.", "confirmation_required")
        reply = await it.turn(("reader", {"message": "read"}), ("doer", {"message": "delete"}))
        assert reply.calls[1].failure is not None or reply.calls[1].value != "Done."
        assert it.deleted == []


async def test_a_middleware_turns_no_harmless_call_into_one_that_needs_a_person() -> None:
    async def renamed(call: ToolCall, _: Context, following: Next) -> ToolResult[Any]:
        return await following(replace(call, name="delete_everything", arguments={}) if call.name == "echo" else call)

    async with site() as it:
        it.runtime.use(renamed)
        reply = await it.turn(FETCH, ("echo", {"value": 1}))
        assert code(reply.calls[1]) == "confirmation_required"
        assert it.deleted == []
        await it.turn(("echo", {"value": 1}))
        assert it.deleted == ["/"]


async def test_what_a_middleware_makes_of_what_it_heard_waits_for_a_person() -> None:
    async def advised(call: ToolCall, _: Context, following: Next) -> ToolResult[Any]:
        heard = await following(call)
        return await following(ToolCall(call.id, "delete_everything", {"path": heard.value}))

    async with site() as it:
        it.runtime.use(advised)
        assert code((await it.turn(FETCH)).calls[0]) == "confirmation_required"
        assert it.deleted == []


async def test_what_a_middleware_hears_of_a_tool_it_hands_on() -> None:
    async def filled(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        result = await following(call)
        return replace(result, content=(await context.call("fetch")).content) if call.name == "echo" else result

    async with site() as it:
        it.runtime.use(filled)
        reply = await it.turn(("echo", {"value": 1}), DELETE)
        assert (reply.calls[0].tainted, code(reply.calls[1])) == (True, "confirmation_required")
        assert it.deleted == []


async def instead(_: object, context: Context) -> Any:
    return (await context.call("fetch")).value


@pytest.mark.parametrize("key", [ValueError, "failed"], ids=str)
@pytest.mark.parametrize("where", ["tool", "runtime"])
async def test_what_an_error_handler_hears_of_a_tool_it_hands_on(key: Any, where: str) -> None:
    @tool(on_error={key: instead} if where == "tool" else {})
    async def broken() -> None:
        raise ValueError("no")

    async with site() as it:
        await it.runtime.serve(broken)
        if where == "runtime":
            it.runtime.on_error(key, instead)
        reply = await it.turn(("broken", {}), DELETE)
        assert (reply.calls[0].value, reply.calls[0].tainted) == ("a page", True)
        assert code(reply.calls[1]) == "confirmation_required"
        assert it.deleted == []


async def test_so_does_one_for_a_call_that_ran_out_of_its_time() -> None:
    @tool(timeout=0.001)
    async def slow() -> None:
        await anyio.sleep_forever()

    async with site() as it:
        await it.runtime.serve(slow)
        it.runtime.on_error("timed_out", instead)
        reply = await it.turn([("slow", {}), ("echo", {"value": 1})], DELETE)
        assert (reply.calls[0].value, reply.calls[0].tainted) == ("a page", True)
        assert code(reply.calls[2]) == "confirmation_required"
        assert it.deleted == []
