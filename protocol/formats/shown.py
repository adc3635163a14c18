"""What a user showed, in the words of others: piece by piece, in order; as text where they take no such bytes."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from ..blob import FETCHED, Blob, type_of
from ..history import UserMessage
from ..said import Piece, pieces, said
from .data_url import blob_in

T = TypeVar("T")

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""The images that OpenAI and Anthropic take."""
PDF = "application/pdf"

_TEXTS = frozenset({"application/json", "application/xml", "application/yaml", "image/svg+xml"})


def shown(message: UserMessage, text: Callable[[str], T], blob: Callable[[Blob], T | None]) -> list[T]:
    """The pieces of `message`. A blob that `blob` has no form for is told as text."""
    found: list[T] = []
    for piece in pieces(message.text, message.blobs, message.places):
        if isinstance(piece, str):
            found.append(text(piece))
            continue
        told = blob(piece) if piece.data or piece.url else None
        found.append(text(in_words(piece)) if told is None else told)
    return found


def heard_said(found: Iterable[Piece]) -> UserMessage:
    """A user's message that came in these pieces. Raises ValueError for bytes that are none."""
    message = UserMessage(*said(found))
    for blob in message.blobs:
        if not (blob.data or blob.url):
            raise ValueError(f"a part of the type {blob.media_type!r} without a byte in it has no word here")
    return message


def in_words(blob: Blob) -> str:
    """What is told in the place of a blob: what it says, if it is text; else that it was there."""
    about = blob.name or blob.media_type
    written = text_of(blob)
    if written is not None:
        return f"[{about}]\n{written}\n[end of {about}]"
    holds = f"at {blob.url}" if blob.url else f"of {len(blob.data)} bytes"
    kind = f"{blob.media_type}, " if blob.name else ""
    return f"[{about} was shown here: {kind}{holds}; it can't be told in this format]"


def text_of(blob: Blob) -> str | None:
    """The text that a blob's bytes are; None for any other."""
    kind = blob.media_type.partition(";")[0].strip().lower()
    if not (blob.data and (kind.startswith("text/") or kind in _TEXTS)):
        return None
    try:
        return blob.data.decode()
    except UnicodeDecodeError:
        return None


def is_image(blob: Blob) -> bool:
    """Whether OpenAI and Anthropic take it as an image. What stands behind a URL they look at themselves."""
    return blob.media_type.startswith("image/") and blob.stands() if blob.url else blob.media_type in IMAGES


def blob_at(url: object, kind: str, name: str = "") -> Blob | None:
    """The blob that `url` holds or leads to. Of what kind that is its end says, or `kind`. None for another url."""
    if not isinstance(url, str):
        return None
    if url.startswith(FETCHED):
        return Blob(type_of(url) or kind, name=name, url=url)
    return blob_in(url, name)
