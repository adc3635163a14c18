"""From the JSON text of a call to what a function is called with."""

import json
import timeit
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from toolwire import Runtime, ToolCall, tool
from toolwire.actors.intake import Customs, Intake, types_of
from toolwire.protocol.failures import Failure
from toolwire.protocol.sanitizers import Refused, Sanitizers
from toolwire.protocol.secret import Secret

pytestmark = pytest.mark.anyio


@tool
async def search(query: str, limit: int = 10, tags: list[str] | None = None) -> dict[str, Any]:
    return {"query": query, "limit": limit, "tags": tags}


@tool
async def login(user: str, password: Secret[str], codes: list[Secret[str]] | None = None) -> str:
    raise ValueError(f"wrong: {user} {password} {password.reveal()!r} {[code.reveal() for code in codes or []]}")


def intake(made: Any, customs: Customs | None = None) -> Intake:
    return Intake(made, Customs() if customs is None else customs)


def test_what_is_right_is_decoded_and_nothing_more() -> None:
    assert intake(search).take('{"query": "a", "limit": 3}') == ({"query": "a", "limit": 3}, ())


def test_what_is_mended_is_decoded_and_told() -> None:
    values, mended = intake(search).take('{"query": "a", "limit": "3", "tags": "x"}')
    assert values == {"query": "a", "limit": 3, "tags": ["x"]}
    assert [m.pointer for m in mended] == ["/limit", "/tags"]
    for text in ('{"query": "a", "limit": "3"}', "{'query': 'a'}"):
        with pytest.raises(Refused):
            intake(search, Customs(lenient=False)).take(text)
    assert intake(search, Customs(repair=True)).take("{'query': 'a'}")[0] == {"query": "a"}


def test_the_safe_rules_come_after_the_full_check_and_before_ones_own() -> None:
    rules = Sanitizers()
    rules.add("query", len)
    values, mended = intake(search, Customs(sanitizers=rules)).take('{"query": "e\\u0301", "limit": "3"}')
    assert values == {"query": 1, "limit": 3}
    assert [m.what for m in mended] == ["a number in quotes", "text in Unicode's form NFC", "sanitized"]
    with pytest.raises(Refused, match="expected an integer"):
        intake(search).take('{"query": "\\u0000", "limit": "x"}')
    with pytest.raises(Refused, match=r"U\+0000"):
        intake(search).take('{"query": "\\u0000"}')


class Place(Struct, forbid_unknown_fields=True):
    lat: float
    near: "list[Place]" = []


@tool
async def many(
    n: int = 0,
    x: Annotated[float, Meta(ge=0)] = 0.0,
    b: bool = False,  # noqa: FBT001, FBT002 - tools are called by name
    ns: list[int] | None = None,
    unit: Literal["C", "F", 1] = "C",
    place: Place | None = None,
    counts: dict[str, int] | None = None,
    either: int | list[str] = 0,
    pair: tuple[int, str] = (0, ""),
    tags: frozenset[str] = frozenset(),
) -> None: ...


atoms = st.sampled_from(
    [None, True, False, 0, 1, -1, 1.0, 1.5, 2**63, "", "a", "5", "1.0", "true", "c", "F", "a,b", "[1]"]
)
texts = st.sampled_from(
    ['{"lat": 1}', '{"lat": "1"}', '[1, "2"]', '["a"]', '{"a": 1}', '{"lat": 1, "near": {"lat": 2}}']
)
values = st.recursive(
    atoms | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["lat", "near", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)
names = st.sampled_from([*many.spec.parameters["properties"], "other"])


@given(st.dictionaries(names, values, max_size=4))
def test_the_types_take_just_what_the_schema_takes_mended_or_not(arguments: dict[str, Any]) -> None:
    text, checker = json.dumps(arguments), many.checker
    for lenient in (True, False):
        understood = checker.understand(text, lenient=lenient)
        taker = intake(many, Customs(lenient=lenient))
        if isinstance(understood, Failure):
            with pytest.raises(Refused) as refused:
                taker.take(text)
            assert refused.value.failure == understood, "the same errors, for what both refuse"
        else:
            mended = () if understood is None else understood.mended
            assert taker.take(text)[1] == mended, "what the schema takes the types take"


def test_types_are_those_of_the_parameters() -> None:
    assert types_of(search) == {"query": str, "limit": int, "tags": list[str] | None}


def test_a_right_call_pays_for_one_glance() -> None:
    take, text = intake(search).take, json.dumps({"query": "weather in Paris", "limit": 3, "tags": ["a", "b"]})
    assert min(timeit.repeat(lambda: take(text), number=2000, repeat=5)) / 2000 < 12e-6, "0.9 µs"


CANARY = "correct-horse-battery"


@pytest.mark.parametrize(
    "arguments",
    [
        {"user": "u", "password": CANARY},
        {"user": "u", "password": "x", "codes": [CANARY]},
        {"user": "u", "password": f'a "{CANARY}"\n'},
        {"user": "u", "pasword": CANARY},
        {"user": 5, "password": CANARY},
        {"user": "u", "password": [CANARY, 5]},
    ],
    ids=str,
)
async def test_no_secret_comes_back(arguments: dict[str, Any]) -> None:
    async with Runtime() as runtime:
        await runtime.serve(login)
        (result,) = await runtime.call_many([ToolCall("1", "login", json.dumps(arguments))])
        assert result.failure is not None
        assert result.failure.code in {"failed", "invalid_arguments"}
        assert CANARY not in repr(result)


async def test_a_sanitizer_that_breaks_is_told_as_a_failure_and_nothing_ran() -> None:
    rules = Sanitizers()
    rules.add(int, lambda value: 1 // value)
    with pytest.raises(ZeroDivisionError):
        intake(search, Customs(sanitizers=rules)).take('{"query": "a", "limit": 0}')
