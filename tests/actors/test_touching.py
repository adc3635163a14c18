"""Resources as a tool's author names them, and what that means for calls of one response."""

from typing import Any

import anyio
import pytest

from toolwire import Runtime, Tool, ToolCall, tool
from toolwire.actors.catalogue import Catalogue
from toolwire.protocol.failures import Misuse
from toolwire.protocol.tools import ToolSpec

pytestmark = pytest.mark.anyio


def touch(path: str, mode: str = "r") -> str:
    return path + mode


def test_names_and_templates_stand_in_the_spec_and_functions_stay_here() -> None:
    made = tool(touch, writes={"log", "file:{path}"}, reads=lambda a: {f"dir:{a.path}"})
    assert made.spec.writes == ("file:{path}", "log")
    assert made.spec.reads == ()
    assert made.spec.computed
    assert made.touching.touched({"path": "x"}, made.spec.parameters) == (set(), {"dir:x"})
    assert not tool(touch, writes={"log"}).spec.computed
    assert made.renamed("other").touching is made.touching


async def asynchronous(_: Any) -> set[str]:
    return set()


@pytest.mark.parametrize(
    ("writes", "said"),
    [
        ("file", "a set of names"),
        (3, "a set of names"),
        ({3}, "expected string"),
        ({"file:{nothing}"}, "'nothing', which is no parameter"),
        ({"{path}"}, "no kind"),
        ({"file:{"}, "braces"),
        (asynchronous, "not async"),
    ],
)
def test_what_names_no_resources_is_refused(writes: Any, said: str) -> None:
    with pytest.raises(Misuse, match=said):
        tool(touch, writes=writes)


def test_the_catalogue_asks_the_functions_of_what_is_served_here() -> None:
    catalogue = Catalogue(lambda name, instance: f"{name}@{instance}", "here")
    made = tool(touch, name="touch", writes=lambda a: {f"file:{a.path}/{a.mode}"})
    call = ToolCall("a", "touch")
    catalogue.add(made.spec, "there")
    assert catalogue.resources(call, {"path": "x"}) is None
    catalogue.add(made.spec, "here", made.touching)
    assert catalogue.resources(call, {"path": "x"}) == ({"file:x/r"}, set())
    catalogue.add(made.spec, "here")
    assert catalogue.resources(call, {"path": "x"}) == ({"file:x/r"}, set())
    catalogue.remove("touch", "here")
    assert catalogue.resources(call, {"path": "x"}) is None
    assert catalogue.resources(ToolCall("a", "nobody"), {}) is None
    catalogue.add(made.spec, "here", made.touching)
    catalogue.add(ToolSpec("touch", "another", computed=True), "there")
    assert catalogue.resources(call, {"path": "x"}) is None


class Watched:
    """Tools that tell which of them are at work at the same time."""

    def __init__(self) -> None:
        self.at_work: list[str] = []
        self.together: set[frozenset[str]] = set()

    async def work(self, path: str) -> str:
        self.together.update(frozenset((path, other)) for other in self.at_work)
        self.at_work.append(path)
        await anyio.wait_all_tasks_blocked()
        self.at_work.remove(path)
        return path

    def tools(self) -> list[Tool[Any]]:
        async def write(path: str) -> str:
            return await self.work(path)

        async def compute(path: str) -> str:
            return await self.work(path)

        async def read(path: str) -> str:
            return await self.work(path)

        return [
            tool(write, writes={"file:{path}"}),
            tool(compute, writes=lambda a: {"file:" + a.path.partition("#")[0]}),
            tool(read, reads={"file:{path}"}),
        ]


async def test_calls_wait_for_those_of_the_same_file_alone() -> None:
    watched = Watched()
    calls = [("write", "a"), ("write", "b"), ("compute", "a#1"), ("compute", "c"), ("write", "b")]
    async with Runtime() as runtime:
        await runtime.serve(*watched.tools())
        results = await runtime.call_many([ToolCall(f"c{n}", name, {"path": p}) for n, (name, p) in enumerate(calls)])
    assert [result.value for result in results] == [path for _, path in calls]
    assert frozenset(("a", "b")) in watched.together
    assert frozenset(("a", "c")) in watched.together
    assert frozenset(("a", "a#1")) not in watched.together
    assert frozenset(("b",)) not in watched.together


async def test_a_path_that_is_a_result_keeps_behind_every_earlier_writer_of_its_kind() -> None:
    order: list[str] = []
    started = anyio.Event()

    @tool
    async def find() -> str:
        order.append("find")
        return "a"

    @tool(writes={"file:{path}"})
    async def write(path: str) -> str:
        if path == "slow":
            await started.wait()
        order.append(f"write {path}")
        return path

    @tool(reads=lambda a: {f"file:{a.path}"})
    async def read(path: str) -> str:
        order.append(f"read {path}")
        return path

    @tool
    async def last() -> None:
        order.append("last")
        started.set()

    async with Runtime() as runtime:
        await runtime.serve(find, write, read, last)
        calls = [
            ToolCall("s", "write", {"path": "slow"}),
            ToolCall("f", "find"),
            ToolCall("r", "read", {"path": {"$result": "f"}}),
            ToolCall("l", "last"),
        ]
        results = await runtime.call_many(calls)
    assert all(result.ok for result in results)
    assert order == ["find", "last", "write slow", "read a"]
