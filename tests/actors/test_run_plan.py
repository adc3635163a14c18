"""`run_plan`, and what a model is offered that may name results."""

import json
from typing import Any

import anyio
import pytest

from toolwire import Agent, Context, Runtime, ToolError, run_plan, scripted, tool
from toolwire.protocol.arguments import Checker
from toolwire.protocol.formats import strict
from toolwire.protocol.history import SystemMessage
from toolwire.protocol.referring import INSTRUCTION

pytestmark = pytest.mark.anyio


@tool
async def find(name: str) -> dict[str, str | None]:
    """Find a file."""
    return {"path": f"/{name}", "owner": None}


@tool
async def read(path: str) -> str:
    """Read a file."""
    return f"text of {path}"


@tool
async def refuse() -> None:
    """Never."""
    raise ToolError("not today")


def step(identity: str, name: str, arguments: Any = "", after: list[str] | None = None) -> dict[str, Any]:
    return {"id": identity, "tool": name, "arguments": arguments, "after": after}


FOUND = {"id": "a", "tool": "find", "result": {"path": "/x", "owner": None}}


async def test_steps_use_the_results_of_others_and_fail_alone() -> None:
    steps = [
        step("a", "find", '{"name": "x"}'),
        step("b", "read", '{"path": {"$result": "a", "path": "/path"}}'),
        step("c", "refuse", "", ["b"]),
        step("d", "read", json.dumps({"path": {"$result": "c"}})),
        step("e", "read", {"path": "as an object"}),
        step("f", "nobody"),
    ]
    async with Runtime() as runtime:
        await runtime.serve(find, read, refuse, run_plan)
        result = await runtime.call(run_plan, {"steps": steps})
    *good, failed, hanging, given, unknown = result.value
    assert good == [FOUND, {"id": "b", "tool": "read", "result": "text of /x"}]
    assert failed == {"id": "c", "tool": "refuse", "error": {"code": "failed", "message": "not today"}}
    assert (hanging["error"]["code"], unknown["error"]["code"]) == ("dependency_failed", "unknown_tool")
    assert given["result"] == "text of as an object"


async def test_a_model_carries_out_a_plan_in_one_call() -> None:
    steps = [step("a", "find", '{"name": "x"}'), step("b", "read", '{"path": {"$result": "a", "path": "/path"}}')]
    model = scripted([[("run_plan", {"steps": steps})], "done"])
    async with Runtime() as runtime:
        await runtime.serve(find, read)
        chat = await runtime.converse(Agent("planner", model, tools=[run_plan, find, read], references=True))
        reply = await chat.say("Go")
    assert [entry["result"] for entry in reply.calls[0].value] == [FOUND["result"], "text of /x"]


async def test_a_plan_within_a_plan_goes_only_so_deep() -> None:
    levels: list[int] = []

    @tool
    async def deeper(level: int, context: Context) -> Any:
        """Carry out a plan whose one step is this tool."""
        levels.append(level)
        inner = await context.call(run_plan, {"steps": [step("x", "deeper", {"level": level + 1})]})
        return inner.value

    async with Runtime() as runtime:
        await runtime.serve(run_plan, deeper)
        result = await runtime.call(run_plan, {"steps": [step("x", "deeper", {"level": 1})]})
    found = result.value
    while "result" in found[0]:
        found = found[0]["result"]
    assert found[0]["error"]["code"] == "limit_reached"
    assert levels == list(range(1, levels[-1] + 1))
    assert 10 < len(levels) < 40


async def test_a_plan_ends_with_its_callers_time(anyio_backend_name: str) -> None:
    ended: list[str] = []

    @tool
    async def endless() -> None:
        """Never end."""
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(anyio_backend_name)

    async with Runtime() as runtime:
        await runtime.serve(run_plan, endless)
        result = await runtime.call(run_plan, {"steps": [step("a", "endless")]}, timeout=0.02)
    assert result.failure is not None
    assert result.failure.code == "timed_out"
    assert ended


async def test_more_steps_than_a_response_may_have_are_refused() -> None:
    async with Runtime() as runtime:
        await runtime.serve(run_plan, find)
        steps = [step(f"s{n}", "find", '{"name": "x"}') for n in range(130)]
        result = await runtime.call(run_plan, {"steps": steps})
    codes = [entry.get("error", {}).get("code") for entry in result.value]
    assert codes == [None] * 128 + ["limit_reached"] * 2


@pytest.mark.parametrize("rules", [strict.OPENAI, strict.ANTHROPIC, strict.GEMINI])
def test_its_schema_fits_strict_modes(rules: strict.Rules) -> None:
    found = strict.strict(run_plan.spec.parameters, rules)
    assert found.schema is not None, found.reason
    arguments = {"steps": [step("a", "find", '{"name": {"$result": "b"}}')]}
    assert Checker(found.schema).judge(json.dumps(arguments)) is None


async def test_references_are_offered_where_an_agent_wants_them_and_nowhere_else() -> None:
    model = scripted([[("find", {"name": "x"}), ("read", {"path": {"$result": 1, "path": "/path"}})], "done", "plain"])
    async with Runtime() as runtime:
        await runtime.serve(find, read)
        chat = await runtime.converse(model=model, system="Be kind.", references=True)
        reply = await chat.say("Go")
        other = await runtime.converse(model=model)
        await other.say("Go")
    assert reply.calls[1].value == "text of /x"
    first, second, plain = model.requests
    assert first.messages[0] == SystemMessage(f"Be kind.\n\n{INSTRUCTION}")
    assert "$result" in json.dumps([spec.parameters for spec in first.tools])
    assert all(one is two for one, two in zip(first.tools, second.tools, strict=True)), "made once"
    assert [spec.name for spec in plain.tools] == [spec.name for spec in first.tools]
    assert "$result" not in json.dumps([spec.parameters for spec in plain.tools])
    assert not any(isinstance(message, SystemMessage) for message in plain.messages)
