"""What a user says and shows: one text, and blobs that stand at places in it."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .blob import FETCHED, Blob
from .failures import Failure, Misuse, failed

Piece = str | Blob

LARGEST = 24 * 1024 * 1024
"""Bytes that may be shown at once: as base64 they are 32 MiB, what providers take in one request."""


_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+*-]+( *;.*)?", re.ASCII)
_MISTAKEN = {"image/jpg": "image/jpeg", "audio/mp3": "audio/mpeg", "application/x-pdf": "application/pdf"}


class Said(NamedTuple):
    """A text and its blobs. `places` are the characters of the text before each of them; () for all after it."""

    text: str
    blobs: tuple[Blob, ...] = ()
    places: tuple[int, ...] = ()


def said(pieces: Iterable[Piece]) -> Said:
    """`pieces`, in their order, as one text and its blobs."""
    texts: list[str] = []
    blobs: list[Blob] = []
    places: list[int] = []
    length = 0
    for piece in pieces:
        if isinstance(piece, str):
            texts.append(piece)
            length += len(piece)
        else:
            blobs.append(piece)
            places.append(length)
    before = any(place < length for place in places)
    return Said("".join(texts), tuple(blobs), tuple(places) if before else ())


def pieces(text: str, blobs: Sequence[Blob], places: Sequence[int]) -> list[Piece]:
    """`said` undone: texts, none of them empty, and blobs."""
    found: list[Piece] = []
    at = 0
    for number, blob in enumerate(blobs):
        place = places[number] if number < len(places) else len(text)
        if place > at and at < len(text):
            found.append(text[at:place])
            at = min(place, len(text))
        found.append(blob)
    return [*found, text[at:]] if at < len(text) else found


def meant(words: str | Sequence[Piece], blobs: Sequence[Blob]) -> Said:
    """What a program says: a text, or texts and blobs in their order; then `blobs`.

    Texts that only a blob divides stay words of their own: a blank comes between them. Raises Misuse for what is
    neither text nor a blob that can be shown.
    """
    given: list[Any] = [*words] if isinstance(words, list | tuple) else [words]
    told: list[Piece] = []
    last = ""
    for piece in (*given, *blobs):
        if isinstance(piece, str):
            apart = last and piece and not last[-1].isspace() and not piece[0].isspace()
            told.append(f" {piece}" if apart else piece)
            last = piece or last
        elif isinstance(piece, Blob):
            told.append(showable(piece))
        else:
            raise Misuse(failed("invalid_call", _unspeakable(piece)))
    return said(told)


def showable(blob: Blob) -> Blob:
    """`blob`, if a provider may understand it. Raises Misuse with what to write instead."""
    kind: Any = blob.media_type
    if not isinstance(kind, str) or _TYPE.fullmatch(kind) is None or kind in _MISTAKEN:
        meant = _MISTAKEN.get(kind, "image/png") if isinstance(kind, str) else "image/png"
        wrong = f'a blob begins with its media type, such as "{meant}", not {kind!r:.100}'
    elif not isinstance(blob.data, bytes | bytearray | memoryview):
        wrong = f"the data of a blob are bytes (Blob.from_file(path) reads them), not {type(blob.data).__name__}"
    elif not all(isinstance(each, str) for each in (blob.name, blob.url)):
        wrong = f"the name and the url of a blob are texts: {blob.name!r:.100}, {blob.url!r:.100}"
    elif bool(blob.data) == bool(blob.url):
        wrong = f"a blob that is shown has either bytes or a url: {blob!r}"
    elif not blob.stands(FETCHED):
        wrong = f"providers fetch https://, http:// or gs://, not {blob.url!r:.100}: show the bytes, as data"
    else:
        return blob
    raise Misuse(failed("invalid_call", wrong))


def too_large(blobs: Iterable[Blob], most: int = LARGEST) -> Failure | None:
    """Why these can't be shown at once; None if they can."""
    size = sum(len(blob.data) for blob in blobs)
    if size <= most:
        return None
    sentence = f"what was shown has {size} bytes; at most {most} are told to a model at once"
    return failed("too_large", sentence, size=size, limit=most)


def _unspeakable(piece: object) -> str:
    return (
        "what is said is a text, or a list of texts and blobs such as "
        f"['What is this?', Blob('image/png', data)], not {piece!r:.100}"
    )
