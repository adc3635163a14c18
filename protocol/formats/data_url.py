"""Bytes as a URL that holds them: `data:image/png;base64,…` (RFC 2397)."""

import re
from base64 import b64decode, b64encode

from ..blob import Blob

_URL = re.compile(r"data:(?P<type>[^,]*);base64,(?P<data>[A-Za-z0-9+/=]*)")


def data_url(blob: Blob) -> str:
    """`blob` as a URL."""
    return f"data:{blob.media_type};base64,{base64_of(blob)}"


def blob_in(url: object, name: str = "") -> Blob | None:
    """The blob that `url` holds; None for a URL of another kind."""
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    return from_base64(found["type"], found["data"], name) if found else None


def base64_of(blob: Blob) -> str:
    """The bytes of `blob` as base64 text."""
    return b64encode(blob.data).decode()


def from_base64(media_type: str, data: str, name: str = "") -> Blob:
    """The blob whose bytes `data` says. Raises ValueError for what is no base64, in either alphabet."""
    return Blob(media_type, b64decode(data.replace("-", "+").replace("_", "/"), validate=True), name)
