"""What is taken down of calls: in the ring, in the log, in the audit; once for each, and without content."""

import logging
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import pytest
from msgspec import Meta

from toolwire import Misuse, Runtime, Secret, ToolCall, ToolError, ToolwireError, scripted, tool
from toolwire.actors.audit import JsonLines, Sink, Sqlite

pytestmark = pytest.mark.anyio


@tool(read_only=True, cache=60.0)
async def greet(name: str, key: Secret[str] | None = None) -> str:
    """Greet."""
    return f"hello {name}"


@tool
async def refuse(why: str = "") -> None:
    """Never."""
    raise ToolError(f"not {why}")


async def test_the_latest_are_kept_here_if_that_is_asked_for() -> None:
    async with Runtime(history=4) as runtime:
        await runtime.serve(greet, refuse)
        await runtime.call("greet", {"name": "Ada"})
        await runtime.call("greet", {"name": "Ada"})
        chat = await runtime.converse(model=scripted([("refuse", {"why": "now"}), "no"]), id="c1")
        await chat.say("?")
        await runtime.call_many(
            [ToolCall("a", "refuse"), ToolCall("b", "greet", '{"name": {"$result": "a"}}'), ToolCall("c", "nobody")]
        )
        records = runtime.history
    assert len(records) == 4
    talk, a, b, c = records
    assert (talk.tool, talk.conversation, talk.code, talk.effect) == ("refuse", "c1", "failed", "maybe")
    assert talk.turn
    assert talk.attempts == 1
    assert sorted((each.id, each.code) for each in (a, b, c)) == [
        ("a", "failed"),
        ("b", "dependency_failed"),
        ("c", "unknown_tool"),
    ]
    assert all(each.time.tzinfo is not None for each in records)


async def test_a_name_that_a_model_made_up_takes_no_room_and_forges_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="toolwire.calls")
    async with Runtime(history=2) as runtime:
        await runtime.call_many([ToolCall("i" * 100_000, "n" * 100_000)])
        await runtime.call("gone\n2026-01-01 pay ended: ok\x1b[2J")
        long, forged = runtime.history
    assert (len(long.id), len(long.tool)) == (256, 256)
    assert "\n" in forged.tool  # as it was asked for: it is data
    assert [each.getMessage() for each in caplog.records][1] == (
        "'gone\\n2026-01-01 pay ended: ok\\x1b[2J' ended: unknown_tool"
    )


async def test_without_being_asked_nothing_is_kept() -> None:
    async with Runtime() as runtime:
        await runtime.serve(greet)
        assert not runtime._means.records.wanted()
        await runtime.call("greet", {"name": "Ada"})
        assert runtime.history == ()
    with pytest.raises(Misuse, match="history"):
        Runtime(history=-1)


async def test_each_call_is_logged_once_without_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolwire.calls")
    async with Runtime() as runtime:
        await runtime.serve(greet, refuse)
        await runtime.call("greet", {"name": "Ada"})
        await runtime.call_many([ToolCall("a", "greet", '{"name":"Ada"}'), ToolCall("b", "refuse", '{"why":"Ada"}')])
    logged: list[Any] = [each for each in caplog.records if each.name == "toolwire.calls"]
    assert [(each.call_id, each.code, each.cached, each.attempts) for each in logged] == [
        ("call_1", "ok", False, 1),
        ("a", "ok", True, 0),
        ("b", "failed", False, 1),
    ]
    assert logged[0].getMessage() == "greet ended: ok"
    assert "Ada" not in str([vars(each) for each in logged])


async def test_what_is_left_is_taken_down_too() -> None:
    async def hang() -> None:
        """Hang."""
        await anyio.sleep_forever()

    async with Runtime(history=10) as runtime:
        await runtime.serve(hang)

        async def several() -> None:
            await runtime.call_many([ToolCall("a", "hang"), ToolCall("b", "hang", "{}", ("a",))])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.call, "hang")
            tasks.start_soon(several)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        ended = {each.id: (each.code, each.effect, each.attempts) for each in runtime.history}
        assert len(runtime.history) == 3
        late = await runtime.call("hang", timeout=0.01)
        assert late.failure is not None
        assert runtime.history[-1].code == "timed_out"
    assert ended == {
        "call_1": ("cancelled", "maybe", 1),
        "a": ("cancelled", "maybe", 1),
        "b": ("cancelled", "none", 0),
    }


async def test_the_audit_has_each_call_when_the_runtime_has_closed(tmp_path: Path) -> None:
    sinks: list[Sink] = [JsonLines(tmp_path / "lines"), Sqlite(tmp_path / "rows")]
    async with Runtime(audit=sinks) as runtime:
        await runtime.serve(greet)
        await runtime.call_many([ToolCall(str(n), "greet", '{"name":"Ada"}') for n in range(100)])
    for sink in sinks:
        found = sink.find(limit=999)
        assert sorted(int(each.id) for each in found) == list(range(100))
        assert {each.tool for each in found} == {"greet"}
    assert "Ada" not in (tmp_path / "lines").read_text()


class Account(msgspec.Struct):
    """What must not be shown."""

    name: str
    pin: Annotated[str, Meta(extra_json_schema={"writeOnly": True})]


async def test_content_is_told_if_asked_for_but_no_secret(tmp_path: Path) -> None:
    async def account(name: str) -> Account:
        """Look."""
        return Account(name, "1234")

    with_it, without = JsonLines(tmp_path / "with", content=True), JsonLines(tmp_path / "without")
    async with Runtime(audit=[with_it, without], history=9) as runtime:
        await runtime.serve(greet, refuse, account)
        await runtime.call("greet", {"name": "Ada", "key": "hunter2"})
        model = scripted([[("refuse", {"why": "now"}), ("account", {"name": "Ada"})], "so"])
        await (await runtime.converse(model=model, caller={"user": "u1"})).say("?")
        await runtime.call("nobody", {"key": "hunter2"})
        assert {(each.arguments, each.result, each.message) for each in runtime.history} == {("", "", "")}
    by_tool = {each.tool: each for each in with_it.find()}
    assert by_tool["greet"].arguments == '{"name":"Ada","key":"***"}'
    assert by_tool["greet"].result == '"hello Ada"'
    assert (by_tool["refuse"].message, by_tool["refuse"].caller) == ("not now", '{"user":"u1"}')
    assert msgspec.json.decode(by_tool["account"].result) == {"name": "Ada", "pin": "***"}
    assert "hunter2" not in (tmp_path / "with").read_text()
    assert "Ada" not in (tmp_path / "without").read_text()


async def test_strict_calls_wait_for_their_record(tmp_path: Path) -> None:
    sink = Sqlite(tmp_path / "rows")
    async with Runtime(audit=[sink], audit_strict=True) as runtime:
        runtime._means.records.writers[0].most = 2
        await runtime.serve(greet)
        results = await runtime.call_many([ToolCall(str(n), "greet", '{"name":"Ada"}') for n in range(50)])
    assert all(result.ok for result in results)
    assert len(sink.find(limit=999)) == 50


async def test_where_nothing_can_be_kept_no_runtime_begins(tmp_path: Path) -> None:
    with pytest.raises(ToolwireError) as caught:
        async with Runtime(audit=[JsonLines(tmp_path / "no" / "lines")]):
            pytest.fail("it began")
    assert caught.value.failure.code == "storage_failed"


async def test_a_handler_of_logs_that_breaks_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise ValueError("a filter of somebody's own")

    logger = logging.getLogger("toolwire.calls")
    caplog.set_level(logging.INFO, "toolwire.calls")
    logger.addFilter(broken)
    try:
        async with Runtime(history=9) as runtime:
            await runtime.serve(greet)
            results = await runtime.call_many([ToolCall(str(n), "greet", '{"name":"Ada"}') for n in range(3)])
            assert all(result.ok for result in results)
    finally:
        logger.removeFilter(broken)
    assert "taking down a call" in caplog.text


async def test_what_could_not_be_sent_is_taken_down_too() -> None:
    async with Runtime(history=9) as runtime:
        await runtime.serve(greet)
        await runtime.call("greet", {"name": float("nan")})
        await runtime.call_many([ToolCall("a", "greet", {"name": float("nan")})])
        assert [each.code for each in runtime.history] == ["invalid_arguments"] * 2


async def test_calls_that_start_while_the_model_speaks_are_taken_down_once() -> None:
    async with Runtime(history=9) as runtime:
        await runtime.serve(greet, refuse)
        said = [("greet", {"name": "Ada"}), ("refuse", {}), ("greet", {"name": "Bob"})]
        chat = await runtime.converse(model=scripted([said, "so"]), id="c1")
        async with chat.stream("?") as events:
            async for _ in events:
                pass
        records = runtime.history
    assert sorted((each.tool, each.code, each.conversation) for each in records) == [
        ("greet", "ok", "c1"),
        ("greet", "ok", "c1"),
        ("refuse", "failed", "c1"),
    ]
    assert len({each.turn for each in records}) == 1
