"""What is injected: made once, kept, closed in order; and what is missing is said when a tool is served."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Lock
from typing import Annotated, Any, Self

import anyio
import pytest

from toolwire import Inject, Misuse, Runtime, Tool, tool
from toolwire.actors import providers

pytestmark = pytest.mark.anyio


class Db:
    def __init__(self) -> None:
        self.open = True


class Cache(dict[str, int]):
    """Something else to be given."""


@tool
async def look(db: Annotated[Db, Inject], cache: Annotated[Cache | None, Inject] = None) -> tuple[int, bool]:
    return id(db), db.open and cache is None


@tool
def peek(db: Annotated[Db, Inject()]) -> tuple[int, bool]:
    return id(db), db.open


async def opened() -> Db:
    await anyio.lowlevel.checkpoint()
    return Db()


@asynccontextmanager
async def in_a_group() -> AsyncIterator[Db]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        db = Db()
        yield db
        db.open = False
        tasks.cancel_scope.cancel()


@contextmanager
def plainly() -> Iterator[Db]:
    db = Db()
    yield db
    db.open = False


@pytest.mark.parametrize("factory", [Db, Db(), opened, in_a_group, plainly])
async def test_all_tools_get_the_same_one(factory: Any) -> None:
    async with Runtime() as runtime:
        runtime.provide(Db, factory)
        await runtime.serve(look, peek)
        values = [(await runtime.call(each)).value for each in (look, peek, look)]
        assert len(set(values)) == 1
        assert values[0][1]


async def test_they_are_closed_when_no_tool_runs_any_more_the_last_one_first() -> None:
    closed: list[str] = []
    started = anyio.Event()

    class First:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            await anyio.lowlevel.checkpoint()
            closed.append("first")

    class Second:
        def __enter__(self) -> str:
            return "second's"

        def __exit__(self, *_: object) -> None:
            closed.append("second")

    @tool
    async def use(first: Annotated[First, Inject], second: Annotated[Second, Inject]) -> str:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            closed.append(f"used {second}")
        return ""

    async with anyio.create_task_group() as tasks, Runtime() as runtime:
        runtime.provide(First, First)
        with pytest.raises(Misuse, match="which nobody provides here"):
            await runtime.serve(use)
        runtime.provide(Second, Second)
        await runtime.serve(use)
        tasks.start_soon(runtime.call, use)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert closed == ["used second's", "second", "first"]


async def test_what_nobody_provides_is_said_when_the_tool_is_served() -> None:
    async with Runtime() as runtime:
        said = (
            r"look\(\) asks for a .*Db \(its parameter 'db'\), which nobody provides here: "
            r"say runtime.provide\(Db, …\) before it is served"
        )
        with pytest.raises(Misuse, match=said):
            await runtime.serve(look)
        assert "look" not in runtime.tools


async def test_what_a_factory_raises_is_raised_where_the_tool_is_served_and_it_may_be_tried_again() -> None:
    tries: list[int] = []

    def flaky() -> Db:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no disk")
        return Db()

    async with Runtime() as runtime:
        runtime.provide(Db, flaky)
        with pytest.raises(OSError, match="no disk"):
            await runtime.serve(peek)
        await runtime.serve(peek)
        assert (await runtime.call(peek)).ok
    assert len(tries) == 2


@asynccontextmanager
async def breaking() -> AsyncIterator[Db]:
    raise OSError("not even opened")
    yield Db()


async def test_so_is_what_it_raises_when_it_is_entered() -> None:
    async with Runtime() as runtime:
        runtime.provide(Db, breaking)
        with pytest.raises(OSError, match="not even opened"):
            await runtime.serve(peek)


CONTENT = "what it was about"


@asynccontextmanager
async def breaking_late() -> AsyncIterator[Db]:
    yield Db()
    raise OSError(CONTENT)


@asynccontextmanager
async def never_closing() -> AsyncIterator[Db]:
    yield Db()
    await anyio.sleep_forever()


@pytest.mark.parametrize("factory", [breaking_late, never_closing])
async def test_a_closing_that_fails_or_hangs_ends_the_runtime_all_the_same(
    factory: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(providers, "CLOSING", 0.01)
    async with Runtime() as runtime:
        runtime.provide(Db, factory)
        await runtime.serve(peek)
    raised = [record for record in caplog.records if "raised OSError" in record.getMessage()]
    assert len(raised) == (factory is breaking_late)
    assert CONTENT not in caplog.text


async def test_what_is_in_use_is_not_replaced() -> None:
    async with Runtime() as runtime:
        runtime.provide(Db, opened)
        runtime.provide(Db, Db)
        await runtime.serve(peek)
        with pytest.raises(Misuse, match=r"there is a .*Db here already"):
            runtime.provide(Db, Db)


async def test_a_value_is_provided_as_it_is_and_nothing_else_that_is_no_function() -> None:
    lock = Lock()
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="is provided by a function"):
            runtime.provide(Db, 7)
        runtime.provide(type(lock), lock)

        @tool
        def held(it: Annotated[type(lock), Inject]) -> bool:  # type: ignore[valid-type]
            return it.locked()  # type: ignore[no-any-return]

        await runtime.serve(held)
        assert (await runtime.call(held)).value is False, "what is there is not entered"


async def test_it_may_be_provided_before_the_runtime_is_entered_and_to_a_schema_only_tool() -> None:
    runtime = Runtime()
    runtime.provide(Db, Db)

    async def run(arguments: dict[str, Any], db: Annotated[Db, Inject]) -> dict[str, Any]:
        return {**arguments, "open": db.open}

    made = Tool.from_schema("run", "", {"type": "object"}, run)
    async with runtime:
        await runtime.serve(made)
        assert (await runtime.call(made, {"a": 1})).value == {"a": 1, "open": True}
