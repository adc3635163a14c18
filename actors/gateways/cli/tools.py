"""`toolwire tools`: what can be called, and where it is served."""

from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import msgspec
from rich.table import Table
from rich.text import Text

from ....protocol.tools import ToolSpec
from ...wiring import Runtime
from ..console import brief, output
from .exits import Exit
from .options import Json, Namespace, Nats, Tools, joined

FLAGS = ("read_only", "idempotent", "destructive", "exclusive")


def tools(*, nats: Nats = None, namespace: Namespace = "default", tools: Tools = (), json: Json = False) -> int:
    """List the tools in reach: what they take, what they say of themselves, where they are served."""

    async def look() -> list[tuple[ToolSpec, list[str]]]:
        async with joined(nats, namespace, tools) as runtime:
            return [(spec, places(runtime, name)) for name, spec in sorted(runtime.tools.items())]

    found = anyio.run(look)
    out = output()
    if json:
        whole = [{**msgspec.to_builtins(spec), "where": where} for spec, where in found]
        out.out(msgspec.json.encode(whole).decode())
    elif found:
        out.print(table(found))
    else:
        output(stderr=True).print("nobody serves a tool there")
    return Exit.DONE


def places(runtime: Runtime, name: str) -> list[str]:
    """Who serves a tool: `here`, and the names of workers."""
    own = runtime.system.bus.instance
    return ["here" if instance == own else instance for instance in runtime.tools.entries[name].instances]


def table(found: Iterable[tuple[ToolSpec, list[str]]]) -> Table:
    """The tools as a person reads them."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("tool", "what it does", "takes", "is", "where"):
        shown.add_column(heading, overflow="fold")
    for spec, where in found:
        first = spec.description.strip().partition("\n")[0]
        shown.add_row(
            Text(brief(spec.name), "cyan"), brief(first, 200), taken(spec.parameters), flags(spec), "\n".join(where)
        )
    return shown


def taken(schema: Mapping[str, Any]) -> str:
    """The parameters: names and types, with ? for those that may be left out."""
    required = schema.get("required", ())
    named = schema.get("properties", {})
    return ", ".join(f"{brief(name)}{'' if name in required else '?'}: {kind(part)}" for name, part in named.items())


def kind(schema: Any) -> str:
    """A schema in a word or two."""
    if not isinstance(schema, Mapping):
        return "any"
    if "enum" in schema:
        return " | ".join(brief(str(choice), 20) for choice in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(kind(choice) for choice in schema["anyOf"]))
    named = schema.get("type", str(schema.get("$ref", "any")).rpartition("/")[2])
    return " | ".join(named) if isinstance(named, list) else brief(str(named), 30)


def flags(spec: ToolSpec) -> str:
    """What a tool says of its effects, and how long a call may take."""
    said = [flag for flag in FLAGS if getattr(spec, flag)]
    if spec.object:
        said.append("in order")
    if spec.timeout is not None:
        said.append(f"{spec.timeout:g} s")
    return ", ".join(said)
