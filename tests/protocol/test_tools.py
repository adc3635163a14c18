"""ToolSpec, ToolCall and ToolResult as values."""

from dataclasses import dataclass

import msgspec
import pytest

from toolwire.protocol.failures import CallFailed, failed
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec, TypedResult, typed


@dataclass
class Weather:
    city: str
    celsius: float


def test_repeatable_and_ordered() -> None:
    assert not ToolSpec("t").repeatable
    assert ToolSpec("t", read_only=True).repeatable
    assert ToolSpec("t", idempotent=True).repeatable
    assert not ToolSpec("t", read_only=True).ordered
    for spec in (
        ToolSpec("t", object="o"),
        ToolSpec("t", exclusive=True),
        ToolSpec("t", writes=("w",)),
        ToolSpec("t", reads=("r",)),
    ):
        assert spec.ordered


def test_a_spec_is_small_on_the_wire() -> None:
    assert msgspec.json.encode(ToolSpec("t")) == b'{"name":"t"}'


def test_arguments_become_text_once_and_share_nothing() -> None:
    arguments = {"city": "Paris"}
    call = ToolCall("1", "t", arguments)
    text = call.text()
    arguments["city"] = "Rome"
    assert text == '{"city":"Paris"}'
    assert ToolCall("1", "t", "as {it} came").text() == "as {it} came"
    assert ToolCall("1", "t").text() == "{}"
    with pytest.raises(TypeError):
        ToolCall("1", "t", {"x": object()}).text()


def test_value_of_a_success_and_of_a_failure() -> None:
    good: ToolResult[object] = ToolResult("1", "t", '{"city":"Paris","celsius":21}')
    assert good.ok
    assert good.value == {"city": "Paris", "celsius": 21}
    failure = failed("timed_out", "late")
    bad: ToolResult[object] = ToolResult("1", "t", failure=failure)
    assert not bad.ok
    with pytest.raises(CallFailed) as caught:
        _ = bad.value
    assert caught.value.failure is failure


def test_neither_content_nor_failure_is_an_internal_fault() -> None:
    with pytest.raises(CallFailed, match="internal: a result without content"):
        _ = ToolResult("1", "t").value


def test_a_typed_result_gives_the_declared_type_and_equals_in_all_else() -> None:
    plain: ToolResult[object] = ToolResult(
        "1", "t", '{"city":"Paris","celsius":21}', attempts=2, seconds=0.5, worker="w"
    )
    result = typed(plain, Weather)
    assert isinstance(result, TypedResult)
    assert result.value == Weather("Paris", 21.0)
    for field in ToolResult.__struct_fields__:
        assert getattr(result, field) == getattr(plain, field)


def test_a_value_that_the_tool_did_not_promise_is_a_failed_call() -> None:
    result = typed(ToolResult("1", "count", '"many"'), int)
    with pytest.raises(CallFailed, match="'count' says that it returns int, and did not: Expected `int`") as caught:
        _ = result.value
    assert (caught.value.failure.code, caught.value.failure.effect) == ("invalid_result", "done")
    with pytest.raises(CallFailed, match=r"returns list\[int\], and did not"):
        _ = typed(ToolResult("1", "count", '"many"'), list[int]).value


def test_values_do_not_change() -> None:
    result: ToolResult[object] = ToolResult("1", "t", "1")
    with pytest.raises(AttributeError):
        result.content = "2"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, -float("inf")], {"deep": {"er": float("nan")}}])
def test_a_number_that_json_lacks_does_not_become_null(value: object) -> None:
    with pytest.raises(ValueError, match="NaN"):
        ToolCall("a", "b", {"x": value}).text()
    assert ToolCall("a", "b", {"x": None}).text() == '{"x":null}'
