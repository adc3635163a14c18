"""What a tool's author says that its calls touch: names of resources, templates of names, or a function."""

import inspect
from collections.abc import Collection, Iterable
from typing import Any

from msgspec import Struct

from ..protocol.failures import Misuse, failed
from ..protocol.resources import Arguments, Rule, fields, ruled

Touched = Collection[str] | Rule
"""Names, `{"calendar", "file:{path}"}`, or a function of the arguments, `lambda a: {f"file:{a.path}"}`."""


class Touching(Struct, frozen=True):
    """The functions of one tool, which live where it is served. None where it has names instead."""

    writes: Rule | None = None
    reads: Rule | None = None

    def __bool__(self) -> bool:
        return self.writes is not None or self.reads is not None

    def touched(self, arguments: Arguments, schema: dict[str, Any]) -> tuple[Collection[str], Collection[str]] | None:
        """What a call with these arguments writes and reads; None if they do not say."""
        return ruled(self.writes, self.reads, arguments, schema)


NOTHING = Touching()


def names(tool: str, option: str, touched: Touched, parameters: dict[str, Any]) -> tuple[tuple[str, ...], Rule | None]:
    """The names of an option `writes` or `reads`, or its function. Raises Misuse for what is neither."""
    if callable(touched):
        if inspect.iscoroutinefunction(touched):
            raise refused(tool, f"{option} is names, or a function that is not async")
        return (), touched
    if isinstance(touched, str) or not isinstance(touched, Iterable):
        raise refused(tool, f"{option} is a set of names, or a function of the arguments, not {touched!r:.100}")
    properties = parameters.get("properties", {})
    for name in touched:
        try:
            unknown = [field for field in fields(name) if field not in properties]
        except (TypeError, ValueError) as error:
            raise refused(tool, f"{option}: {error}") from error
        if unknown:
            raise refused(tool, f"{option}: {name!r} names {unknown[0]!r}, which is no parameter")
    return tuple(sorted({*touched})), None


def refused(tool: str, said: str) -> Misuse:
    """What is raised for an option of `tool`."""
    return Misuse(failed("invalid_call", f"{tool}: {said}"))
