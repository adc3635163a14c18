"""Types of pydantic's, read and written by pydantic itself. It is never imported here: who has such a type has it."""

import re
import sys
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import msgspec

from .agreement import REF, Schema

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]")
"""What a title may hold, `Page[int]`, and no reference can."""
KEPT = 1024
"""Adapters that are kept: one is made in 50 µs to some ms, and reads in 2."""


def is_pydantic(kind: Any) -> bool:
    """Whether pydantic has to read values of the class `kind`, and is there to do so."""
    told = hasattr(kind, "__get_pydantic_core_schema__") or hasattr(kind, "__pydantic_validator__")
    return told and "pydantic" in sys.modules and not issubclass(kind, msgspec.Struct)


def is_field(metadata: Any) -> bool:
    """Whether what stands in an Annotated is for pydantic: a Field, a Discriminator, a validator."""
    return type(metadata).__module__.partition(".")[0] == "pydantic"


class Adapter:
    """Pydantic's view of one type. Raises TypeError for one that it can't read."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        try:
            self._adapter = sys.modules["pydantic"].TypeAdapter(kind)
        except Exception as error:
            raise TypeError(_first_line(error)) from error

    def schema(self, *, output: bool) -> Schema:
        """Its schema: of what it takes, or of what it gives. A model stands under `$defs`."""
        try:
            found: Schema = self._adapter.json_schema(
                ref_template=REF + "{model}", mode="serialization" if output else "validation"
            )
        except Exception as error:
            raise TypeError(_first_line(error)) from error
        title = found.get("title")
        if isinstance(self.kind, type) and isinstance(title, str) and found.get("type") == "object":
            inner = found.pop("$defs", {})
            name = _NO_NAME.sub("_", title)
            while name in inner:
                name += "_"
            return {"$ref": REF + name, "$defs": {name: found} | inner}
        return found

    def read(self, value: Any) -> Any:
        """`value` (plain JSON values) as pydantic reads it from JSON text. Raises ValueError in one sentence.

        Strict, so that it takes what its schema takes: else "1" would be an integer here, and none to whoever checks
        by the schema.
        """
        try:
            return self._adapter.validate_json(msgspec.json.encode(value), strict=True)
        except ValueError as error:
            raise ValueError(_told(error)) from error


@lru_cache(KEPT)
def adapter(kind: Hashable) -> Adapter:
    """The adapter of a class."""
    return Adapter(kind)


def dumped(value: Any) -> bytes:
    """`value` as JSON text, as its model writes it."""
    kind: Any = type(value)
    text: bytes = adapter(kind)._adapter.dump_json(value, by_alias=True)  # noqa: SLF001 - of this file
    return text


def _told(error: ValueError) -> str:
    """What pydantic found wrong, without the value and the link that it adds."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return _first_line(error)
    told = []
    for each in errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(map(str, each["loc"]))
        told.append(f"{where}: {each['msg']}" if where else each["msg"])
    return "; ".join(told)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
