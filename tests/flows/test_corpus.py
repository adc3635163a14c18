"""Bad input, from `tests/corpus/`, through a whole runtime: each ends as its line says, within its time, and the next
call works.

A text in the corpus is a string, or a list of pieces, each with how often it stands there.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import pytest
from msgspec import Meta, Struct

from toolwire import Agent, Limits, Misuse, Runtime, ToolCall, ToolResult, ToolSpec, scripted, tool

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[1] / "corpus"
SECONDS = 2.0
"""What longer than this takes hangs."""

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text("ascii").splitlines()]


def text(pieces: str | list[list[Any]]) -> str:
    return pieces if isinstance(pieces, str) else "".join(piece * times for piece, times in pieces)


def why(row: Any) -> str:
    said: str = row["why"]
    return said


class Place(Struct, forbid_unknown_fields=True):
    lat: float
    lon: float


@tool(read_only=True)
async def weather(
    city: str, days: Annotated[int, Meta(ge=0)] = 1, units: Literal["celsius", "fahrenheit"] = "celsius"
) -> dict[str, Any]:
    return {"city": city, "days": days, "units": units}


@tool
async def note(tags: list[str], place: Place | None = None, strict: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
    return {"tags": tags, "place": place, "strict": strict}


@tool
async def sized(size: Literal["xl", "Xl", "M"], level: Literal[1, 2] = 1) -> list[Any]:
    return [size, level]


@tool
async def ping() -> str:
    return "pong"


@tool
async def echo(value: Any) -> Any:
    return value


@tool
async def say(text: str) -> str:
    return text


@tool
async def length(text: str) -> int:
    return len(text)


@tool
async def fails() -> None:
    raise ValueError("as it does")


TOOLS = [weather, note, sized, ping, echo, say, length, fails]


@asynccontextmanager
async def runtime() -> AsyncIterator[Runtime]:
    async with Runtime() as made:
        await made.serve(*TOOLS)
        yield made
        with anyio.fail_after(SECONDS):
            assert (await made.call(echo, {"value": "next"})).value == "next"


def code(result: ToolResult[Any]) -> str:
    """How a call ended: `ok`, or the code of its failure, which says something."""
    if result.failure is None:
        return "ok"
    assert result.failure.message
    assert len(result.failure.message) < 20_000
    return result.failure.code


def asked(row: Row) -> list[ToolCall]:
    calls = [
        ToolCall(text(call["id"]).replace("{n}", str(n)), call["name"], text(call["arguments"]))
        for n in range(row.get("repeat", 1))
        for call in row["calls"]
    ]
    assert calls
    return calls


@pytest.mark.parametrize("row", rows("model_outputs"), ids=why)
async def test_whatever_a_model_puts_out(row: Row) -> None:
    calls = asked(row)
    async with runtime() as made:
        model = scripted([calls, "done"])
        limits: Limits = {"same_call": len(calls)}
        chat = await made.converse(Agent("tester", model, tools=TOOLS, references=True, limits=limits))
        with anyio.fail_after(SECONDS):
            reply = await chat.say("go")
        assert (reply.text, reply.ended) == ("done", "answered")
        assert [result.name for result in reply.calls] == [call.name for call in calls]
        codes = [code(result) for result in reply.calls]
        assert Counter(codes) == row["counts"] if "counts" in row else codes == row["expect"]
        for result, value in zip(reply.calls, row.get("values", ()), strict=False):
            assert result.value == value


@pytest.mark.parametrize("row", rows("strings"), ids=why)
async def test_whatever_stands_in_a_text(row: Row) -> None:
    call = ToolCall("1", row.get("tool", "say"), text(row["arguments"]))
    async with runtime() as made:
        with anyio.fail_after(SECONDS):
            (result,) = await made.call_many([call])
        assert code(result) == row["expect"]
        if "value" in row:
            assert result.value == (row["value"] if isinstance(row["value"], int) else text(row["value"]))


@pytest.mark.parametrize("row", rows("tool_names"), ids=why)
async def test_whatever_a_tool_is_called(row: Row) -> None:
    name = text(row["name"])

    async def other() -> str:
        return "other"

    async with runtime() as made:
        with anyio.fail_after(SECONDS):
            assert code(await made.call(name)) == row["expect"]
            (result,) = await made.call_many([ToolCall("1", name)])
            assert code(result) == row["expect"]
            if row["served"]:
                await made.serve(tool(name=name)(other))
                assert (await made.call(name)).value == "other"
                assert [result.value for result in await made.call_many([ToolCall("1", name)])] == ["other"]
            else:
                with pytest.raises(Misuse) as misuse:
                    await made.serve(tool(name=name)(other))
                assert misuse.value.failure.code == "invalid_call"
                assert len(str(misuse.value)) < 1000
            assert (await made.call("echo", {"value": 1})).value == 1


def built(row: Row) -> Any:
    """The schema of a line, which may be too long to be written down."""
    times = row.get("times", 0)
    inner: Any
    match row.get("build"):
        case "doubling":
            nodes: Row = {f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(times)}
            return {"$defs": {**nodes, f"n{times}": {"type": "object"}}, "$ref": "#/$defs/n0"}
        case "enum":
            inner = {"enum": [f"v{n}" for n in range(times)]}
        case "allOf":
            inner = {"allOf": [{"minLength": n % 9} for n in range(times)]}
        case "anyOf":
            inner = {"anyOf": [{"const": n} for n in range(times)]}
        case "levels":
            inner = {}
            for _ in range(times):
                inner = {"items": inner}
        case _:
            return row["schema"]
    return {"type": "object", "properties": {"x": inner}}


@pytest.mark.parametrize("row", rows("schema_attacks"), ids=why)
async def test_whatever_a_foreign_schema_asks(row: Row) -> None:
    """A tool announced from elsewhere, where nobody is: what gets past the check is `unreachable`."""
    spec = ToolSpec("attack", parameters=built(row))
    async with runtime() as made:
        expected = {"invalid_arguments", "invalid_call", "unreachable"} if row["expect"] == "any" else {row["expect"]}
        for _ in range(2):
            made.tools.add(spec, "elsewhere")
            assert made.tools["attack"] == spec, "it is listed, whatever its schema is"
            with anyio.fail_after(SECONDS):
                (result,) = await made.call_many([ToolCall("1", "attack", text(row["arguments"]))])
            assert code(result) in expected


def test_the_corpus_is_as_large_as_it_has_to_be() -> None:
    sizes = {name: len(rows(name)) for name in ("model_outputs", "schema_attacks", "strings", "tool_names")}
    assert all(size >= least for size, least in zip(sizes.values(), (150, 50, 60, 80), strict=True)), sizes
