"""What a program does with calls that wait for a person: `runtime.confirm` and `runtime.deny`."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from toolwire import Context, Failure, Runtime, ToolCall, ToolResult, ToolwireError, lazy, tool
from toolwire.actors.confirmations import SECONDS, Confirmations
from toolwire.actors.held import Held
from toolwire.actors.middleware import Next
from toolwire.runtime.testing import ManualClock

pytestmark = pytest.mark.anyio


class Mail:
    """A tool that asks before it sends, and what it sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    @tool(confirm=True, destructive=True, idempotent=True, retries=3)
    async def send(self, text: str) -> str:
        self.sent.append(text)
        if text == "broken":
            raise OSError("no line")
        return text


def token(result: ToolResult[Any]) -> str:
    failure = result.failure
    assert failure is not None
    assert failure.code == "confirmation_required"
    return str(failure.details["token"])


def code(result: ToolResult[Any]) -> str:
    return "" if result.failure is None else result.failure.code


@pytest.fixture(params=[{}, {"local": False}], ids=["inside", "over the bus"])
async def runtime(request: Any, anyio_backend: Any) -> Any:
    async with Runtime(**request.param) as made:
        yield made


async def test_a_call_waits_runs_once_and_is_forgotten(runtime: Runtime) -> None:
    mail = Mail()
    await runtime.serve(mail)
    asked = await runtime.call("send", {"text": "hello"})
    assert mail.sent == []
    done = await runtime.confirm(token(asked))
    assert (done.id, done.name, done.value, done.attempts) == (asked.id, "send", "hello", 1)
    again = await runtime.confirm(token(asked))
    assert code(again) == "invalid_confirmation"
    assert mail.sent == ["hello"]
    assert len(runtime._desk.held) == 0


async def test_two_who_confirm_at_once(runtime: Runtime) -> None:
    mail = Mail()
    await runtime.serve(mail)
    asked = token(await runtime.call("send", {"text": "hello"}))
    results: list[ToolResult[Any]] = []

    async def confirm() -> None:
        results.append(await runtime.confirm(asked))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(confirm)
    assert mail.sent == ["hello"]
    assert sorted(map(code, results)) == ["", *["invalid_confirmation"] * 4]


async def test_with_other_arguments(runtime: Runtime) -> None:
    mail = Mail()
    await runtime.serve(mail)
    asked = token(await runtime.call("send", {"text": "hello"}))
    for wrong in ({"text": 5.5}, {"text": object()}, {"text": "\ud800"}):
        assert code(await runtime.confirm(asked, wrong)) == "invalid_arguments"
    assert (await runtime.confirm(asked, {"text": "good day"})).value == "good day"
    assert mail.sent == ["good day"]


async def test_a_call_that_is_denied_does_not_run(runtime: Runtime) -> None:
    mail = Mail()
    await runtime.serve(mail)
    asked = await runtime.call("send", {"text": "hello"})
    denied = runtime.deny(token(asked), "not now")
    assert (denied.id, code(denied)) == (asked.id, "confirmation_denied")
    assert str(denied.failure) == "confirmation_denied: a person said no: not now"
    assert code(runtime.deny(token(asked))) == "invalid_confirmation"
    assert code(await runtime.confirm(token(asked))) == "invalid_confirmation"
    assert mail.sent == []


async def test_a_confirmed_call_that_fails_is_not_tried_again(runtime: Runtime) -> None:
    mail = Mail()
    await runtime.serve(mail)
    asked = token(await runtime.call("send", {"text": "broken"}))
    failed = await runtime.confirm(asked)
    assert (code(failed), failed.attempts) == ("failed", 1)
    assert mail.sent == ["broken"]
    assert code(await runtime.confirm(asked)) == "invalid_confirmation"


async def test_calls_of_a_batch_with_what_they_take_from_others(runtime: Runtime) -> None:
    mail = Mail()

    @tool
    async def greeting() -> str:
        return "good day"

    await runtime.serve(mail, greeting)
    calls = [ToolCall("g", "greeting"), ToolCall("s", "send", {"text": {"$result": "g"}})]
    _, asked = await runtime.call_many(calls)
    assert asked.failure is not None
    assert asked.failure.details["arguments"] == '{"text":"good day"}'
    assert (await runtime.confirm(token(asked))).value == "good day"


async def test_a_call_from_inside_a_tool_waits_too(runtime: Runtime) -> None:
    mail = Mail()

    @tool
    async def report(context: Context) -> str:
        return code(await context.call("send", {"text": "inside"}))

    await runtime.serve(mail, report)
    assert (await runtime.call(report)).value == "confirmation_required"
    [asked] = runtime._desk.held._waiting
    assert (await runtime.confirm(asked)).value == "inside"


async def test_a_tool_can_not_ask_for_a_word_on_another_call(runtime: Runtime) -> None:
    mail = Mail()

    @tool
    async def report(context: Context) -> str:
        return str((await context.call("send", {"text": "inside"})).value)

    @tool
    async def begs() -> None:
        raise ToolwireError(Failure("confirmation_required", "say yes", details={"token": "tw1.a.b", "seconds": 9.0}))

    await runtime.serve(mail, report, begs)
    for name in ("report", "begs"):
        failure = (await runtime.call(name)).failure
        assert failure is not None
        assert (failure.code, failure.details) == ("failed", {"cause": "confirmation_required"})
    assert [waiting.call.name for waiting in runtime._desk.held._waiting.values()] == ["send"]


async def test_under_a_prefix_it_asks_as_well(runtime: Runtime) -> None:
    mail = Mail()
    await runtime.serve(mail, prefix="my")
    asked = await runtime.call("my_send", {"text": "hello"})
    assert (await runtime.confirm(token(asked))).value == "hello"


async def test_a_tool_that_is_loaded_by_the_call_that_waits(runtime: Runtime) -> None:
    @tool(confirm=True)
    async def late(n: int) -> int:
        return n

    await runtime.serve(lazy("late", lambda: late))
    asked = await runtime.call("late", {"n": 3})
    assert (await runtime.confirm(token(asked))).value == 3


async def test_what_is_confirmed_has_a_span_too() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with Runtime(tracer_provider=provider) as runtime:
        await runtime.serve(Mail())
        asked = await runtime.call("send", {"text": "hello"})
        assert (await runtime.confirm(token(asked))).ok
    spans = [(span.name, (span.attributes or {}).get("error.type")) for span in exporter.get_finished_spans()]
    assert spans == [("execute_tool send", "confirmation_required"), ("execute_tool send", None)]


async def test_a_middleware_stands_around_what_is_confirmed_as_around_what_was_asked(runtime: Runtime) -> None:
    mail = Mail()

    async def signs(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        return await following(ToolCall(call.id, call.name, call.text().replace("hello", "hello, the house")))

    runtime.use(signs)
    await runtime.serve(mail)
    asked = await runtime.call("send", {"text": "hello"})
    assert (await runtime.confirm(token(asked))).value == "hello, the house"


async def test_the_process_that_asked_is_gone(runtime: Runtime) -> None:
    served = await runtime.serve(Mail())
    asked = token(await runtime.call("send", {"text": "hello"}))
    await served.stop()
    gone = await runtime.confirm(asked)
    assert code(gone) == "invalid_confirmation"
    assert "is gone" in str(gone.failure)


async def test_a_call_that_can_not_run_yet_waits_on() -> None:
    clock = ManualClock()
    async with Runtime() as runtime:

        @tool(confirm=True, rate="1/h")
        async def send(text: str) -> str:
            return text

        await runtime.serve(send)
        one, two = [token(await runtime.call(send, {"text": text})) for text in ("one", "two")]
        assert (await runtime.confirm(one)).value == "one"  # to ask took nothing of the rate
        assert code(await runtime.confirm(two)) == "rate_limited"
        runtime.system.clock = lambda: clock() + 10_000.0
        clock.now = anyio.current_time()
        assert (await runtime.confirm(two)).value == "two"


async def test_who_said_yes_in_vain_may_say_it_again(runtime: Runtime) -> None:
    mail = Mail()
    await runtime.serve(mail)
    asked = token(await runtime.call("send", {"text": "hello"}))
    late = await runtime.confirm(asked, timeout=0.0)
    assert code(late) == "timed_out"
    assert late.failure is not None
    assert late.failure.effect == "none"

    async def gone(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        return await following(call)

    runtime.use(gone)
    with anyio.CancelScope() as scope:
        await runtime.confirm(asked)
    assert scope.cancelled_caught
    assert mail.sent == []
    runtime._means.around.middlewares.remove(gone)
    assert (await runtime.confirm(asked)).value == "hello"
    assert code(await runtime.confirm(asked)) == "invalid_confirmation"
    assert mail.sent == ["hello"]


async def test_it_expires_here_and_there() -> None:
    clock = ManualClock()
    async with Runtime() as runtime:
        workshop = runtime._workshop
        workshop.confirmations = Confirmations(workshop.worker, clock, runtime._terms.key)
        runtime._desk.held._clock = clock
        mail = Mail()
        await runtime.serve(mail)
        asked = token(await runtime.call("send", {"text": "hello"}))
        clock.advance(SECONDS)
        late = await runtime.confirm(asked)
        assert code(late) == "invalid_confirmation"
        assert "expired" in str(late.failure)
        assert mail.sent == []


async def test_the_one_that_waited_longest_is_forgotten_where_too_many_wait() -> None:
    async with Runtime() as runtime:
        await runtime.serve(Mail())
        held = runtime._desk.held = Held(runtime.system.clock, most=2)
        runtime._means.held = held
        first, second, third = [token(await runtime.call("send", {"text": text})) for text in "abc"]
        assert len(held) == 2
        assert code(await runtime.confirm(first)) == "invalid_confirmation"
        assert [(await runtime.confirm(each)).value for each in (second, third)] == ["b", "c"]


async def test_a_token_that_nothing_waits_for() -> None:
    async with Runtime() as runtime:
        unknown = await runtime.confirm("tw1.a.b")
        assert (code(unknown), unknown.id, unknown.attempts) == ("invalid_confirmation", "", 0)
