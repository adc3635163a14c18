"""`toolwire plan`: what calls would wait for what, and which would be refused. Nothing runs."""

import sys
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
from cyclopts import Parameter

from ....protocol.failures import Misuse, failed
from ....protocol.outline import Graph, outline
from ....protocol.plan import Plan
from ..console import output
from .calls_file import asked
from .exits import Exit, as_by_ctrl_c
from .options import Json, Namespace, Nats, Tools, joined

FILE = """A JSON list of calls ({"id", "tool", "arguments", "after"}), or a model's response with calls, as OpenAI, \
Anthropic or Gemini give it; - reads standard input."""


def plan(
    file: Annotated[str, Parameter(help=FILE, allow_leading_hyphen=True, show_env_var=False)],
    /,
    *,
    nats: Nats = None,
    namespace: Namespace = "default",
    tools: Tools = (),
    json: Json = False,
) -> int:
    """Draw what calls wait for, and say which would be refused; exit 1 if any would. Nothing runs.

    Without --tools and --nats nothing is known of the tools: then only what the calls say of each other counts.
    """
    text = contents(file)

    async def drawn() -> Graph:
        async with joined(nats, namespace, tools) as runtime:
            found = asked(file, text, runtime.tools.values())
            return runtime.explain(found.calls, ids=found.ids)

    if nats or tools:
        with as_by_ctrl_c():
            graph = anyio.run(drawn)
    else:
        found = asked(file, text)
        graph = outline(Plan(found.calls, unknown, references=True, ids=found.ids))
    output().out(msgspec.json.encode(graph).decode() if json else str(graph))
    return Exit.FAILED if graph.refused else Exit.DONE


def unknown(_name: str) -> None:
    """Nothing is known of any tool."""


def contents(file: str) -> bytes:
    """What stands in a file, or in standard input. Raises Misuse."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Misuse(failed("invalid_call", f"{file} can't be read: {error.strerror or error}")) from None
