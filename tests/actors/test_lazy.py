"""Lazy tools: announced before they are there, loaded once, when somebody needs them."""

import threading
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import Context, Misuse, Runtime, Tool, ToolError, lazy, scripted, tool
from toolwire.actors.lazy import LONGEST
from toolwire.actors.selector import LOADING
from toolwire.protocol.failures import Failure

pytestmark = pytest.mark.anyio


@tool
async def double(x: int) -> int:
    """Double a number.

    Args:
        x: The number.
    """
    return 2 * x


class Loader:
    """Gives a thing, and counts how often it was asked."""

    def __init__(self, thing: Any = double) -> None:
        self.thing = thing
        self.runs = 0

    def __call__(self) -> Any:
        self.runs += 1
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


class Slow(Loader):
    """Waits before it gives its thing."""

    def __init__(self, thing: Any = double) -> None:
        super().__init__(thing)
        self.began = anyio.Event()
        self.go = anyio.Event()

    async def load(self) -> Any:
        self.runs += 1
        self.began.set()
        await self.go.wait()
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


def failure_of(result: Any) -> Failure:
    failure: Failure | None = result.failure
    assert failure is not None
    return failure


def test_what_is_announced() -> None:
    made = lazy("plot", Loader(), description="Draw.", parameters={"type": "object", "properties": {}})
    assert (made.name, made.spec.description, made.spec.lazy) == ("plot", "Draw.", "selected")
    assert lazy("plot", Loader(), until="called").spec.lazy == "called"
    assert lazy("plot", Loader()).spec.parameters == {"type": "object"}
    assert repr(made) == "<Lazy plot>"


@pytest.mark.parametrize("name", ["", "x" * 300, "a\nb", "\ud800"])
def test_a_name_that_nothing_can_have_is_refused(name: str) -> None:
    with pytest.raises(Misuse):
        lazy(name, Loader())


def test_a_loader_is_a_function() -> None:
    with pytest.raises(Misuse, match="a loader is a function that gives the tool, not 5"):
        lazy("plot", 5)  # type: ignore[arg-type]  # what a careless author would write


async def test_it_is_loaded_once_at_its_first_call_and_then_is_itself() -> None:
    loader = Loader()
    async with Runtime() as runtime:
        served = await runtime.serve(lazy("twice", loader, description="Twice."))
        assert served.tools == ("twice",)
        announced = runtime.tools["twice"]
        assert (announced.description, announced.lazy, loader.runs) == ("Twice.", "selected", 0)
        assert [(await runtime.call("twice", {"x": n})).value for n in range(3)] == [0, 2, 4]
        assert loader.runs == 1
        real = runtime.tools["twice"]
        assert (real.name, real.description, real.lazy) == ("twice", "Double a number.", "")
        assert real.parameters == double.spec.parameters
        assert failure_of(await runtime.call("twice", {"x": "no"})).code == "invalid_arguments"


async def test_arguments_of_the_first_call_are_judged_by_the_real_schema() -> None:
    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", Loader()))
        assert failure_of(await runtime.call("twice", {"y": 1})).code == "invalid_arguments"


async def test_concurrent_needs_wait_for_the_one_loading() -> None:
    loader = Slow()
    values: list[int] = []

    async def use(n: int) -> None:
        values.append((await runtime.call("twice", {"x": n})).value)

    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", loader.load))
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(use, n)
            await loader.began.wait()
            await anyio.wait_all_tasks_blocked()
            assert values == []
            loader.go.set()
    assert sorted(values) == [2 * n for n in range(20)]
    assert loader.runs == 1


async def test_a_failing_loader_is_told_to_all_who_wait_and_tried_again_at_the_next_need() -> None:
    loader = Slow(ImportError("no module named 'matplotlib'"))
    failures: list[Failure] = []

    async def use() -> None:
        failures.append(failure_of(await runtime.call("twice", {"x": 1})))

    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", loader.load))
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(use)
            await loader.began.wait()
            await anyio.wait_all_tasks_blocked()
            loader.go.set()
        assert [failure.code for failure in failures] == ["load_failed"] * 3
        assert "'twice' could not be loaded: ImportError: no module named 'matplotlib'" in failures[0].message
        assert (failures[0].effect, loader.runs, runtime.tools["twice"].lazy) == ("none", 1, "selected")
        loader.thing = double
        assert (await runtime.call("twice", {"x": 4})).value == 8
        assert loader.runs == 2


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (None, "plain data"),
        ("text", "plain data"),
        (object(), "no public method"),
        (lazy("other", Loader()), "no public method"),
        (ToolError("not licensed"), "not licensed"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
async def test_what_is_no_tool_does_not_load(thing: Any, why: str) -> None:
    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", Loader(thing)))
        failure = failure_of(await runtime.call("twice"))
        assert failure.code == "load_failed"
        assert why in failure.message


async def test_a_loading_counts_against_the_call_and_goes_on_when_its_time_is_over() -> None:
    loader = Slow()
    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", loader.load))
        assert failure_of(await runtime.call("twice", {"x": 1}, timeout=0.01)).code == "timed_out"
        loader.go.set()
        assert (await runtime.call("twice", {"x": 1})).value == 2
        assert loader.runs == 1


async def test_a_loader_that_is_not_async_runs_in_a_thread() -> None:
    threads: list[str] = []

    def load() -> Tool[int]:
        threads.append(threading.current_thread().name)
        return double

    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", load))
        assert (await runtime.call("twice", {"x": 1})).value == 2
    assert threads != [threading.current_thread().name]


class Plot:
    """One method: a tool."""

    def draw(self, x: int) -> str:
        return "*" * x


class Files:
    """Two methods: two tools."""

    def __init__(self) -> None:
        self.content: dict[str, str] = {}

    def write(self, name: str, text: str) -> None:
        self.content[name] = text

    def read(self, name: str) -> str:
        return self.content[name]


class Adder:
    """An object that is a function."""

    async def __call__(self, x: int) -> int:
        return x + 1


@pytest.mark.parametrize(
    ("thing", "value"),
    [(double, 6), (double.function, 6), (Adder(), 4), (Plot(), "***"), (Plot, "***")],
    ids=["tool", "function", "callable", "object", "class"],
)
async def test_what_a_loader_may_give(thing: Any, value: Any) -> None:
    async with Runtime() as runtime:
        await runtime.serve(lazy("it", lambda: thing))
        assert (await runtime.call("it", {"x": 3})).value == value
        assert list(runtime.tools) == ["it"]


async def test_an_object_of_several_methods_becomes_a_namespace() -> None:
    async with Runtime() as runtime:
        served = await runtime.serve(lazy("files", Files, description="Read and write files."))
        failure = failure_of(await runtime.call("files", {}))
        assert (failure.code, failure.details["closest"]) == ("unknown_tool", ["files.read", "files.write"])
        assert sorted(runtime.tools) == ["files.read", "files.write"]
        await runtime.call("files.write", {"name": "a", "text": "x"})
        assert (await runtime.call("files.read", {"name": "a"})).value == "x"
        await served.stop()
        assert not runtime.tools


async def test_it_is_loaded_when_it_is_selected_so_that_a_model_sees_what_it_is() -> None:
    loader, later = Loader(), Loader()
    model = scripted([("twice", {"x": 4}), "8"])
    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", loader), lazy("later", later, until="called"))
        reply = await (await runtime.converse(model=model)).say("double 4")
        assert [result.value for result in reply.calls] == [8]
    offered = {spec.name: spec for spec in model.requests[0].tools}
    assert offered["twice"].parameters == double.spec.parameters
    assert offered["later"].parameters == {"type": "object"}
    assert (loader.runs, later.runs) == (1, 0)


async def test_a_model_is_offered_what_an_object_turned_out_to_be() -> None:
    model = scripted([("files.write", {"name": "a", "text": "x"}), "done"])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, tools=[lazy("files", Files)])
        assert (await chat.say("write")).calls[0].ok
        assert sorted(spec.name for spec in model.requests[0].tools) == ["files.read", "files.write"]


async def test_what_does_not_load_when_it_is_selected_is_offered_as_announced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loader = Loader(OSError("gone"))
    model = scripted([("twice", {"x": 4}), "sorry", "yes"])
    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", loader, description="Twice."))
        chat = await runtime.converse(model=model)
        with caplog.at_level("CRITICAL", "toolwire"):
            reply = await chat.say("double 4")
        assert failure_of(reply.calls[0]).code == "load_failed"
        assert model.requests[0].tools[0].description == "Twice."
        loader.thing = double
        await chat.say("again")
        assert model.requests[-1].tools[0].description == "Double a number."


async def test_what_is_stopped_while_it_loads_serves_who_waits_and_nobody_else() -> None:
    loader = Slow()
    values: list[Any] = []

    async def use() -> None:
        values.append((await runtime.call("twice", {"x": 1})).value)

    async with Runtime() as runtime:
        served = await runtime.serve(lazy("twice", loader.load))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await loader.began.wait()
            await served.stop()
            loader.go.set()
        assert values == [2]
        assert failure_of(await runtime.call("twice", {"x": 1})).code == "unknown_tool"
        assert not runtime.tools


async def test_what_is_replaced_while_it_loads_does_not_come_back() -> None:
    loader = Slow()
    values: list[Any] = []

    async def use() -> None:
        values.append((await runtime.call("twice", {"x": 1})).value)

    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", loader.load))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await loader.began.wait()
            await runtime.serve(tool(name="twice")(Adder().__call__), replace=True)
            loader.go.set()
        assert values == [2]
        assert (await runtime.call("twice", {"x": 10})).value == 11


async def test_a_runtime_that_closes_ends_a_loading() -> None:
    loader = Slow()
    with anyio.fail_after(5):
        async with Runtime() as runtime:
            await runtime.serve(lazy("twice", loader.load))
            assert failure_of(await runtime.call("twice", {"x": 1}, timeout=0.01)).code == "timed_out"
    assert loader.runs == 1


async def test_progress_and_context_of_a_call_that_waited_for_the_loading() -> None:
    @tool
    async def steps(context: Context) -> str:
        await context.progress(1, 2)
        return context.tool

    model = scripted([("steps", {}), "done"])
    seen: list[str] = []
    async with Runtime() as runtime:
        await runtime.serve(lazy("steps", lambda: steps, until="called"))
        chat = await runtime.converse(model=model)
        async with chat.stream("go") as events:
            seen += [type(event).__name__ async for event in events]
    assert seen == ["CallStarted", "CallProgress", "CallFinished", "TextDelta", "TurnFinished"]


async def test_a_namespace_stands_before_a_lazy_tool_too() -> None:
    async with Runtime() as runtime:
        await runtime.serve(lazy("twice", Loader()), namespace="math")
        assert list(runtime.tools) == ["math.twice"]
        assert (await runtime.call("math.twice", {"x": 2})).value == 4
        with pytest.raises(Misuse, match=r"'math.twice' is served twice: by .*double and by lazy\('math.twice'\)"):
            await runtime.serve(lazy("twice", Loader()), namespace="math")


def test_a_selection_waits_for_a_loading_that_does_not_end_only_so_long() -> None:
    model = scripted(["hm"])

    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(lazy("stuck", anyio.sleep_forever, description="Never comes."))
            chat = await runtime.converse(model=model)
            began = trio.current_time()
            assert (await chat.say("go")).text == "hm"
            assert trio.current_time() - began == pytest.approx(LOADING)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [spec.description for spec in model.requests[0].tools] == ["Never comes."]


def test_a_loading_that_takes_for_ever_has_failed() -> None:
    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(lazy("stuck", anyio.sleep_forever))
            result = await runtime.call("stuck", timeout=2 * LONGEST)
            assert failure_of(result).code == "load_failed"
            assert result.seconds == pytest.approx(LONGEST)

    trio.run(main, clock=MockClock(autojump_threshold=0))
