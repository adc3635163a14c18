"""Uses that type checkers must refuse: each line that is marked for both of them, and no other.

A mark that is not needed is an error, by mypy's `warn_unused_ignores` and by what pyproject.toml says to pyright of
this folder.
"""

from typing import assert_type

from toolwire import Runtime, Tool, ToolResult, tool
from toolwire.models import openai


@tool(timeout=5.0)
async def length(text: str) -> int:
    return len(text)


async def calls(runtime: Runtime) -> None:
    wrong: ToolResult[str] = await runtime.call(length, {"text": "a"})  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    (await runtime.call(length, {"text": "a"})).value.upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await runtime.call(len, {"text": "a"})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await runtime.call(length, ["a"])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert_type(wrong, ToolResult[str])


narrow: Tool[str] = length  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


@tool(timeouts=5.0)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue]
def unknown_option() -> None: ...


@tool(read_only="yes")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def wrong_option() -> None: ...


tool(7)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
Tool.from_schema("a", "A.", "no schema", length)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]

openai("m", settings={"temprature": 0.5})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
openai("m", settings={"reasoning_effort": "hard"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
