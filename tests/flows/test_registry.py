"""Tools that come, go and change while they are called and talked about, in this process and on another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Misuse, Runtime, ToolCall, lazy, scripted, tool
from toolwire.actors.selector import Selector
from toolwire.protocol.tools import ToolSpec

pytestmark = pytest.mark.anyio


def answers(number: int, name: str = "answer", **options: Any) -> Any:
    @tool(name=name, description=f"Answer {number}.", version=str(number), **options)
    async def answer() -> int:
        return number

    return answer


class Gate:
    """A tool that takes its time."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.began = anyio.Event()
        self.go = anyio.Event()

    @property
    def tool(self) -> Any:
        @tool(name="answer")
        async def answer() -> int:
            self.began.set()
            await self.go.wait()
            return self.value

        return answer


@asynccontextmanager
async def both(bus: Any, *things: Any) -> AsyncIterator[tuple[Runtime, Runtime]]:
    """Who serves, and who calls: one runtime in memory, two of them over NATS."""
    async with bus.open(*things) as serving:
        if not bus.remote:
            yield serving, serving
            return
        async with bus.runtime() as calling:
            await known(calling, *serving.tools)
            yield serving, calling


async def known(runtime: Runtime, *names: str) -> None:
    """Wait until the runtime has heard of those tools, and of no others."""
    await until(runtime, lambda tools: set(tools) == set(names))


async def until(runtime: Runtime, holds: Any) -> None:
    """Wait until `holds` of the tools of `runtime`."""
    while not holds(runtime.tools):
        await checkpoint()


async def test_a_tool_is_replaced_and_calls_in_flight_end_on_the_old_one(bus: Any) -> None:
    gate = Gate(1)
    values: list[int] = []

    async def use() -> None:
        values.append((await calling.call("answer")).value)

    async with both(bus, gate.tool) as (serving, calling):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await gate.began.wait()
            served = await serving.serve(answers(2), replace=True)
            assert served.tools == ("answer",)
            assert (await calling.call("answer")).value == 2
            assert values == []
            gate.go.set()
        assert values == [1]
        assert serving.tools["answer"].version == "2"
        await until(calling, lambda tools: tools["answer"].version == "2")


async def test_nobody_gets_unknown_tool_while_tools_are_replaced(bus: Any) -> None:
    over = False
    seen: set[int] = set()

    async def use() -> None:
        last = 0
        while not over:
            result = await calling.call("answer")
            assert result.ok, result.failure
            assert result.value >= last
            last = result.value
            seen.add(last)
            await checkpoint()  # in memory a call does not suspend

    async with both(bus, answers(0)) as (serving, calling):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(use)
            for number in range(1, 31):
                await serving.serve(answers(number), replace=True)
                await checkpoint()
                await calling.call("answer")
            over = True
        assert (await calling.call("answer")).value == 30
    assert len(seen) > 10


async def test_those_who_wait_at_the_door_of_the_old_one_are_served_by_it(bus: Any) -> None:
    gate = anyio.Event()
    inside = anyio.Event()

    class Old:
        async def answer(self) -> int:
            inside.set()
            await gate.wait()
            return 1

    values: list[Any] = []

    async def use() -> None:
        values.append((await calling.call("answer")).value)

    async with both(bus, Old()) as (serving, calling):
        [place] = {id(p.ref): p for p in serving.system._places.values() if "tool" in p.ref.cell.key}.values()
        old = place.ref.cell.mailbox
        assert old is not None
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(use)
            await inside.wait()
            while len(old.waiting) < 4:
                await checkpoint()
            await serving.serve(answers(2), replace=True)
            assert (await calling.call("answer")).value == 2
            gate.set()
        assert values == [1] * 5


async def test_a_served_thing_that_was_replaced_has_nothing_left_to_stop(bus: Any) -> None:
    async with both(bus) as (serving, calling):
        old = await serving.serve(answers(1))
        new = await serving.serve(answers(2), replace=True)
        await old.stop()
        await known(calling, "answer")
        assert (await calling.call("answer")).value == 2
        await new.stop()
        await known(calling)
        failure = (await calling.call("answer")).failure
        assert failure is not None
        assert failure.code in ("unknown_tool", "unreachable")
        await serving.serve(answers(3))
        await known(calling, "answer")
        assert (await calling.call("answer")).value == 3


class One:
    def read(self) -> int:
        return 1

    def write(self) -> int:
        return 1


class Two:
    def read(self) -> int:
        return 2

    def list(self) -> int:
        return 2


async def test_of_an_object_what_the_new_one_does_not_offer_stays(bus: Any) -> None:
    async with both(bus) as (serving, calling):
        old = await serving.serve(One())
        await serving.serve(Two, replace=True)
        await known(calling, "list", "read", "write")
        assert [(await calling.call(name)).value for name in ("read", "write", "list")] == [2, 1, 2]
        await old.stop()
        await known(calling, "list", "read")
        assert [(await calling.call(name)).value for name in ("read", "list")] == [2, 2]


async def test_what_can_not_be_served_replaces_nothing(bus: Any) -> None:
    async with both(bus, answers(1)) as (serving, calling):
        for wrong in ((answers(2), 5), (answers(2), answers(3))):
            with pytest.raises(Misuse):
                await serving.serve(*wrong, replace=True)
        with pytest.raises(Misuse, match=r"'answer' is served twice: by .* and by .*; give one a prefix"):
            await serving.serve(answers(2))
        assert (await calling.call("answer")).value == 1


async def test_a_serve_that_is_cancelled_leaves_everything_as_it_was(bus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not bus.remote:
        pytest.skip("in memory nothing is announced")
    async with both(bus, answers(1)) as (serving, calling):
        assert serving._directory is not None
        announce, announced = serving._directory.announce, anyio.Event()

        async def stuck(specs: Any) -> None:
            if announced.is_set():
                await announce(specs)
            announced.set()
            await anyio.sleep_forever()

        monkeypatch.setattr(serving._directory, "announce", stuck)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: serving.serve(answers(2), answers(2, "other"), replace=True))
            await announced.wait()
            tasks.cancel_scope.cancel()
        assert (set(serving.tools), serving.tools["answer"].version) == ({"answer"}, "1")
        assert (await calling.call("answer")).value == 1


async def test_a_namespace_and_a_prefix(bus: Any) -> None:
    async with both(bus) as (serving, calling):
        await serving.serve(One(), namespace="files")
        await serving.serve(One(), prefix="old")
        await serving.serve(One(), namespace="home.files", prefix="old")
        names = ["files.read", "files.write", "home.files.old_read", "home.files.old_write", "old_read", "old_write"]
        await known(calling, *names)
        assert [(await calling.call(name)).value for name in names] == [1] * 6
        for wrong in ("a.", ".", "a..b", "a b"):
            with pytest.raises(Misuse):
                await serving.serve(One(), namespace=wrong)
        with pytest.raises(Misuse, match="a namespace may have dots"):
            await serving.serve(One(), prefix="a.b")
        model = scripted([("files.read", {}), "done"])
        chat = await calling.converse(model=model, tools=["files.*"])
        assert (await chat.say("read")).calls[0].value == 1
        assert sorted(spec.name for spec in model.requests[0].tools) == ["files.read", "files.write"]


async def test_what_comes_goes_or_changes_during_a_turn_counts_from_the_next_round_on(bus: Any) -> None:
    @tool
    async def install() -> str:
        """Install the others."""
        served["new"] = await runtime.serve(answers(1, "new"))
        await runtime.serve(answers(2), replace=True)
        await served["gone"].stop()
        return "installed"

    served: dict[str, Any] = {}
    model = scripted([("install", {}), [("new", {}), ("answer", {})], "done"])
    async with bus.open(install, answers(1)) as runtime:
        served["gone"] = await runtime.serve(answers(0, "gone"))
        reply = await (await runtime.converse(model=model)).say("go")
        assert [result.value for result in reply.calls] == ["installed", 1, 2]
    offered = [{spec.name: spec.version for spec in request.tools} for request in model.requests]
    assert offered[0] == {"install": "", "answer": "1", "gone": "0"}
    assert offered[1] == offered[2] == {"install": "", "answer": "2", "new": "1"}


async def test_a_round_asks_the_selector_only_if_something_changed(bus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    receive = Selector.receive

    async def counted(self: Selector, message: Any, context: Any) -> Any:
        asked.append(message.query)
        return await receive(self, message, context)

    monkeypatch.setattr(Selector, "receive", counted)
    model = scripted([*[("answer", {})] * 5, "done"])
    async with bus.open(answers(1)) as runtime:
        await (await runtime.converse(model=model)).say("go")
    assert asked == ["go"]


async def test_a_lazy_tool_of_another_process_is_loaded_once_when_it_is_called(bus: Any) -> None:
    runs: list[str] = []

    async def load() -> Any:
        runs.append("")
        return answers(7)

    async with both(bus, lazy("answer", load, description="Soon.", until="called")) as (_, calling):
        assert calling.tools["answer"].lazy == "called"
        results = await calling.call_many([ToolCall(str(n), "answer") for n in range(10)])
        assert [result.value for result in results] == [7] * 10
        await until(calling, lambda tools: tools["answer"].version == "7")
        assert (calling.tools["answer"].lazy, calling.tools["answer"].description) == ("", "Answer 7.")
        assert len(runs) == 1
        assert (await calling.call("answer")).value == 7


async def test_a_lazy_tool_of_another_process_is_loaded_when_it_is_selected(bus: Any) -> None:
    model = scripted([("files.read", {}), "done"])
    async with both(bus, lazy("answer", lambda: answers(7)), lazy("files", One)) as (_, calling):
        chat = await calling.converse(model=model, tools=["answer", "files", "files.*"])
        assert (await chat.say("read")).calls[0].value == 1
        assert {spec.name: spec.version for spec in model.requests[0].tools} == {
            "answer": "7",
            "files.read": "",
            "files.write": "",
        }
        await known(calling, "answer", "files.read", "files.write")


async def test_a_loader_that_fails_on_another_process_is_told_and_tried_again(bus: Any) -> None:
    runs: list[str] = []

    def load() -> Any:
        runs.append("")
        if len(runs) == 1:
            raise OSError("the disk is away")
        return answers(7)

    async with both(bus, lazy("answer", load)) as (_, calling):
        failure = (await calling.call("answer")).failure
        assert failure is not None
        assert (failure.code, failure.effect) == ("load_failed", "none")
        assert "OSError: the disk is away" in failure.message
        assert (await calling.call("answer")).value == 7


async def test_what_one_process_has_loaded_is_not_lazy_for_another_still_announces_it(shared_bus: Any) -> None:
    async with shared_bus.runtime() as one, shared_bus.runtime() as two:
        if one._directory is None:
            pytest.skip("in memory nothing is announced")
        await one.serve(answers(7))
        await known(two, "answer")
        await two.serve(lazy("answer", lambda: answers(7)))
        await until(one, lambda _: len(one.tools.entries["answer"].instances) == 2)
        assert (
            one.tools["answer"]
            == two.tools["answer"]
            == ToolSpec("answer", "Answer 7.", answers(7).spec.parameters, answers(7).spec.returns, version="7")
        )
        assert {(await one.call("answer")).value for _ in range(4)} == {7}
