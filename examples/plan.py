"""What calls would wait for, drawn before any of them runs: python examples/plan.py."""

import anyio

from toolwire import Runtime, ToolCall, tool


@tool(read_only=True)
async def search(word: str) -> list[dict[str, str]]:
    """Find files."""
    return [{"path": f"{word}.md"}]


@tool(writes={"file:{path}"})
async def write(path: str, text: str) -> str:
    """Write a file."""
    return f"{len(text)} characters in {path}"


@tool(reads={"file"})
async def count() -> int:
    return 2


CALLS = [
    ToolCall("find", "search", {"word": "notes"}),
    ToolCall("todo", "write", {"path": "todo.md", "text": "Buy milk."}),
    ToolCall("note", "write", {"path": {"$result": "find", "path": "/0/path"}, "text": "See todo.md."}),
    ToolCall("sum", "count"),
]


async def main() -> None:
    async with Runtime() as runtime:
        await runtime.serve(search, write, count)
        print(runtime.explain(CALLS))


anyio.run(main)
