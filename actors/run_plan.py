"""`run_plan`: a tool by which any model, however it speaks, can have several calls made that build on each other."""

from typing import Any

import msgspec
from msgspec import Struct

from ..protocol.envelope import DEPTH
from ..protocol.failures import ToolwireError
from ..protocol.messages import RunBatch
from ..protocol.tools import ToolCall, ToolResult
from .context import HOPS, Context, too_deep
from .tool import Tool, tool

MOST = 128
"""Steps of one plan that are made: as many as calls of one response."""

LONGEST = 300.0
"""Seconds that a plan may take, where its caller has not less: as long as a turn."""

DESCRIPTION = """Make several calls of tools in one go, in parallel where they do not need each other.

A step may use the result of another: in place of any argument write {"$result": ID, "path": POINTER}, where ID is the \
id of that step and POINTER a JSON Pointer into its result ("/items/0/id"; leave it out for all of it). A failed step \
fails only those that use its result. The answer lists, in the order of the steps, the result or the error of each."""

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "steps": {
            "type": "array",
            "description": "The calls to make.",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "description": "A name for this step, such as s1."},
                    "tool": {"type": "string", "description": "The name of the tool to call."},
                    "arguments": {
                        "type": "string",
                        "description": 'The arguments as JSON text, such as {"path": {"$result": "s1"}}.',
                    },
                    "after": {
                        "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                        "description": "Ids of steps that only have to end before this one, if any.",
                    },
                },
                "required": ["id", "tool", "arguments", "after"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["steps"],
    "additionalProperties": False,
}
"""Takes every strict mode. As text the arguments can't be mistaken for references of the response that holds them."""


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One call of a plan."""

    id: str
    tool: str
    arguments: str | dict[str, Any] = "{}"
    after: list[str] | None = None


# Without a docstring: to read one takes a parser, for which no program should wait that needs none.
async def carried_out(steps: list[Step], context: Context) -> list[dict[str, Any]]:
    calls = tuple(ToolCall(step.id, step.tool, step.arguments or "{}", tuple(step.after or ())) for step in steps)
    if context.depth + HOPS > DEPTH:
        raise ToolwireError(too_deep(context, calls[0].name if calls else context.tool))
    tainted = context.tainted or context.whose().tainted
    batch = RunBatch(calls, references=True, ids=True, limit=MOST, tainted=tainted)
    ended = await context.ask(context.executor, batch)
    context.tainted = context.tainted or ended.tainted
    for result in ended.results:
        if result.usage is not None and not (result.cached or result.shared):
            context.used(result.usage)
    return [told(result) for result in ended.results]


def told(result: ToolResult[Any]) -> dict[str, Any]:
    """How one step ended."""
    found: dict[str, Any] = {"id": result.id, "tool": result.name}
    if result.failure is not None:
        found["error"] = {"code": result.failure.code, "message": result.failure.message}
    else:
        found["result"] = msgspec.Raw((result.content or "null").encode())
    return found


run_plan: Tool[list[dict[str, Any]]] = tool(
    carried_out, name="run_plan", description=DESCRIPTION, timeout=LONGEST, result="spill"
).described(PARAMETERS)
"""Serve it, or put it into an agent's tools: `Agent(tools=[run_plan, search, book])`."""
