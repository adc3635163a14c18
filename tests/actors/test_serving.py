"""What can be served, under which names; and what is refused, saying why."""

import functools
from functools import partialmethod
from typing import Any, ClassVar

import anyio
import pytest

from toolwire import Misuse, Runtime, ToolCall, ToolError, tool
from toolwire.actors.serving import described, methods, offering, tool_of
from toolwire.protocol.naming import PLAIN, naming

pytestmark = pytest.mark.anyio


@tool
async def alone(x: int) -> int:
    return x


def plain(x: int = 1) -> int:
    """A plain function."""
    return x


class Files:
    """Every public method is a tool."""

    kind: ClassVar[str] = "files"

    def __init__(self) -> None:
        self.content: dict[str, str] = {}
        self.on_write = None

    def write(self, name: str, text: str) -> None:
        self.content[name] = text

    async def read(self, name: str) -> str:
        return self.content[name]

    @staticmethod
    def limits() -> int:
        return 10

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @property
    def size(self) -> int:
        return len(self.content)

    def _private(self) -> None: ...


class Marked:
    """Only what is marked is a tool."""

    @tool(name="begin", read_only=True)
    async def start(self) -> str:
        return "started"

    def helper(self) -> str:
        return "not a tool"


class Counter:
    """Has state, and a method that breaks it."""

    built = 0

    def __init__(self) -> None:
        type(self).built += 1
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    def crash(self) -> None:
        self.count = -100
        raise ZeroDivisionError("broken")

    def refuse(self) -> None:
        raise ToolError("not now")


def names(thing: object, prefix: str = "", namespace: str = "") -> list[str]:
    return sorted(offering(thing, naming(prefix, namespace), "i").tools)


def test_each_public_method_is_a_tool() -> None:
    assert names(Files()) == ["limits", "named", "read", "write"]


def test_if_any_is_marked_only_the_marked_ones() -> None:
    assert names(Marked()) == ["begin"]
    assert offering(Marked(), PLAIN, "i").tools["begin"].spec.read_only


def test_a_prefix_is_put_before_each() -> None:
    assert names(Marked(), "car") == ["car_begin"]
    assert names(alone, "car") == ["car_alone"]
    assert names(plain, "car") == ["car_plain"]


def test_a_namespace_stands_before_a_dot_and_outermost() -> None:
    assert names(alone, namespace="car") == ["car.alone"]
    assert names(Marked(), "old", "home.car") == ["home.car.old_begin"]


@pytest.mark.parametrize("name", ["", "x" * 300, "a\nb", " a", "\ud800", "a\x00"])
def test_a_name_that_nothing_can_have_is_refused(name: str) -> None:
    with pytest.raises(Misuse, match=r"test_serving\.plain: "):
        offering(tool(name=name)(plain), PLAIN, "i")


@pytest.mark.parametrize("name", ["a.b", "get weather", "$JS.API.>", "größe", "class", "*", "x" * 256])
async def test_a_name_that_providers_refuse_is_none_the_worse(name: str) -> None:
    async with Runtime() as runtime:
        await runtime.serve(tool(name=name)(plain))
        assert (await runtime.call(name, {"x": 5})).value == 5


def test_methods_of_one_object_share_its_door_and_objects_do_not() -> None:
    one, two = offering(Files(), PLAIN, "i"), offering(Files(), PLAIN, "i")
    owners = [{spec.object for spec in each.specs.values()} for each in (one, two)]
    assert all(len(owner) == 1 for owner in owners)
    assert owners[0] != owners[1]
    assert one.limit == 1
    assert offering(alone, PLAIN, "i").specs["alone"].object == ""


def test_functions_partials_and_bound_methods() -> None:
    assert names(plain) == ["plain"]
    assert names(functools.partial(plain, x=2)) == ["plain"]
    assert names(Files().write) == ["write"]


class Empty:
    def _private(self) -> None: ...


@pytest.mark.parametrize("thing", [object(), Empty(), Empty])
def test_what_has_nothing_to_serve_is_refused(thing: object) -> None:
    with pytest.raises(Misuse, match="no public method to serve"):
        offering(thing, PLAIN, "i")


@pytest.mark.parametrize("thing", [5, "text", []], ids=repr)
def test_nor_is_a_value_a_tool(thing: object) -> None:
    with pytest.raises(Misuse):
        offering(thing, PLAIN, "i")


def test_two_methods_of_one_name_are_refused() -> None:
    class Twice:
        @tool(name="same")
        def one(self) -> None: ...

        @tool(name="same")
        def two(self) -> None: ...

    with pytest.raises(Misuse, match=r"'same' is served twice: by .*Twice\.one and by .*Twice\.two"):
        methods(Twice(), PLAIN, "o")


def test_where_a_tool_comes_from() -> None:
    assert described(alone).endswith("test_serving.alone")
    assert described(tool(Files().read)).endswith("test_serving.Files.read")


def test_one_tool_or_an_object_of_many() -> None:
    assert tool_of(alone) is alone
    made = tool_of(plain)
    assert made is not None
    assert made.function is plain
    assert tool_of(Files()) is None


async def test_an_object_keeps_its_state_and_its_order() -> None:
    async with Runtime() as runtime:
        await runtime.serve(Files(), Counter(), alone)
        calls = [ToolCall("w", "write", {"name": "a", "text": "x"}), ToolCall("r", "read", {"name": "a"})]
        assert [result.value for result in await runtime.call_many(calls)] == [None, "x"]
        many = [ToolCall(str(n), "add", "{}") for n in range(50)]
        assert [result.value for result in await runtime.call_many(many)] == list(range(1, 51))


async def test_calls_of_one_object_never_overlap_while_others_run_beside_them() -> None:
    inside = 0
    gate = anyio.Event()

    class Slow:
        async def step(self) -> None:
            nonlocal inside
            inside += 1
            assert inside == 1
            await gate.wait()
            inside -= 1

    @tool
    async def opens() -> None:
        gate.set()

    async with Runtime() as runtime:
        await runtime.serve(Slow(), opens)
        calls = [ToolCall("1", "step"), ToolCall("2", "step"), ToolCall("3", "opens")]
        with anyio.fail_after(5):
            assert all(result.ok for result in await runtime.call_many(calls))


async def test_an_instance_stays_whatever_it_raises() -> None:
    async with Runtime() as runtime:
        await runtime.serve(Counter())
        await runtime.call("add")
        failure = (await runtime.call("crash")).failure
        assert failure is not None
        assert (failure.code, failure.message) == ("failed", "ZeroDivisionError: broken")
        assert (await runtime.call("add")).value == -99


async def test_a_class_is_built_once_and_anew_when_it_crashes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "toolwire")
    Counter.built = 0
    async with Runtime() as runtime:
        await runtime.serve(Counter)
        assert Counter.built == 1
        assert [(await runtime.call("add")).value for _ in range(2)] == [1, 2]
        failure = (await runtime.call("refuse")).failure
        assert failure is not None
        assert (failure.code, failure.message) == ("failed", "not now")
        assert (await runtime.call("add")).value == 3
        assert Counter.built == 1
        failure = (await runtime.call("crash")).failure
        assert failure is not None
        assert failure.code == "internal"
        assert (await runtime.call("add")).value == 1
        assert Counter.built == 2


async def test_a_class_that_crashes_on_and_on_is_unreachable_and_takes_nobody_along(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL", "toolwire")

    class Hopeless:
        def crash(self) -> None:
            raise ZeroDivisionError

    async with Runtime() as runtime:
        await runtime.serve(Hopeless, alone)
        codes: list[Any] = []
        with anyio.fail_after(20):
            while "unreachable" not in codes:
                failure = (await runtime.call("crash")).failure
                codes.append(failure and failure.code)
        assert set(codes) == {"internal", "unreachable"}
        assert (await runtime.call(alone, {"x": 3})).value == 3
        assert set(runtime.tools) == {"crash", "alone"}


class Kinds:
    """Methods of every kind."""

    @classmethod
    @tool
    def above(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @tool
    @classmethod
    def below(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @staticmethod
    @tool
    def static_above(x: int) -> str:
        return f"static {x}"

    @tool
    @staticmethod
    async def static_below(x: int) -> str:
        return f"static {x}"


class Unmarked:
    def base(self, x: int, times: int) -> int:
        return x * times

    double = partialmethod(base, times=2)

    @classmethod
    def made(cls, x: int) -> str:
        return f"{cls.__name__} {x}"


class Called:
    async def __call__(self, x: int) -> int:
        return x


async def test_methods_of_every_kind_are_served() -> None:
    async with Runtime() as runtime:
        await runtime.serve(Kinds(), Unmarked, Called())
        told = [
            (await runtime.call(name, {"x": 2})).value for name in ("above", "below", "static_above", "static_below")
        ]
        assert told == ["Kinds 2", "Kinds 2", "static 2", "static 2"]
        assert [(await runtime.call(name, {"x": 2})).value for name in ("double", "made", "Called")] == [
            4,
            "Unmarked 2",
            2,
        ]
        assert list(runtime.tools["double"].parameters["properties"]) == ["x"]
