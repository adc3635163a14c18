"""What a call came to, as the text that a model reads, and back.

A result is JSON. A string among results is told as it is, without quotes and escapes, which models read worse; unless
it would then be taken for another value ("5", "null", ""), so that nothing is lost on the way back.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from ..blob import Blob, joined
from ..failures import Failure
from ..history import ToolMessage, told_failure, tool_message
from ..tools import ToolResult, encode_json
from .reading import clean

Part = str | Blob | dict[str, Any]
"""What a result may come in: a text, bytes, or something that has no word here and is kept as a value."""

_decode_text = msgspec.json.Decoder(str).decode
_check = msgspec.json.Decoder(Raw).decode
_BEGINNINGS = frozenset('"{[-0123456789tfn \t\r\n')


def told_text(content: str) -> str:
    """A JSON text as a model reads it."""
    if not content.startswith('"'):
        return content
    try:
        text = _decode_text(content)
    except msgspec.DecodeError:
        return content
    return content if not text or text.isspace() or _is_json(text) else text


def heard_text(text: str) -> str:
    """The JSON text that was told as `text`."""
    return text if _is_json(text) else encode_json(clean(text)).decode()


def heard_content(parts: Sequence[Part]) -> str:
    """The JSON text of a result that came in parts: one text with its blobs, or a list of whatever there is."""
    blobs = [part for part in parts if isinstance(part, Blob)]
    rest = [part for part in parts if not isinstance(part, Blob)]
    if not rest and blobs:
        return joined(None, blobs)
    if len(rest) == 1 and isinstance(rest[0], str):
        return joined(heard_text(rest[0]), blobs)
    values = [msgspec.json.decode(heard_text(part)) if isinstance(part, str) else part for part in parts]
    return encode_json(values).decode() if values else '""'


def heard_message(id_: str, name: str, parts: Sequence[Part], *, failed: bool | None = None) -> ToolMessage:
    """A result as others told it. Where a format can't say whether it `failed`, our own way to tell a failure does."""
    content = heard_content(parts)
    failure = told_failure(content)
    if failed is None:
        failed = failure is not None
    if failed and failure is None:
        said = "\n".join(part for part in parts if isinstance(part, str))
        return tool_message(ToolResult(id_, name, failure=Failure("failed", said or "the tool failed")))
    return ToolMessage(id_, name, content, failed)


def _is_json(text: str) -> bool:
    if text[:1] not in _BEGINNINGS:
        return False
    try:
        _check(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True
