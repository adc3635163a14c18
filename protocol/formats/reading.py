"""Reading what others wrote without losing a byte of what is not ours to understand.

What has to go back as it came is kept as `msgspec.Raw`, and stands so in what the translations give: encoding it again
writes the same bytes. `plain` gives the values in their place, for a program that hands them to somebody's SDK.
"""

import json
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from ..tools import encode_json

Json = dict[str, Any]
T = TypeVar("T")

decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def read(heard: object, decoder: "msgspec.json.Decoder[T]") -> T:
    """`heard`, as JSON text or decoded, by a typed decoder.

    Raises ValueError for what is no JSON, msgspec.ValidationError (which is one) for another shape.
    """
    text = heard if isinstance(heard, bytes) else encode_json(heard)
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Half a surrogate pair, which a piece of a stream may end in, is JSON by RFC 8259 but not for msgspec.
        return decoder.decode(clean(json.dumps(json.loads(text), ensure_ascii=False)))


def text_of(raw: Raw) -> str:
    """The JSON text that `raw` holds."""
    return bytes(raw).decode()


def plain(value: Any) -> Any:
    """`value` with plain JSON values in the place of every Raw. Whole numbers of any length survive."""
    if isinstance(value, Raw):
        return json.loads(bytes(value))
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list) else value


def object_text(arguments: str) -> str:
    """`arguments`, if they are a JSON object: who gets a history parses what stands in it, and refuses the rest."""
    return arguments if is_object(arguments) else encode_json({"malformed_arguments": clean(arguments)}).decode()


def is_object(text: str) -> bool:
    """Whether `text` is a whole JSON object, and nothing else."""
    try:
        decode_object(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def object_raw(arguments: str) -> Raw:
    """`arguments` as an object that is encoded already."""
    return Raw(object_text(arguments).encode())


def given(fields: Json) -> Json:
    """`fields` without those that say nothing: null, "", an empty list or object. `false` and 0 say something."""
    return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


def clean(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON can say and UTF-8 can't."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
