"""Functions as they were written: names around them, what partials bind, where descriptions stand."""

import functools
from dataclasses import dataclass
from typing import Any

import pytest

from toolwire import Misuse, tool
from toolwire.protocol.docstring import explained
from toolwire.protocol.schema import describe
from toolwire.protocol.written import Written


class Outer:
    @dataclass
    class Inner:
        x: int

    @tool
    def take(self, it: "Inner") -> "Inner":
        return it


def test_names_of_the_class_around_it_are_known() -> None:
    assert Outer.take.result_type is Outer.Inner


@pytest.mark.anyio
async def test_names_of_the_functions_around_it_are_known_the_nearest_first() -> None:
    @dataclass
    class Far:
        x: int

    @dataclass
    class Local:
        z: int

    def make() -> Any:
        @dataclass
        class Local:
            y: int

        class Desk:
            def take(self, it: "Local", other: "list[Far] | None" = None) -> None: ...

        return describe(Desk().take), Local

    signature, nearest = make()
    assert nearest is not Local
    assert signature.read('{"it": {"y": 1}, "other": [{"x": 1}]}') == {"it": nearest(1), "other": [Far(1)]}


def test_names_of_who_merely_calls_are_not() -> None:
    def plain(it: "Unknown") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    @dataclass
    class Stranger:
        x: int

    def caller() -> Any:
        Unknown = Stranger  # noqa: N806, F841 - seen by nobody
        return describe(plain)

    with pytest.raises(Misuse, match="which can't be resolved"):
        caller()


def test_a_wrapped_function_is_described_as_the_one_inside() -> None:
    def inner(x: int, *, y: str = "a") -> str:
        """Do it.

        Args:
            x: The x.
            y: The y.
        """
        return y * x

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> str:
        return inner(*args, **kwargs)

    signature = describe(outer)
    assert (signature.name, signature.description, signature.result) == ("inner", "Do it.", str)
    assert signature.parameters["properties"]["x"] == {"type": "integer", "description": "The x."}


class Teller:
    """Tells fortunes."""

    def __call__(self, name: str) -> str:
        """Tell one.

        Args:
            name: Whose.
        """
        return name


class Silent:
    async def __call__(self, name: str) -> str:
        """Tell one.

        Args:
            name: Whose.
        """
        return name


def test_an_object_that_is_called_is_described_by_itself_and_by_its_call() -> None:
    for thing, description in ((Teller(), "Tells fortunes."), (Silent(), "Tell one.")):
        signature = describe(thing)
        assert (signature.name, signature.description) == (type(thing).__name__, description)
        assert signature.parameters["properties"]["name"]["description"] == "Whose."


def test_a_partial_keeps_what_it_binds_to_itself() -> None:
    def send(to: str, text: str, *, key: str, times: int = 1) -> None: ...

    written = Written(functools.partial(send, "me", key="secret"), None)
    assert list(written.parameters) == ["text", "times"]


@pytest.mark.parametrize(
    ("documentation", "told"),
    [
        ("", ("", {})),
        ("Find.\n\nNote: slowly.", ("Find.\n\nNote: slowly.", {})),
        ("Find.\n\nArgs:\n    a (int, optional): The a.\n        More of it.\n    b: With: a colon.",
         ("Find.", {"a": "The a.\nMore of it.", "b": "With: a colon."})),
        ("Find.\n\nParameters\n----------\na, b : int\n    Both.\nc : {'x', 'y'}, optional\n    The c.\n",
         ("Find.", {"a": "Both.", "b": "Both.", "c": "The c."})),
        ("Find.\n\n:param int a: The a.\n:param b: The b.\n:returns: x", ("Find.", {"a": "The a.", "b": "The b."})),
    ],
)  # fmt: skip
def test_docstrings(documentation: str, told: tuple[str, dict[str, str]]) -> None:
    assert explained(documentation) == told
