"""What a call touches: an object, and resources by name, which may depend on its arguments.

The part of a name before its first ":" is its kind. `file:a` is one resource of the kind `file`; `file:*`, or `file`
alone, is all of them. A name may be a template, `file:{path}`, into which arguments are filled; or a function of the
arguments gives the names. Where a name depends on what is not known yet, the result of another call, it stands for
its whole kind; where not even the kind is known, for anything that any call touches. So a call may wait for more than
it would have to, and never for less.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from .tools import ToolCall, ToolSpec

Arguments = Mapping[str, Any]
"""Decoded arguments, in which `UNKNOWN` stands in the place of each result that is not there yet."""

Resources = Callable[[ToolCall, Arguments], tuple[Collection[str], Collection[str]] | None]
"""What the function of a tool says that a call writes and reads. None: that is not known here. Raises nothing."""

Rule = Callable[[Any], Iterable[str]]
"""An author's function: from arguments, which are attributes of what it is given, to the names of resources."""

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_MARK: Final = "\0*"

_encoded = msgspec.json.Encoder(order="deterministic").encode


class Touch(NamedTuple):
    """What a call touches. `alone`: it runs alone; `anything`: it may touch whatever any call touches."""

    object: str = ""
    alone: bool = False
    anything: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


class Unknown:
    """What is not known yet. It can be put into a name, which then has a gap, and into no decision.

    Whatever is asked of it is unknown too; a function that compares it, counts it or branches on it raises TypeError.
    """

    __slots__ = ()

    def __format__(self, _spec: str) -> str:
        return _MARK

    def __add__(self, other: object) -> str:
        return _MARK + (other if isinstance(other, str) else "")

    def __radd__(self, other: object) -> str:
        return (other if isinstance(other, str) else "") + _MARK

    def __getattr__(self, name: str) -> "Unknown":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _key: object) -> "Unknown":
        return self

    def __call__(self, *_arguments: object, **_named: object) -> "Unknown":
        return self

    def __truediv__(self, _other: object) -> "Unknown":
        return self

    __rtruediv__ = __truediv__

    def _refuse(self, *_others: object) -> NoReturn:
        raise TypeError("the result of another call is not known yet")

    # `object` answers these for everything, and an answer would be a guess.
    __bool__ = __str__ = __eq__ = __ne__ = __hash__ = __iter__ = __contains__ = _refuse


UNKNOWN: Final = Unknown()


class Given:
    """Arguments as attributes, with the defaults of the schema for those that are not there."""

    def __init__(self, arguments: Arguments, schema: Mapping[str, Any]) -> None:
        properties = schema.get("properties", {})
        named = [(name, node) for name, node in properties.items() if isinstance(node, dict)]
        defaults = {name: node["default"] for name, node in named if "default" in node}
        self.__dict__.update(defaults | dict(arguments))


def split(name: str) -> tuple[str, str]:
    """The kind of a resource, and which one of it: "" for all of them."""
    kind, _, part = name.partition(":")
    return kind, "" if part == "*" else part


def fields(template: str) -> list[str]:
    """The arguments that a name is made of. Raises ValueError for what is no template, saying why."""
    found: list[str] = _FIELD.findall(template)
    rest = _FIELD.sub("", template)
    if "{" in rest or "}" in rest or "" in found:
        raise ValueError(f"{template!r} has braces that do not enclose the name of a parameter")
    if found and "{" in template.partition(":")[0]:
        raise ValueError(f"{template!r} has no kind: write one and a colon before the first brace, as in file:{{path}}")
    return found


def templated(names: Iterable[str]) -> bool:
    """Whether any of these names depends on the arguments."""
    return any("{" in name for name in names)


def touched(spec: ToolSpec, call: ToolCall, arguments: Arguments | None, resources: Resources | None) -> Touch:
    """What a call touches; `arguments` is None where they can't be read."""
    reads = [_filled(name, arguments, spec) for name in spec.reads]
    writes = [_filled(name, arguments, spec) for name in spec.writes]
    anything = False
    if spec.computed:
        found = None if resources is None or arguments is None else resources(call, arguments)
        anything = found is None
        more_writes, more_reads = ((), ()) if found is None else found
        writes += more_writes
        reads += more_reads
    anything = anything or "" in reads or "" in writes
    written = {*writes}
    return Touch(spec.object, spec.exclusive, anything, tuple({*reads} - written), tuple(written))


def ruled(
    writes: Rule | None, reads: Rule | None, arguments: Arguments, schema: Mapping[str, Any]
) -> tuple[set[str], set[str]] | None:
    """What the functions of a tool say that a call writes and reads. None where one of them raises, or says nothing."""
    given = Given(arguments, schema)
    try:
        found = tuple(
            {_whole(name) for name in ([] if rule is None else _listed(rule(given)))} for rule in (writes, reads)
        )
    except Exception:  # noqa: BLE001 - an author's function may raise anything
        return None
    return None if "" in found[0] | found[1] else (found[0], found[1])


def clash(one: Touch, other: Touch) -> str:
    """Why two calls can't run at the same time, in a few words; "" if they can."""
    if one.alone or other.alone:
        return "exclusive"
    if one.object and one.object == other.object:
        return "same object"
    for mine, others in ((one.writes, (*other.writes, *other.reads)), (one.reads, other.writes)):
        for name in mine:
            for another in others:
                (kind, part), (other_kind, other_part) = split(name), split(another)
                if kind == other_kind and (part == other_part or not part or not other_part):
                    return f"resource {name if part else another}"
    if (one.anything and (other.anything or other.reads or other.writes)) or (
        other.anything and (one.reads or one.writes)
    ):
        return "resources not known yet"
    return ""


def _listed(names: object) -> Iterable[str]:
    return [names] if isinstance(names, str) else names  # type: ignore[return-value]  # what is none raises where it is read


def _whole(name: str) -> str:
    """A name, or if it has a gap its kind; "" if that has one."""
    if _MARK not in name:
        return name
    kind, _, part = name.partition(":")
    return f"{kind}:*" if part and _MARK not in kind else ""


def _filled(name: str, arguments: Arguments | None, spec: ToolSpec) -> str:
    """A name with arguments in it, or its kind if one of them is not known; "" if it has none."""
    if "{" not in name:
        return name
    kind, colon, _ = name.partition(":")
    if "{" in kind or not colon:
        return ""

    def value(field: re.Match[str]) -> str:
        return _MARK if arguments is None else _text(field[1], arguments, spec)

    return _whole(_FIELD.sub(value, name))


def _text(field: str, arguments: Arguments, spec: ToolSpec) -> str:
    """An argument as a part of a name. What may be written in two ways is written in one."""
    value = arguments.get(field)
    if value is None:
        node = spec.parameters.get("properties", {}).get(field)
        value = node.get("default") if isinstance(node, dict) and field not in arguments else None
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Unknown):
        return _MARK
    try:
        return _encoded(int(value) if isinstance(value, float) and value.is_integer() else value).decode()
    except Exception:  # noqa: BLE001 - something in it is not known yet
        return _MARK
