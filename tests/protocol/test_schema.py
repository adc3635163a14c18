"""Functions as schemas and types: what is told of them, what is refused, and that schema and decoder agree."""

import enum
import functools
import json
import timeit
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from inspect import Parameter, Signature
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict, Union
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct
from pydantic import BaseModel, Field

from toolwire.protocol.agreement import Schema
from toolwire.protocol.arguments import Checker
from toolwire.protocol.failures import Misuse
from toolwire.protocol.schema import Inject, describe, untyped
from toolwire.protocol.tools import encode_json


class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Place:
    """Somewhere on earth."""

    name: str
    position: tuple[float, float] = (0.0, 0.0)
    near: "list[Place]" = field(default_factory=list)


class Address(TypedDict):
    street: str
    number: NotRequired[int]


class Point(NamedTuple):
    x: int
    y: int = 0


class Circle(Struct, tag="circle", frozen=True):
    radius: int
    marks: dict[int, int] = {}


class Square(Struct, tag="square", frozen=True):
    side: float
    marks: dict[str, float] = {}


@dataclass(frozen=True)
class Card:
    number: int


class Share(enum.Enum):
    HALF = 0.5
    WHOLE = 1.0
    NONE = None


class Model(BaseModel):
    name: str
    side: float = 1.0
    number: int | None = None


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = ""


@attrs.define
class Seat:
    row: int = attrs.field(validator=attrs.validators.ge(0))


class Filled:
    """What a runtime hands in."""


class Special(Filled):
    """A kind of it."""


def described(kind: Any, default: Any = Parameter.empty) -> Any:
    """A function with one parameter `it` of the type `kind`, described."""

    def function(it: Any) -> None: ...

    parameter = Parameter("it", Parameter.KEYWORD_ONLY, annotation=kind, default=default)
    function.__signature__ = Signature([parameter])  # type: ignore[attr-defined]
    return describe(function)


def schema_of(kind: Any) -> Schema:
    schema: Schema = described(kind).parameters["properties"]["it"]
    return schema


def get_weather(city: str, units: Literal["celsius", "fahrenheit"] = "celsius", *, days: int = 1) -> dict[str, float]:
    """Current weather for a city.

    Ask for one city at a time.

    Args:
        city: City name, such as "Paris".
        units: Temperature unit.
        days: How many.
    """
    return {"days": days}


def test_a_function_is_told_whole() -> None:
    signature = describe(get_weather)
    assert signature.name == "get_weather"
    assert signature.description == "Current weather for a city.\n\nAsk for one city at a time."
    assert signature.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": 'City name, such as "Paris".'},
            "units": {"enum": ["celsius", "fahrenheit"], "default": "celsius", "description": "Temperature unit."},
            "days": {"type": "integer", "default": 1, "description": "How many."},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert signature.returns == {"type": "object", "additionalProperties": {"type": "number"}}
    assert signature.result == dict[str, float]
    assert signature.optional == ("units", "days")


def test_a_function_without_parameters_takes_an_empty_object() -> None:
    def ping() -> None: ...

    signature = describe(ping)
    assert signature.parameters == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert signature.keywords(signature.decode("{}")) == {}
    assert signature.returns == {"type": "null"}


def test_what_is_omitted_is_left_to_the_function() -> None:
    sentinel = object()

    def search(query: str, limits: list[int] = [], unit: Unit = Unit.CELSIUS, how: Any = sentinel) -> None: ...  # noqa: B006

    signature = describe(search)
    properties = signature.parameters["properties"]
    assert signature.parameters["required"] == ["query"]
    assert properties["limits"]["default"] == []
    assert properties["unit"]["default"] == "celsius"
    assert properties["how"] == {}, "a default that is no JSON is not told"
    assert signature.read('{"query": "a"}') == {"query": "a", "limits": []}
    all_given = signature.decode('{"query": "a", "limits": [1], "unit": "fahrenheit", "how": null}')
    assert signature.keywords(all_given) == {"query": "a", "limits": [1], "unit": Unit.FAHRENHEIT, "how": None}


@pytest.mark.parametrize(
    ("kind", "default"), [(int, "one"), (float, float("nan")), (float, float("inf")), (int, 1.5), (str, b"a")]
)
def test_a_default_that_a_model_could_not_send_is_not_told(kind: Any, default: Any) -> None:
    schema = described(kind, default).parameters
    assert schema["required"] == []
    assert "default" not in schema["properties"]["it"]


@pytest.mark.parametrize("kind", [int, list[int], Unit, Annotated[int, Meta(ge=1)], Literal["a"], Place])
def test_who_defaults_to_none_takes_none(kind: Any) -> None:
    signature = described(kind, None)
    assert signature.parameters["properties"]["it"]["default"] is None
    assert signature.keywords(signature.decode('{"it": null}')) == {"it": None}


@pytest.mark.parametrize("kind", [int | None, Annotated[int | None, Meta(title="A")], Literal["a"] | None, None])
def test_what_takes_none_already_stays_as_it_is(kind: Any) -> None:
    assert schema_of(kind) == {
        k: v for k, v in described(kind, None).parameters["properties"]["it"].items() if k != "default"
    }


PLAIN: list[tuple[Any, Schema]] = [
    (str, {"type": "string"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (None, {"type": "null"}),
    (Any, {}),
    (Parameter.empty, {}),
    (list, {"type": "array"}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (dict, {"type": "object"}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (set[int], {"type": "array", "items": {"type": "integer"}}),
    (set, {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}}),
    (dict[int, Any], {"type": "object", "propertyNames": {"pattern": "^-?(0|[1-9][0-9]*)$"}}),
    (dict[Unit, Any], {"type": "object", "propertyNames": {"enum": ["celsius", "fahrenheit"]}}),
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (Literal["a", "b"], {"enum": ["a", "b"]}),
    (Annotated[int, Meta(ge=1, description="So many")], {"type": "integer", "minimum": 1, "description": "So many"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "schema"), PLAIN, ids=str)
def test_plain_types(kind: Any, schema: Schema) -> None:
    assert schema_of(kind) == schema


def test_nested_types_are_definitions() -> None:
    signature = described(list[Place])
    assert signature.parameters["properties"]["it"] == {"type": "array", "items": {"$ref": "#/$defs/Place"}}
    assert signature.parameters["$defs"]["Place"]["description"] == "Somewhere on earth."
    assert signature.keywords(signature.decode('{"it": [{"name": "Rome", "near": [{"name": "Ostia"}]}]}')) == {
        "it": [Place("Rome", near=[Place("Ostia")])]
    }


def test_annotated_wins_over_the_docstring() -> None:
    def find(name: Annotated[str, Meta(description="From the type.")]) -> None:
        """Find.

        Args:
            name: From the docstring.
        """

    assert describe(find).parameters["properties"]["name"]["description"] == "From the type."


@pytest.mark.parametrize(
    "documentation",
    [
        "Find it.\n\nArgs:\n    name (str): Its name.\n",
        "Find it.\n\nParameters\n----------\nname : str\n    Its name.\n",
        "Find it.\n\n:param name: Its name.\n",
    ],
    ids=["google", "numpy", "sphinx"],
)
def test_docstrings_in_three_styles(documentation: str) -> None:
    def find(name: str) -> None: ...

    find.__doc__ = documentation
    signature = describe(find)
    assert signature.description == "Find it."
    assert signature.parameters["properties"]["name"]["description"] == "Its name."


def test_a_mutable_default_is_told_and_copied_for_each_call() -> None:
    def collect(into: list[int] = [1], by: dict[str, list[int]] = {"a": []}) -> None:  # noqa: B006
        into.append(2)
        by["a"].append(3)

    signature = describe(collect)
    assert [signature.parameters["properties"][name]["default"] for name in ("into", "by")] == [[1], {"a": []}]
    for _ in range(2):
        values = signature.read("{}")
        assert values == {"into": [1], "by": {"a": []}}
        collect(**values)


def test_annotations_may_be_strings_also_of_locals() -> None:
    @dataclass
    class Local:
        x: int

    def take(a: "int", b: "Local", c: "list[Place]") -> "Local":
        return Local(a)

    signature = describe(take, names={})
    assert signature.result is Local
    assert signature.keywords(signature.decode('{"a": 1, "b": {"x": 2}, "c": []}'))["b"] == Local(2)

    def other(b: "Local") -> None: ...

    with pytest.raises(Misuse, match=r"other\(\) writes the parameter 'b' as Local, which can't be resolved"):
        describe(other, names={})
    for described in (describe(other), describe(other, names=locals())):
        assert described.parameters["$defs"]["Local"]["type"] == "object"


def test_methods_partials_and_callables_leave_out_what_is_bound() -> None:
    class Desk:
        def book(self, seat: int) -> None:
            """Book a seat."""

        def __call__(self, seat: int) -> None: ...

        @classmethod
        def open(cls, seat: int) -> None: ...

        @staticmethod
        def close(seat: int) -> None: ...

    desk = Desk()
    # A decorator in the class body sees the plain function.
    for function in (desk.book, Desk.book, desk, Desk.open, Desk.close):
        assert list(describe(function).parameters["properties"]) == ["seat"]
    assert describe(desk.book).description == "Book a seat."
    half = describe(functools.partial(functools.partial(get_weather, days=2), units="celsius"))
    assert half.name == "get_weather"
    assert list(half.parameters["properties"]) == ["city"], "what is bound by name is no model's choice"
    assert "Paris" in half.parameters["properties"]["city"]["description"]


def test_what_the_runtime_fills_is_not_shown() -> None:
    def act(a: int, context: Filled, other: Special | None = None) -> None: ...

    signature = describe(act, fills=(Filled,))
    assert signature.filled == {"context": Filled, "other": Special}
    assert list(signature.parameters["properties"]) == ["a"]
    assert signature.keywords(signature.decode('{"a": 1}')) == {"a": 1}


class Db:
    """What a process provides."""


def test_what_is_injected_is_not_shown() -> None:
    def look(
        q: str, db: Annotated[Db, Inject], other: Annotated[str, Inject()] = "x", n: Annotated[int, "How many"] = 1
    ) -> None: ...

    signature = describe(look)
    assert signature.injected == {"db": Db, "other": str}
    assert signature.needed == ("db",)
    assert list(signature.parameters["properties"]) == ["q", "n"]
    assert signature.read('{"q": "a"}') == {"q": "a"}


def test_what_is_yielded_is_the_result() -> None:
    async def count(n: int) -> AsyncIterator[int]:
        yield n

    def promised(n: int) -> AsyncIterator[int]:
        return count(n)

    async def silent(n: int):  # type: ignore[no-untyped-def]  # that is the point
        yield n

    functions: list[Any] = [count, promised, silent, get_weather]
    assert [(s.streams, s.result, s.returns) for s in map(describe, functions)] == [
        (True, int, {"type": "integer"}),
        (True, int, {"type": "integer"}),
        (True, Any, None),
        (False, dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
    ]


def test_a_schema_that_is_given_is_what_the_dict_fits() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    def run(arguments: dict[str, Any], context: Filled, db: Annotated[Db, Inject], more: int = 1) -> str: ...  # type: ignore[empty-body]

    signature = untyped("run", "Run.", schema, run, fills=(Filled,))
    assert (signature.parameters, signature.returns) == (schema, {"type": "string"})
    assert (signature.filled, signature.injected) == ({"context": Filled}, {"db": Db})
    assert signature.read('{"a": 1, "b": 2}') == {"arguments": {"a": 1, "b": 2}}
    for wrong in ("{}", '{"a": "x"}', "[]", "{", ""):
        with pytest.raises(msgspec.ValidationError):
            signature.read(wrong)


def many(*values: int) -> None: ...
def run_on_dict(arguments: dict[str, Any]) -> None: ...
def run_on_two(one: Any, other: Any) -> None: ...


@pytest.mark.parametrize(
    ("schema", "function", "said"),
    [
        ({"type": "array"}, run_on_dict, "the arguments of a tool are an object, not 'array'"),
        ({"type": "dict"}, run_on_dict, "'dict' is no type"),
        ({"type": "object"}, lambda: None, "has to take one dict of arguments"),
        ({"type": "object"}, run_on_two, "has to take one dict of arguments"),
        ({"type": "object"}, many, "takes variadic positional parameters (values)"),
    ],
)
def test_a_schema_that_can_not_be_a_tools_is_refused(schema: Schema, function: Any, said: str) -> None:
    with pytest.raises(Misuse) as refused:
        untyped("run", "", schema, function)
    assert said in refused.value.failure.message


def named(**values: int) -> None: ...
def positional(a: int, /) -> None: ...
def dunder(__a: int) -> None: ...  # noqa: PYI063 - as code of before Python 3.8 has it
def strange(a: int, b: complex) -> None: ...
def nested(a: dict[str, list[complex]]) -> None: ...
def strange_union(a: str | complex) -> None: ...
def lists_in_set(a: set[list[int]]) -> None: ...  # type: ignore[type-var, unused-ignore]
def odd_keys(a: dict[tuple[int, int], int]) -> None: ...
def nowhere(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def yielding(a: int) -> Iterator[int]:
    yield a


def gives(a: int) -> Callable[[], int]: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (many, "many() takes variadic positional parameters (values)"),
        (named, "named() takes variadic keyword parameters (values)"),
        (positional, "positional() takes positional-only parameters (a)"),
        (dunder, "dunder() has a parameter '__a'"),
        (strange, "strange() writes the parameter 'b' as complex, which has no JSON Schema"),
        (nested, "nested() writes the parameter 'a' as dict[str, list[complex]], which has no JSON Schema"),
        (strange_union, "strange_union() writes the parameter 'a' as str | complex, which has no JSON Schema"),
        (yielding, "yielding() is a generator that is not async"),
        (lists_in_set, "lists_in_set() writes the parameter 'a' as set[list[int]], which has no JSON Schema"),
        (odd_keys, "odd_keys() writes the parameter 'a' as dict[tuple[int, int], int], which has no JSON Schema"),
        (nowhere, "nowhere() writes the parameter 'a' as Nowhere, which can't be resolved"),
        (gives, "gives() writes the result as collections.abc.Callable[[], int], which has no JSON Schema"),
        (dict.update, "its signature can't be read"),
    ],
)
def test_what_can_not_be_a_tool_is_refused_in_a_sentence(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(Misuse) as refused:
        describe(function)
    assert said in refused.value.failure.message
    assert refused.value.failure.code == "invalid_call"
    assert "\n" not in refused.value.failure.message


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (float, "1", 1.0),
        (float, "-0.0", -0.0),
        (int, "1.0", 1),
        (int, "1e30", int(1e30)),
        (int | str, "1.0", 1),
        (int | float, "1.0", 1.0),
        (Any, "1.0", 1.0),
        (Literal[1, 2], "2.0", 2),
        (Level, "2.0", Level.HIGH),
        (tuple[int, float], "[1.0, 2.0]", (1, 2.0)),
        (dict[int, list[int]], '{"1": [2.0]}', {1: [2]}),
        (list[Place], '[{"name": "a", "position": [1, 2]}]', [Place("a", (1.0, 2.0))]),
        (Circle | Square, '{"type": "square", "side": 1.0, "marks": {"1": 1.0}}', Square(1.0, {"1": 1.0})),
        (Circle | Square | None, '{"type": "circle", "radius": 1.0, "marks": {"1": 1.0}}', Circle(1, {1: 1})),
        (Point, "[1.0]", Point(1)),
        (Address, '{"street": "a", "number": 2.0}', {"street": "a", "number": 2}),
        (set[int], "[1, 1]", {1}),
    ],
)
def test_numbers_are_what_the_schema_calls_them(kind: Any, text: str, value: Any) -> None:
    signature = described(kind)
    decoded = signature.keywords(signature.decode(f'{{"it": {text}}}'))["it"]
    assert decoded == value
    assert repr(decoded) == repr(value)


@pytest.mark.parametrize("text", ["true", '"1"', "1.5", "null", "[1]"])
def test_nothing_else_is_an_integer(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        described(int).decode(f'{{"it": {text}}}')


def test_a_float_that_was_right_stays_one_beside_an_integer_that_was_not() -> None:
    def both(a: int, b: float, c: Any, d: int | str) -> None: ...

    signature = describe(both)
    values = signature.keywords(signature.decode('{"a": 1.0, "b": -0.0, "c": 2.0, "d": "3"}'))
    assert repr(values) == "{'a': 1, 'b': -0.0, 'c': 2.0, 'd': '3'}"


HASHABLE: list[Any] = [str, int, float, bool, Unit, Level, Literal["a", 1], tuple[int, str], Point]
LEAVES: list[Any] = [
    *HASHABLE,
    None,
    Any,
    Place,
    Address,
    Circle | Square,
    list,
    dict,
    set,
    Annotated[int, Meta(ge=0, le=9)],
    Path,
    Share,
    Literal[True, Unit.CELSIUS],
    Place | Card,
    deque[int],
    OrderedDict[str, float],
    Counter[str],
    Model,
    Model | Place,
]

types = st.recursive(
    st.sampled_from(LEAVES) | st.sampled_from(HASHABLE).map(lambda t: set[t]),  # type: ignore[valid-type]
    lambda inner: st.one_of(
        inner.map(lambda t: list[t]),  # type: ignore[valid-type]
        inner.map(lambda t: dict[str, t]),  # type: ignore[valid-type]
        inner.map(lambda t: dict[int, t]),  # type: ignore[valid-type]
        inner.map(lambda t: dict[Unit, t]),  # type: ignore[valid-type]
        inner.map(lambda t: tuple[t, ...]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda both: GenericAlias(tuple, both)),
        inner.map(lambda t: t if t in {None, Any} else t | None),
        st.tuples(inner, inner).map(lambda both: Union[both]),  # noqa: UP007 - of what was drawn
        inner.map(lambda t: deque[t]),  # type: ignore[valid-type]
    ),
    max_leaves=4,
)

# Where both know a different world (more than a float holds; more than 4,300 digits) they may differ: see below.
numbers = (
    st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3).map(float)
)
names = st.sampled_from(
    ["1", "-1", "01", "a", "celsius", "name", "position", "near", "street", "number", "type", "side"]
)
words = st.sampled_from(["a", "celsius", "circle", "square", "1", ""]) | st.text(max_size=3)
anything = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | words, inner, max_size=3),
    max_leaves=6,
)

SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    "integer": st.integers(-1, 9) | st.integers(-1, 9).map(float),
    "number": numbers,
    "string": words,
    "boolean": st.booleans(),
    "null": st.none(),
}


def fitting(node: Schema, definitions: dict[str, Schema]) -> st.SearchStrategy[Any]:
    """Values that are nearly what a schema of ours asks: most fit, some miss a little."""
    if "$ref" in node:
        node = definitions[node["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in node:
        return st.one_of([fitting(branch, definitions) for branch in node["anyOf"]])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("type") == "array":
        return fitting_array(node, definitions)
    if node.get("type") == "object":
        return fitting_object(node, definitions)
    return SIMPLE.get(node.get("type"), anything) if isinstance(node.get("type"), str) else anything


def fitting_array(node: Schema, definitions: dict[str, Schema]) -> st.SearchStrategy[Any]:
    if "prefixItems" not in node:
        return st.lists(fitting(node.get("items", {}), definitions), max_size=3)
    items = [fitting(part, definitions) for part in node["prefixItems"]]
    return st.tuples(*items).map(list) | st.tuples(*items[:1]).map(list)


def fitting_object(node: Schema, definitions: dict[str, Schema]) -> st.SearchStrategy[Any]:
    if "properties" not in node:
        return st.dictionaries(names, fitting(node.get("additionalProperties", {}), definitions), max_size=3)
    # `near` of a Place holds places: lists of anything will do.
    parts = {k: anything if k == "near" else fitting(v, definitions) for k, v in node["properties"].items()}
    required = {k: v for k, v in parts.items() if k in node["required"]}
    return st.fixed_dictionaries(required, optional={k: v for k, v in parts.items() if k not in required})


def decodes(signature: Any, text: str) -> bool:
    try:
        signature.decode(text)
    except msgspec.ValidationError:
        return False
    return True


@given(types, st.data())
def test_schema_and_decoder_agree(kind: Any, data: st.DataObject) -> None:
    signature = described(kind)
    node, definitions = signature.parameters["properties"]["it"], signature.parameters.get("$defs", {})
    value = data.draw(st.one_of(fitting(node, definitions), fitting(node, definitions), anything))
    text = json.dumps({"it": value})
    assert (Checker(signature.parameters).judge(text) is None) == decodes(signature, text)


@pytest.mark.parametrize("kind", [Any | set[str] | set[int], Union[set[str], Point, Any]])  # noqa: UP007 - as it is drawn
def test_a_union_that_takes_anything_may_hold_what_no_other_can(kind: Any) -> None:
    signature = described(kind)
    assert Checker(signature.parameters).judge('{"it": 5}') is None
    assert decodes(signature, '{"it": [1, "a"]}')


@given(types)
def test_every_schema_is_one_that_providers_take(kind: Any) -> None:
    schema = described(kind).parameters
    Checker(schema)
    assert schema["type"] == "object"
    assert list(schema["properties"]) == schema["required"] == ["it"]
    assert json.loads(json.dumps(schema)) == schema


# Types with values of theirs, also of those whose texts a schema can only hint at by `format`.
Pair = tuple[Any, st.SearchStrategy[Any]]
OWN: list[Pair] = [
    (str, st.text()),
    (int, st.integers(-(2**63), 2**63)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (None, st.none()),
    (bytes, st.binary()),
    (datetime, st.datetimes(timezones=st.just(UTC) | st.none())),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas(timedelta(days=-999), timedelta(days=999))),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Path, st.sampled_from([Path("a"), Path("/a/b.txt"), Path()])),
    (Unit, st.sampled_from(Unit)),
    (Level, st.sampled_from(Level)),
    (Share, st.sampled_from(Share)),
    (Literal["a", True, Unit.CELSIUS], st.sampled_from(["a", True, Unit.CELSIUS])),
    (Place, st.builds(Place, st.text(), st.tuples(st.just(0.5), st.just(1.0)), st.just([Place("b")]))),
    (Circle, st.builds(Circle, st.integers(0, 9), st.just({1: 2}))),
    (Point, st.builds(Point, st.integers(0, 9))),
    (Address, st.just({"street": "a"}) | st.just({"street": "b", "number": 2})),
    (Seat, st.builds(Seat, st.integers(0, 9))),
    (Model, st.builds(Model, name=st.text(), number=st.none() | st.integers(0, 9))),
    (Annotated[Cat | Dog, Field(discriminator="kind")], st.builds(Cat) | st.builds(Dog)),
]
HASHED: list[Pair] = [pair for pair in OWN if pair[0] in (str, int, date, UUID, Path, Unit, Share)]
KEYS: list[Pair] = [pair for pair in OWN if pair[0] in (str, int, date, datetime, UUID, Path, Unit)]


def either(one: Pair, other: Pair) -> Pair:
    return (Union[one[0], other[0]], one[1] | other[1])  # noqa: UP007 - the same


def made(pair: Pair, *origins: Any) -> st.SearchStrategy[Pair]:
    """Collections of one pair's values."""
    kind, values = pair
    tuples = (GenericAlias(tuple, (kind, ...)), st.lists(values, max_size=3).map(tuple))
    return st.sampled_from(
        [(GenericAlias(o, (kind,)), st.lists(values, max_size=3).map(o)) for o in origins] + [tuples]
    )


def mapped(key: Pair, value: Pair) -> Pair:
    return (GenericAlias(dict, (key[0], value[0])), st.dictionaries(key[1], value[1], max_size=3))


def beside(one: Pair, other: Pair) -> Pair:
    return (GenericAlias(tuple, (one[0], other[0])), st.tuples(one[1], other[1]))


typed_values = st.recursive(
    st.sampled_from(OWN) | st.sampled_from(HASHED).flatmap(lambda pair: made(pair, set, frozenset)),
    lambda inner: st.one_of(
        inner.flatmap(lambda pair: made(pair, list, deque)),
        st.builds(mapped, st.sampled_from(KEYS), inner),
        st.builds(beside, inner, inner),
        st.builds(either, inner, inner),
    ),
    max_leaves=4,
)


@given(typed_values, st.data())
def test_a_schema_accepts_what_its_function_accepts(pair: Pair, data: st.DataObject) -> None:
    kind, values = pair
    signature = described(kind)
    text = encode_json({"it": data.draw(values)}).decode()
    assert Checker(signature.parameters).judge(text) is None
    again = encode_json({"it": signature.read(text)["it"]})
    assert Checker(signature.parameters).judge(again) is None


@pytest.mark.parametrize(("kind", "values"), [pair for pair in OWN if pair[0] is not None], ids=lambda v: str(v)[:40])
@given(st.data())
def test_what_was_encoded_is_decoded_to_the_same(
    kind: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value = data.draw(values)
    assert described(kind).read(encode_json({"it": value}))["it"] == value


DIFFERENCES: list[tuple[str, Any, str, bool, bool]] = [
    ("what only a format says", date, '"soon"', True, False),
    ("what only code can check", Seat, '{"row": -1}', True, False),
    ("a number that no float holds", float, "1" + "0" * 400, True, False),
    (
        "a set with bounds counts what is left of repeats",
        Annotated[set[int], Meta(max_length=2)],
        "[1, 1, 1]",
        False,
        True,
    ),
    ("a float as a key may be infinite", dict[float, int], '{"inf": 1}', False, True),
]


@pytest.mark.parametrize(("why", "kind", "text", "schema", "decoder"), DIFFERENCES)
def test_the_known_differences(why: str, kind: Any, text: str, schema: bool, decoder: bool) -> None:  # noqa: FBT001
    signature = described(kind)
    text = f'{{"it": {text}}}'
    assert (Checker(signature.parameters).judge(text) is None, decodes(signature, text)) == (schema, decoder), why


def test_it_is_quick() -> None:
    signature = describe(get_weather)
    arguments = signature.decode('{"city": "Paris", "days": 2}')
    seconds = min(timeit.repeat(lambda: signature.keywords(arguments), number=2000, repeat=5)) / 2000
    assert seconds < 5e-6, "0.2 µs where it was written; ten times that would be another algorithm"
    assert min(timeit.repeat(lambda: describe(get_weather), number=5, repeat=5)) / 5 < 5e-3
