"""What a user says and shows: one text, and blobs that stand at places in it."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .blob import Blob
from .failures import Failure, Misuse, failed

Piece = str | Blob

LARGEST = 24 * 1024 * 1024
"""Bytes that may be shown at once: as base64 they are 32 MiB, what providers take in one request."""


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
    neither text nor a blob with either bytes or a url.
    """
    given: list[Any] = [*words] if isinstance(words, list | tuple) else [words]
    told: list[Piece] = []
    last = ""
    for piece in (*given, *blobs):
        if isinstance(piece, str):
            apart = last and piece and not last[-1].isspace() and not piece[0].isspace()
            told.append(f" {piece}" if apart else piece)
            last = piece or last
        elif isinstance(piece, Blob) and bool(piece.data) != bool(piece.url):
            told.append(piece)
        else:
            raise Misuse(failed("invalid_call", _unspeakable(piece)))
    return said(told)


def too_large(blobs: Iterable[Blob], most: int = LARGEST) -> Failure | None:
    """Why these can't be shown at once; None if they can."""
    size = sum(len(blob.data) for blob in blobs)
    if size <= most:
        return None
    sentence = f"what was shown has {size} bytes; at most {most} are told to a model at once"
    return failed("too_large", sentence, size=size, limit=most)


def _unspeakable(piece: object) -> str:
    if isinstance(piece, Blob):
        return f"a blob that is shown has either bytes or a url: {piece!r}"
    return (
        "what is said is a text, or a list of texts and blobs such as "
        f"['What is this?', Blob('image/png', data)], not {piece!r:.100}"
    )
