"""Annotations made readable: what is left as it is, what is replaced, and what aliases and metadata become."""

import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Generic, LiteralString, NewType, TypeVar

import annotated_types
import pytest
from msgspec import Meta, Struct
from typing_extensions import Doc, TypeAliasType

from toolwire.protocol.annotations import readable, spelled
from toolwire.protocol.components import components
from toolwire.protocol.schema import describe
from toolwire.protocol.standins import converted

T = TypeVar("T")
U = TypeVar("U")
Place = NewType("Place", Path | str)  # type: ignore[valid-newtype]
Pair: Any = TypeAliasType("Pair", tuple[U, T], type_params=(T, U))  # type: ignore[arg-type]  # older than it
Number = NewType("Number", int)


@dataclass
class One:
    x: int


@dataclass
class Two:
    y: int


class Box(Struct, Generic[T]):
    it: T


@pytest.mark.parametrize(
    "kind",
    [int, None, Any, list[int], dict[str, list[int]], int | None, tuple[int, ...], tuple[()], Number, Box[int]],
    ids=str,
)
def test_what_msgspec_reads_is_left_as_it_is(kind: Any) -> None:
    assert readable(kind) is kind


def test_what_no_json_tells_apart_is_said_otherwise() -> None:
    assert (readable(object), readable(LiteralString), readable(Iterable[int])) == (Any, str, list[int])


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (One | Two, {"y": 1}, Two(1)),
        (One | Two | None, None, None),
        (list[One | Two], [{"x": 1}, {"y": 2}], [One(1), Two(2)]),
        (dict[str, date | str], {"a": "2026-11-22", "b": "soon"}, {"a": date(2026, 11, 22), "b": "soon"}),
        (Box[One | Two], {"it": {"y": 1}}, Box(Two(1))),
        (Path | str, "a", Path("a")),
        (Place, "a", Path("a")),
        (Pair[int, str], ["a", 1], ("a", 1)),
        (Annotated[deque[int], Meta(max_length=2)], [1], deque([1])),
        (defaultdict, {"a": 1}, {"a": 1}),
    ],
    ids=str,
)
def test_what_msgspec_can_not_read_has_a_stand_in(kind: Any, value: Any, read: Any) -> None:
    got = converted(value, readable(kind))
    assert got == read
    assert type(got) is type(read) or kind is defaultdict


def test_what_is_missing_in_a_defaultdict_is_made_where_that_is_known() -> None:
    made = [converted({}, readable(kind)) for kind in (defaultdict[str, list[int]], defaultdict[str, int], defaultdict)]
    assert [each.default_factory for each in made] == [list, int, None]


def node(kind: Any) -> Any:
    return components([readable(kind)])[0][0]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (("A name.",), {"description": "A name."}),
        ((Doc("A name."),), {"description": "A name."}),
        (("A name.", Meta(description="Meta's.")), {"description": "Meta's."}),
        ((annotated_types.Ge(1), annotated_types.Lt(9)), {"minimum": 1, "exclusiveMaximum": 9}),
        ((annotated_types.MultipleOf(2),), {"multipleOf": 2}),
        ((object, 7), {}),
    ],
    ids=str,
)
def test_metadata_says_what_a_schema_can(metadata: Any, said: dict[str, Any]) -> None:
    assert node(Annotated[(int, *metadata)]) == {"type": "integer", **said}


class Alias:
    """What the `type` statement makes, for a Python that has none."""

    __type_params__ = ()

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __repr__(self) -> str:
        return self.__name__


TypeAlias: Any = type("TypeAliasType", (Alias,), {})


def test_an_alias_may_refer_to_itself() -> None:
    json = TypeAlias("Json")
    json.__value__ = GenericAlias(dict, (str, json)) | GenericAlias(list, (json,)) | str
    kind = readable(json)
    (reference,), definitions = components([kind])
    assert reference == {"$ref": "#/$defs/Json"}
    assert definitions == {
        "Json": {
            "anyOf": [
                {"type": "object", "additionalProperties": reference},
                {"type": "array", "items": reference},
                {"type": "string"},
            ]
        }
    }
    value = {"a": ["b", {"c": []}]}
    assert converted(value, kind) == value
    both, definitions = components([kind, GenericAlias(list, (readable(json),))])
    assert both == [reference, {"type": "array", "items": reference}]
    assert list(definitions) == ["Json"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement")
def test_so_may_one_of_a_type_statement() -> None:
    names: dict[str, Any] = {}
    exec("type Json = dict[str, Json] | list[Json] | str\ndef take(it: Json) -> Json: ...", names)  # noqa: S102
    assert describe(names["take"]).read('{"it": {"a": ["b"]}}') == {"it": {"a": ["b"]}}


def test_a_stand_in_is_called_what_was_written() -> None:
    assert spelled(readable(One | Two)) == spelled(One | Two)
    assert spelled("One | Two") == "One | Two"
    assert readable(Path | str).__name__ == "Path | str"


@pytest.mark.parametrize("kind", [Callable[[], int], Callable[[One | Two], int]])
def test_what_nobody_can_read_is_left_to_be_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="Callable"):
        node(kind)
