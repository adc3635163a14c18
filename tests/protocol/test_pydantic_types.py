"""Pydantic's own types: read by pydantic, strictly, and refused in one sentence; never imported by us."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import pydantic
import pytest
from msgspec import Struct
from pydantic import BaseModel, Field, HttpUrl, RootModel
from pydantic.dataclasses import dataclass

from toolwire import Misuse
from toolwire.protocol.arguments import Checker
from toolwire.protocol.failures import Failure
from toolwire.protocol.output import output_of
from toolwire.protocol.schema import describe
from toolwire.protocol.standins import written


class Order(BaseModel):
    """What somebody wants."""

    sku: str = Field(alias="article", description="The article.")
    count: int = 1

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic shows it
    @property
    def total(self) -> int:
        return self.count * 2


class Many(RootModel[list[int]]):
    pass


@dataclass
class Checked:
    x: Annotated[int, Field(gt=0)]


class Struck(Struct):
    """msgspec's, with a door for pydantic."""

    x: int

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise AssertionError("nobody asks")


def take(
    order: Order,
    url: HttpUrl | None = None,
    checked: Checked | None = None,
    path: Path | None = None,
    struck: Struck | None = None,
    many: Many | None = None,
) -> Order:
    return order


def test_it_describes_and_reads_its_own() -> None:
    signature = describe(take)
    order = signature.parameters["$defs"]["Order"]
    assert (order["description"], list(order["properties"])) == ("What somebody wants.", ["article", "count"])
    text = (
        '{"order": {"article": "a", "count": 2.0}, "url": "http://x.y", "checked": {"x": 1}, "path": "p",'
        ' "struck": {"x": 1}, "many": [1]}'
    )
    assert Checker(signature.parameters).judge(text) is None
    assert signature.read(text) == {
        "order": Order(article="a", count=2),
        "url": HttpUrl("http://x.y"),
        "checked": Checked(1),
        "path": Path("p"),
        "struck": Struck(1),
        "many": Many([1]),
    }


def test_what_it_gives_has_the_schema_of_what_it_writes() -> None:
    returns = describe(take).returns
    assert returns is not None
    assert list(returns["$defs"]["Order"]["properties"]) == ["article", "count", "total"]
    plain = msgspec.json.decode(written(Order(article="a")))
    assert plain == {"article": "a", "count": 1, "total": 2}
    assert Checker(returns).check(plain) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"order": {"article": "a", "count": "2"}}', "count: Input should be a valid integer"),
        ('{"order": {}}', "article: Field required"),
        ('{"order": {"article": "a"}, "checked": {"x": 0}}', "x: Input should be greater than 0"),
        ('{"order": {"article": "a"}, "url": "x"}', "Input should be a valid URL"),
    ],
)
def test_what_it_refuses_it_refuses_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said) as refused:
        describe(take).read(text)
    assert "\n" not in str(refused.value)
    assert "http" not in str(refused.value)


class Opaque:
    pass


def test_what_it_can_not_read_is_refused() -> None:
    def odd(it: Annotated[Opaque, Field(description="?")]) -> None: ...
    def late(it: "Annotated[Literal[1], pydantic.Discriminator('kind')]") -> None: ...

    for function in (odd, late):
        with pytest.raises(Misuse, match=r"the parameter 'it'.*has no JSON Schema"):
            describe(function)


def test_nobody_imports_it_who_does_not_have_it() -> None:
    program = """
import sys
from dataclasses import dataclass
from toolwire import tool

class Interop:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_): raise AssertionError

@tool
def f(x: int) -> None: ...

try:
    @tool
    def g(x: Interop) -> None: ...
except Exception as error:
    assert "has no JSON form" in str(error), error
else:
    raise SystemExit("taken")
assert "pydantic" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]


class Inner(BaseModel):
    number: int


class Outer(BaseModel):
    model_config = pydantic.ConfigDict(title="Inner")
    inner: Inner


class Titled(BaseModel):
    model_config = pydantic.ConfigDict(title="What is wanted? (100%/~)")
    number: int


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (Page[int], {"items": [1]}, {"items": ["a"]}),
        (Page[Inner], {"items": [{"number": 1}]}, {"items": [1]}),
        (Outer, {"inner": {"number": 1}}, {"inner": {"inner": 1}}),
        (Titled, {"number": 1}, {}),
    ],
)
def test_a_model_may_have_any_title(kind: Any, right: Any, wrong: Any) -> None:
    for asked, put in ((kind, lambda value: value), (list[kind], lambda value: [value])):
        output = output_of(asked)
        heard = output.heard(json.dumps(put(right)))
        assert output.typed(heard) == put(kind.model_validate(right))
        assert isinstance(output.heard(json.dumps(put(wrong))), Failure)

    def take(thing: Any) -> None: ...

    take.__annotations__["thing"] = kind
    checker = Checker(describe(take).parameters)
    assert not checker.check({"thing": right})
    assert checker.check({"thing": wrong})
