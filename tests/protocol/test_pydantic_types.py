"""Pydantic's own types: read by pydantic, strictly, and refused in one sentence; never imported by us."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from msgspec import Struct
from pydantic import BaseModel, Field, HttpUrl, RootModel
from pydantic.dataclasses import dataclass

from toolwire import Misuse
from toolwire.protocol.arguments import Checker
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
