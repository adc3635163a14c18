"""The decorator: what a function becomes as a tool, and what it stays."""

import math
from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field

from toolwire import Context, Misuse, Runtime, Tool, tool
from toolwire.actors.tool import CONCURRENCY, encoded
from toolwire.protocol.tools import ToolSpec

pytestmark = pytest.mark.anyio


@dataclass
class Weather:
    city: str
    celsius: float


@tool
async def bare(city: str, units: Literal["c", "f"] = "c") -> Weather:
    """Current weather for a city.

    Args:
        city: City name, such as "Paris".
        units: Temperature unit.
    """
    return Weather(city, 21.0 if units == "c" else 70.0)


@tool(
    name="fetch.it",
    description="Fetches.",
    timeout=2,
    read_only=True,
    idempotent=True,
    exclusive=True,
    writes={"b", "a"},
    reads=frozenset({"c"}),
    concurrency=3,
)
def optioned(context: Context, text: str) -> int:
    return len(text)


class Model(BaseModel):
    x: int = Field(serialization_alias="y")


class Printer:
    def __init__(self, name: str) -> None:
        self.name = name

    @tool
    def print_(self, text: str) -> str:
        """Print."""
        return f"{self.name}: {text}"


async def test_it_stays_the_function_that_it_is() -> None:
    assert await bare("Paris", units="f") == Weather("Paris", 70.0)
    assert bare.__doc__ is not None
    assert bare.__doc__.startswith("Current weather")
    assert repr(bare) == "<Tool bare>"


def test_what_is_destructive_is_told_so() -> None:
    assert tool(destructive=True)(lambda: None).spec.destructive


def test_bare_it_takes_all_from_the_function() -> None:
    assert isinstance(bare, Tool)
    assert bare.name == bare.spec.name == bare.__name__ == "bare"
    assert bare.spec.description == "Current weather for a city."
    assert bare.spec.parameters["required"] == ["city"]
    assert bare.spec.parameters["properties"]["city"]["description"] == 'City name, such as "Paris".'
    assert bare.spec.parameters["properties"]["units"] == {
        "enum": ["c", "f"],
        "default": "c",
        "description": "Temperature unit.",
    }
    assert bare.result_type is Weather
    assert bare.is_async
    assert bare.concurrency == CONCURRENCY


def test_options_stand_in_the_spec() -> None:
    spec = optioned.spec
    assert spec == ToolSpec(
        "fetch.it",
        "Fetches.",
        spec.parameters,
        {"type": "integer"},
        read_only=True,
        idempotent=True,
        timeout=2,
        exclusive=True,
        writes=("a", "b"),
        reads=("c",),
        isolation="thread",
    )
    assert optioned.concurrency == 3
    assert not optioned.is_async


def test_a_context_is_filled_in_and_not_shown() -> None:
    assert list(optioned.spec.parameters["properties"]) == ["text"]
    assert optioned.context_parameters == ("context",)


def test_called_on_a_function_that_is_there() -> None:
    def plain(x: int) -> int:
        return x

    made = tool(plain)
    assert made.function is plain
    assert made(3) == 3


def test_as_a_method_it_is_the_tool_of_that_very_object() -> None:
    one, two = Printer("one"), Printer("two")
    assert one.print_("x") == "one: x"
    assert two.print_("x") == "two: x"
    assert isinstance(Printer.print_, Tool)
    assert list(Printer.print_.spec.parameters["properties"]) == ["text"]


def test_renamed_it_is_the_same_under_another_name() -> None:
    made = optioned.renamed("get", owner="o.1")
    assert (made.name, made.spec.object, made.concurrency) == ("get", "o.1", 3)
    assert made.spec.parameters == optioned.spec.parameters
    assert optioned.name == "fetch.it"


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_time_limit_is_more_than_nothing(timeout: float) -> None:
    with pytest.raises(Misuse, match="slow: timeout must be more than 0 s"):

        @tool(timeout=timeout)
        def slow() -> None: ...


class Opaque:
    pass


def test_a_type_without_a_schema_is_refused_naming_parameter_and_type() -> None:
    with pytest.raises(Misuse, match=r"picky\(\).*'thing'.*Opaque"):

        @tool
        def picky(thing: Opaque) -> None: ...


@pytest.mark.parametrize("options", [{}, {"read_only": True}])
def test_a_tool_is_made_once_and_not_of_a_class(options: Any) -> None:
    made = tool(many_of_them)
    with pytest.raises(Misuse, match="'many_of_them' is a tool already: say @tool once"):
        tool(**options)(made)
    with pytest.raises(Misuse, match=r"Opaque is a class, which makes no tool: serve\(Opaque\) serves its methods"):
        tool(**options)(Opaque)


def many_of_them(items: list[int]) -> None: ...


def many(*items: int) -> None: ...


def named(**items: int) -> None: ...


def placed(item: int, /) -> None: ...


@pytest.mark.parametrize("function", [many, named, placed])
def test_so_is_a_parameter_that_no_call_can_name(function: Any) -> None:
    with pytest.raises(Misuse, match=r"\(\) takes"):
        tool(function)


def test_an_object_whose_call_is_async_and_a_partial() -> None:
    class Caller:
        async def __call__(self, x: int) -> int:
            return x

    def add(x: int, y: int) -> int:
        return x + y

    assert tool(Caller()).is_async
    assert list(tool(partial(add, y=1)).spec.parameters["properties"]) == ["x"]


class Clerk:
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
    def static_above(x: int) -> int:
        return x

    @tool
    @staticmethod
    def static_below(x: int) -> int:
        return x


def test_class_methods_and_static_methods_whatever_stands_above() -> None:
    clerk = Clerk()
    assert (clerk.above(1), clerk.below(2), Clerk.below(3)) == ("Clerk 1", "Clerk 2", "Clerk 3")
    assert (clerk.static_above(4), clerk.static_below(5), Clerk.static_below(6)) == (4, 5, 6)
    for made in (clerk.below, clerk.static_above, clerk.static_below):
        assert isinstance(made, Tool)
        assert list(made.spec.parameters["properties"]) == ["x"]


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def run(arguments: dict[str, Any]) -> int:
    return int(arguments["a"])


async def test_from_a_schema() -> None:
    made = Tool.from_schema("run.it", "Runs it.", SCHEMA, run, read_only=True, timeout=2.0, concurrency=1)
    assert made.spec == ToolSpec(
        "run.it", "Runs it.", SCHEMA, {"type": "integer"}, read_only=True, timeout=2.0, isolation="thread"
    )
    assert (made({"a": 1}), made.concurrency, made.checker.schema) == (1, 1, SCHEMA)
    async with Runtime() as runtime:
        await runtime.serve(made)
        assert (await runtime.call(made, {"a": 1})).value == 1
        refused = (await runtime.call("run.it", {"a": "x"})).failure
        assert refused is not None
        assert (refused.code, refused.details["errors"][0]["pointer"]) == ("invalid_arguments", "/a")


def test_from_no_schema() -> None:
    with pytest.raises(Misuse, match="'dict' is no type"):
        Tool.from_schema("run", "", {"type": "dict"}, run)
    with pytest.raises(Misuse, match="run: timeout must be more than 0 s"):
        Tool.from_schema("run", "", SCHEMA, run, timeout=0)


def test_isolation_is_by_process_or_none_at_all() -> None:
    with pytest.raises(Misuse, match="isolation is 'process' or None, not 'box'"):
        tool(isolation="box")(base)  # type: ignore[call-overload]
    made = tool(base, isolation="process")
    assert (made.spec.isolation, made.is_plain) == ("process", False)
    assert tool(base, isolation=None).spec.isolation == "thread"


def base(x: int) -> int:
    return x


def test_options_hold_whether_they_stand_above_or_beside() -> None:
    def plain(x: int) -> int:
        return x

    above, beside = tool(timeout=3.0, version="2")(plain), tool(plain, timeout=3.0, version="2")
    assert (
        above.spec
        == beside.spec
        == ToolSpec(
            "plain", "", above.spec.parameters, {"type": "integer"}, timeout=3.0, version="2", isolation="thread"
        )
    )


@pytest.mark.parametrize(
    ("value", "content"),
    [(Path("a/b"), '"a/b"'), (deque([1]), "[1]"), ({"a": PurePosixPath("c")}, '{"a":"c"}'), (Model(x=1), '{"y":1}')],
    ids=str,
)
def test_a_result_that_json_carries_with_some_help(value: object, content: str) -> None:
    assert encoded(value, 1_000) == (content, None)


class Rude:
    """A value that can't be read."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # that is the point
        raise KeyError("no")


NOT_JSON = [object(), {1, object()}, {"a": "\ud800"}, Rude(), {(1, 2): 3}, 1j, math.nan, {"a": [None, (-math.inf,)]}]


@pytest.mark.parametrize("value", NOT_JSON)
def test_a_result_that_json_can_not_carry(value: object) -> None:
    content, failure = encoded(value, 1_000)
    assert content is None
    assert failure is not None
    assert (failure.code, failure.effect) == ("invalid_result", "done")


@pytest.mark.parametrize("value", [None, {"a": [None, 1.5]}, [10**30, None], [msgspec.Raw(b"null")], "null"])
def test_nothing_is_no_number(value: object) -> None:
    assert encoded(value, 1_000)[1] is None


def test_a_result_that_holds_itself() -> None:
    value: list[Any] = []
    value.append(value)
    content, failure = encoded(value, 1_000)
    assert content is None
    assert failure is not None
    assert failure.code == "invalid_result"


def test_a_result_that_is_too_large() -> None:
    content, failure = encoded("x" * 999, 1_000)
    assert content is None
    assert failure is not None
    assert (failure.code, failure.effect) == ("too_large", "done")
    assert failure.details == {"size": 1_001, "limit": 1_000}
    assert encoded("x" * 998, 1_000) == (f'"{"x" * 998}"', None)


async def test_a_schema_in_a_known_dialect_is_normalised_if_asked() -> None:
    schema = {"type": "dict", "properties": {"rate": {"type": "float"}}, "required": ["rate"]}

    async def double(arguments: dict[str, Any]) -> float:
        return float(2 * arguments["rate"])

    with pytest.raises(Misuse):
        Tool.from_schema("double", "Twice the rate.", schema, double)
    made = Tool.from_schema("double", "Twice the rate.", schema, double, normalise=True)
    async with Runtime() as runtime:
        await runtime.serve(made)
        assert (await runtime.call(made, {"rate": 1.5})).value == 3.0
