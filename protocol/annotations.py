"""Annotations as people write them, made ones that msgspec reads.

What it reads is left as it is. A part that it can't read becomes a stand-in (`standins.py`), a type alias its value.
"""

import enum
import inspect
import re
from collections import abc
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, LiteralString, NewType, Union, get_args, get_origin

from msgspec import Meta
from msgspec import inspect as kinds

from .pydantic_types import Adapter, is_field, is_pydantic
from .standins import MADE, Alias, Made, StandIn, adapted, alternatives, choice, made, stand_in

BOUNDS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length")
"""Bounds as `annotated_types` names them, and as `Meta` does."""

SAID_OTHERWISE: dict[Any, Any] = {LiteralString: str, object: Any}
"""Types that no value of JSON's tells from the ones beside them."""


def readable(annotation: Any) -> Any:
    """`annotation` as msgspec can read it. Raises TypeError for a part that nobody can."""
    return _Reading().read(annotation)


def spelled(annotation: Any) -> str:
    """`annotation` as a person would write it."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, StandIn):
        return annotation.spelled
    return inspect.formatannotation(annotation)


class _Reading:
    """One walk through an annotation. `_open` are the aliases that it is inside of, and what stands in for them."""

    def __init__(self) -> None:
        self._open: dict[Any, type[Alias] | None] = {}

    def read(self, kind: Any) -> Any:
        origin = get_origin(kind)
        arguments = get_args(kind)
        if _is_alias(origin or kind):
            return self._alias(kind, origin or kind, arguments)
        if origin is Annotated:
            return self._annotated(kind, arguments[0])
        if origin in {Union, UnionType}:
            return self._union(kind, arguments)
        if origin is Literal:
            return kind if all(map(_is_plain, arguments)) else choice(arguments, spelled(kind))
        return self._class(kind, origin, arguments)

    def _class(self, kind: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
        if (origin or kind) in MADE:
            return made(origin or kind, tuple(map(self.read, arguments)), spelled(kind))
        if not arguments or origin is abc.Callable:
            return self._plain(kind)
        inner = tuple(map(self.read, arguments))
        return kind if _same(inner, arguments) else _rebuilt(kind, origin, inner)

    def _plain(self, kind: Any) -> Any:
        if kind in SAID_OTHERWISE:
            return SAID_OTHERWISE[kind]
        if isinstance(kind, NewType):
            inner = self.read(kind.__supertype__)
            return kind if inner is kind.__supertype__ else inner
        if isinstance(kind, enum.EnumType) and not _is_uniform(kind):
            return choice(kind, spelled(kind))
        if isinstance(kind, type) and is_pydantic(kind) and not _is_model(kind):
            return adapted(Adapter(kind), spelled(kind))
        return kind

    def _annotated(self, kind: Any, inner: Any) -> Any:
        metadata = kind.__metadata__
        if any(map(is_field, metadata)):
            return adapted(Adapter(kind), spelled(kind))
        read = self.read(inner)
        metas = [meta for each in metadata if (meta := _meta(each)) is not None]
        if isinstance(read, type) and issubclass(read, Made):
            read.kind = Annotated[(read.kind, *metas)] if metas else read.kind
            return read
        if read is inner and _same(metas, metadata):
            return kind
        return Annotated[(read, *metas)] if metas else read

    def _union(self, kind: Any, members: tuple[Any, ...]) -> Any:
        given = [member for member in members if member is not NoneType]
        if len(given) > 1 and any(isinstance(member, type) and is_pydantic(member) for member in given):
            try:
                return adapted(Adapter(kind), spelled(kind))
            except TypeError:
                pass  # one of the others is of a kind that pydantic does not know
        read = tuple(map(self.read, members))
        rebuilt = kind if _same(read, members) else Union[read]  # noqa: UP007 - of as many as there are
        if _is_told_apart(rebuilt):
            return rebuilt
        standin = alternatives(tuple(part for part in read if part is not NoneType), spelled(kind))
        return standin | None if len(given) < len(members) else standin

    def _alias(self, kind: Any, alias: Any, arguments: tuple[Any, ...]) -> Any:
        if kind in self._open:
            standin = self._open[kind]
            if standin is None:
                name = re.sub(r"\W+", "_", spelled(kind).rpartition(".")[2])
                standin = self._open[kind] = stand_in(Alias, spelled(kind), name=name)
            return standin
        value = alias.__value__
        if arguments:
            given = dict(zip(alias.__type_params__, arguments, strict=True))
            value = value[tuple(given[parameter] for parameter in value.__parameters__)]
        self._open[kind] = None
        read = self.read(value)
        standin = self._open.pop(kind)
        if standin is None:
            return read
        standin.kind = read
        return standin


def _is_alias(kind: Any) -> bool:
    """Whether `kind` was made by a `type` statement, or by typing_extensions for Pythons that have none."""
    return type(kind).__name__ == "TypeAliasType"


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | NoneType) and not isinstance(value, enum.Enum)


def _is_uniform(kind: enum.EnumType) -> bool:
    """Whether the values of an Enum are what msgspec takes: all texts, or all whole numbers."""
    members: list[Any] = list(kind)
    return {type(member.value) for member in members} in ({str}, {int}, set())


def _is_model(kind: type) -> bool:
    """Whether values of a class of pydantic's are instances of it: only then needs it no stand-in."""
    return hasattr(kind, "model_validate_json")


def _is_told_apart(union: Any) -> bool:
    try:
        kinds.type_info(union)
    except (TypeError, NotImplementedError):
        return False
    return True


def _same(read: Iterable[Any], written: Iterable[Any]) -> bool:
    return [*map(id, read)] == [*map(id, written)]


def _rebuilt(kind: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    return kind.copy_with(arguments) if hasattr(kind, "copy_with") else origin[arguments]


def _meta(metadata: Any) -> Any:
    """What stands in an Annotated, as `Meta` if it says something that a schema can; None if it is of no use."""
    if isinstance(metadata, Meta):
        return metadata
    description = metadata if isinstance(metadata, str) else getattr(metadata, "documentation", None)
    if isinstance(description, str):
        return Meta(description=description)
    bounds = {name: bound for name in BOUNDS if (bound := getattr(metadata, name, None)) is not None}
    return Meta(**bounds) if bounds else None
