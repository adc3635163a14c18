"""The schema that an answer has to fit, as a provider is told it."""

from typing import Any

from ...protocol.formats import strict
from ...protocol.tools import encode_json

Json = dict[str, Any]

NAME = "answer"
"""What the schema is called where a provider asks for a name."""


def openai_schema(schema: Json) -> Json | None:
    """`schema` as OpenAI takes it, strictly where it can; None where it takes none: at its top has to be an object."""
    found = strict.strict(schema, strict.OPENAI).schema
    if found is not None:
        return {"name": NAME, "schema": found, "strict": True}
    if schema.get("type") != "object":
        return None
    return {"name": NAME, "schema": schema, "strict": False}


def anthropic_schema(schema: Json) -> Json | None:
    """`schema` in the form that Anthropic demands, None if there is none."""
    return strict.strict(schema, strict.ANTHROPIC).schema


def instructed(schema: Json) -> str:
    """The same as an instruction, for a model that can't be held to it."""
    text = encode_json(schema).decode()
    return f"Your final answer must be nothing but one JSON value, without a code fence, that fits this schema: {text}"
