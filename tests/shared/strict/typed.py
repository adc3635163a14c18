"""What the SDKs' own types say of a request: a type checker's word, at run time and of the whole body.

Pydantic reads an `Iterable` only when somebody walks it, and takes a TypedDict with keys that it does not know. Here
the first is a list, and the second is refused.
"""

import types
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator, ValidationError

PARAMETERS = {
    "openai": ("openai.types.chat.completion_create_params", "CompletionCreateParams"),
    "openai_responses": ("openai.types.responses.response_create_params", "ResponseCreateParams"),
    "anthropic": ("anthropic.types.message_create_params", "MessageCreateParams"),
}
"""Where the type of a whole request stands; its two kinds end in NonStreaming and Streaming."""


def objection(format_name: str, body: dict[str, Any]) -> str:
    """Where `body` is not what the SDK's own method would take, "" for nowhere."""
    try:
        _judge(format_name, streaming=bool(body.get("stream")))(body)
    except ValidationError as error:
        # Of all alternatives that it is none of, the one that it came nearest to: deep, and of its own type or role.
        errors = error.errors(include_url=False, include_context=False)
        others = {each["loc"][:-1] for each in errors if each["type"] == "literal_error"}
        nearest = max(errors, key=lambda each: (each["loc"][:-1] not in others, len(each["loc"])))
        return f"{'.'.join(str(part) for part in nearest['loc'][1:] if '[' not in str(part))}: {nearest['msg']}"
    return ""


def parameters(format_name: str) -> frozenset[str]:
    """The names of all parameters of a request."""
    return frozenset(_kind(format_name, streaming=True).__annotations__)


@cache
def _judge(format_name: str, *, streaming: bool) -> Callable[[Any], object]:
    several: Any = types.GenericAlias(list, (_kind(format_name, streaming=streaming),))
    validate = SchemaValidator(_strictly(TypeAdapter(several).core_schema)).validate_python
    return lambda body: validate([body])


def _kind(format_name: str, *, streaming: bool) -> Any:
    module, name = PARAMETERS[format_name]
    return getattr(import_module(module), name + ("Streaming" if streaming else "NonStreaming"))


def _strictly(schema: Any) -> Any:
    if isinstance(schema, dict):
        told = {key: _strictly(value) for key, value in schema.items()}
        if told.get("type") == "generator":
            return {**told, "type": "list"}
        if told.get("type") == "model":  # the SDK takes its own answers as they are; a body is nobody's instance
            return {"type": "is-instance", "cls": told["cls"], **({"ref": told["ref"]} if "ref" in told else {})}
        if told.get("type") == "typed-dict" and (told.get("config") or {}).get("extra_fields_behavior") is None:
            return {**told, "extra_behavior": "forbid"}
        return told
    if isinstance(schema, (list, tuple)):
        return type(schema)(map(_strictly, schema))
    return schema
