"""`toolwire tools`: what can be called, where it is served, and what a model will stumble over."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from ....protocol.review import Review, review
from ....protocol.tools import ToolSpec
from ...wiring import Runtime
from ..console import brief, output
from .exits import Exit
from .options import Json, Namespace, Nats, Tools, joined

FLAGS = ("read_only", "idempotent", "destructive", "exclusive")

Check = Annotated[bool, Parameter(name="--check", help="Say what a model or a provider stumbles over.", negative="")]
Strict = Annotated[bool, Parameter(name="--strict", help="As --check; exit 1 if anything was found.", negative="")]


def tools(
    *,
    nats: Nats = None,
    namespace: Namespace = "default",
    tools: Tools = (),
    json: Json = False,
    check: Check = False,
    strict: Strict = False,
) -> int:
    """List the tools in reach: what they take, what they say of themselves, where they are served.

    With --check: missing, one-word, over-long and double descriptions, parameters without one, names that providers
    refuse, and how many characters each schema adds to a request.
    """

    async def look() -> list[tuple[ToolSpec, list[str]]]:
        async with joined(nats, namespace, tools) as runtime:
            return [(spec, places(runtime, name)) for name, spec in sorted(runtime.tools.items())]

    found = anyio.run(look)
    if not found and not json:
        output(stderr=True).print("nobody serves a tool there")
    elif check or strict:
        return checked(review(spec for spec, _ in found), json=json, strict=strict)
    elif json:
        whole = [{**msgspec.to_builtins(spec), "where": where} for spec, where in found]
        output().out(msgspec.json.encode(whole).decode())
    else:
        output().print(table(found))
    return Exit.DONE


def checked(found: Review, *, json: bool, strict: bool) -> int:
    """Show what there is to mend."""
    out = output()
    if json:
        out.out(msgspec.json.encode(found).decode())
    else:
        out.print(reviewed(found))
    return Exit.FAILED if strict and found.found else Exit.DONE


def reviewed(found: Review) -> Table:
    """What there is to mend, as a person reads it: the tools with the longest schemas cost most."""
    shown = Table(box=None, pad_edge=False, header_style="bold", show_footer=True, footer_style="bold")
    shown.add_column("tool", f"{len(found.tools)} tools", overflow="fold")
    shown.add_column("characters", f"{found.characters:,}", justify="right")
    shown.add_column("to mend", f"{found.found} to mend" if found.found else "nothing to mend", overflow="fold")
    for each in found.tools:
        said = "\n".join(brief(finding.message, 200) for finding in each.findings)
        name = brief(each.name) + (" (lazy)" if each.lazy else "")
        shown.add_row(Text(name, "cyan"), f"{each.characters:,}", said)
    return shown


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
    """What a tool says of itself: its version, whether it is loaded, its effects, how long a call may take."""
    said = [f"version {brief(spec.version, 20)}"] if spec.version else []
    if spec.lazy:
        said.append(f"lazy, until {spec.lazy}")
    said += [flag for flag in FLAGS if getattr(spec, flag)]
    if spec.object:
        said.append("in order")
    if spec.timeout is not None and spec.timeout != math.inf:  # an agent: as long as its limits say
        said.append(f"{spec.timeout:g} s")
    said += [flag for flag in ("share", "hedge") if getattr(spec, flag)]
    if spec.retry is not None:
        said.append(f"{spec.retry.times} retries")
    if spec.cache is not None:
        said.append(f"cached {spec.cache:g} s")
    if spec.needs is not None:
        said.append(f"needs {brief(spec.needs, 5) if isinstance(spec.needs, str) else f'{spec.needs:g} s'}")
    return ", ".join(said)
