"""Calls of one response that build on each other and touch the same things, wherever their tools are served."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import SystemMessage, ToolCall, run_plan, scripted, tool
from toolwire.protocol.referring import INSTRUCTION

pytestmark = pytest.mark.anyio


class Desk:
    """Files that tell which calls were at work at the same time."""

    def __init__(self) -> None:
        self.at_work: list[str] = []
        self.together: set[frozenset[str]] = set()
        self.order: list[str] = []

    async def work(self, path: str) -> str:
        self.together.update(frozenset((path, other)) for other in self.at_work)
        self.at_work.append(path)
        for _ in range(20):
            await checkpoint()
        self.at_work.remove(path)
        self.order.append(path)
        return path


def tools(desk: Desk) -> tuple[Any, Any, Any]:
    @tool(writes={"file:{path}"})
    async def write(path: str) -> str:
        """Write a file."""
        return await desk.work(path)

    @tool(writes=lambda a: {f"file:{a.path.removesuffix('~')}"})
    async def back_up(path: str) -> str:
        """Write a file, by another name."""
        return await desk.work(path)

    @tool
    async def name(of: str) -> dict[str, str]:
        """Name a file."""
        return {"path": of}

    return write, back_up, name


def calls(*asked: tuple[str, Any]) -> list[ToolCall]:
    return [ToolCall(f"c{n}", name, {"path": path}) for n, (name, path) in enumerate(asked)]


async def test_a_template_holds_wherever_its_tool_is_served(shared_bus: Any) -> None:
    desk = Desk()
    async with shared_bus.open(*tools(desk)), shared_bus.open() as host:
        await host.discover()
        asked = calls(("write", "a"), ("write", "b"), ("write", "a"), ("write", "c"))
        results = await host.call_many(asked)
        graph = host.explain(asked)
    assert [result.value for result in results] == ["a", "b", "a", "c"]
    assert frozenset(("a",)) not in desk.together
    assert [[behind.why for behind in call.order] for call in graph.calls] == [[], [], ["resource file:a"], []]


async def test_a_function_is_asked_where_it_is_served_and_is_anything_elsewhere(shared_bus: Any) -> None:
    desk = Desk()
    async with shared_bus.open(*tools(desk)) as owner, shared_bus.open() as host:
        await host.discover()
        asked = calls(("write", "a"), ("back_up", "b"), ("write", "c"), ("back_up", "a~"))
        here, elsewhere = owner.explain(asked), host.explain(asked)
        results = await host.call_many(asked)
    assert [tuple(behind.position for behind in call.order) for call in here.calls] == [(), (), (), (1,)]
    assert [tuple(behind.position for behind in call.order) for call in elsewhere.calls] == [(), (1,), (2,), (3,)]
    assert [result.value for result in results] == ["a", "b", "c", "a~"]
    assert desk.order == ["a", "b", "c", "a~"]
    assert not desk.together


async def test_a_model_passes_results_on_by_position(bus: Any, valid: Callable[..., bool]) -> None:
    desk = Desk()
    path = {"$result": 1, "path": "/path"}
    model = scripted([[("name", {"of": "x"}), ("write", {"path": path}), ("write", {"path": "y"})], "done"])
    async with bus.open(*tools(desk)) as runtime:
        chat = await runtime.converse(model=model, system="Be brief.", references=True)
        reply = await chat.say("Go")
        assert valid(chat, model)
    assert [result.value for result in reply.calls] == [{"path": "x"}, "x", "y"]
    assert desk.order == ["x", "y"], "which file the first one writes was not known"
    assert model.requests[0].messages[0] == SystemMessage(f"Be brief.\n\n{INSTRUCTION}")
    offered = {spec.name: spec.parameters["properties"] for spec in model.requests[0].tools}
    assert offered["write"]["path"]["anyOf"][1] == {"$ref": "#/$defs/reference"}


async def test_a_plan_is_carried_out_and_cancelled_with_its_call(bus: Any) -> None:
    desk = Desk()
    started, ended = anyio.Event(), anyio.Event()

    @tool
    async def endless() -> None:
        """Never end."""
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    steps = [
        {"id": "n", "tool": "name", "arguments": '{"of": "x"}', "after": None},
        {"id": "w", "tool": "write", "arguments": '{"path": {"$result": "n", "path": "/path"}}', "after": ["n"]},
    ]
    async with bus.open(*tools(desk), endless, run_plan) as runtime:
        result = await runtime.call("run_plan", {"steps": steps})
        assert [step["result"] for step in result.value] == [{"path": "x"}, "x"]
        async with bus.left_at(started):
            await runtime.call("run_plan", {"steps": [{"id": "e", "tool": "endless", "arguments": "{}", "after": []}]})
        await ended.wait()
