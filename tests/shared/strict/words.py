"""What the three checkers share: what was said before, and what strict mode asks of a schema."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]


class Exchange(NamedTuple):
    """A request that was taken, and the whole answer to it."""

    request: Json
    answer: Json


Before = Sequence[Exchange] | None
"""What a provider said in a conversation so far. None: nobody knows, so nothing can be held against it."""


def listed(value: Any) -> list[Any]:
    """`value` if it is a list, else none of it."""
    return value if isinstance(value, list) else []


def schema_objections(schema: Any, place: str = "()") -> Iterator[str]:
    """What keeps `schema` from OpenAI's strict mode. Anthropic asks for the closed objects only.

    Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas.
    """
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or properties:
        if schema.get("additionalProperties") is not False:
            yield f"In context={place}, 'additionalProperties' is required to be supplied and to be false."
        if missing := sorted(set(properties) - set(schema.get("required", []))):
            yield (
                f"In context={place}, 'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{missing[0]}'."
            )
    parts = {**properties, **schema.get("$defs", {}), "items": schema.get("items")}
    parts |= {str(n): part for n, part in enumerate(listed(schema.get("anyOf")))}
    for name, part in parts.items():
        yield from schema_objections(part, f"('{name}',)")
