"""Bytes inside a value: an image, a sound, a document that a user shows, or that stands in a tool's result.

In JSON a blob is `{"$blob": "image/png", "data": "<base64>", "name": "a.png"}`, where the name may be missing. Formats
that carry bytes beside the text take the blobs out of it: `{"$blob": 0}` then keeps the place of the first. Where
they are not here but somewhere else, `"url"` stands in the place of `"data"`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct, field

from .failures import Misuse, failed

KEY = '"$blob"'
"""Whoever holds a blob holds this text too; whoever does not is not looked through."""


TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "log": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "htm": "text/html",
    "py": "text/x-python",
    "json": "application/json",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
}
"""Media types by the ends of names. Python's own table depends on the machine that it runs on."""


ON_WEB = ("http://", "https://")
FETCHED = (*ON_WEB, "gs://")
"""Beginnings of urls that some provider fetches."""


class Readable(Protocol):
    """A file that can be read: a pathlib.Path, or what stands in an archive or a package."""

    @property
    def name(self) -> str: ...

    def read_bytes(self) -> bytes: ...


class Blob(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Bytes with their media type (such as "image/png"), as a tool may return them and a user may show them.

    In place of `data` there may be the `url` where whoever reads it can fetch them.
    """

    media_type: str = field(name="$blob")
    data: bytes = b""
    name: str = ""
    url: str = ""

    @classmethod
    def from_file(cls, path: Readable, media_type: str = "") -> "Blob":
        """The bytes of a file, such as `Path("chart.png")`; without a `media_type` its name says what they are.

        It reads at once, which blocks an event loop: there, `await anyio.to_thread.run_sync(Blob.from_file, path)`.
        Raises Misuse for a name that says nothing, and what reading raises (OSError).
        """
        if not hasattr(path, "read_bytes"):
            raise Misuse(failed("invalid_call", f"a file to show is a pathlib.Path, not {path!r:.100}"))
        kind = media_type or type_of(path.name)
        if not kind:
            said = f"what kind of file {path.name!r} is can't be told from its name: say media_type="
            raise Misuse(failed("invalid_call", said))
        return cls(kind, path.read_bytes(), path.name)

    def stands(self, beginnings: tuple[str, ...] = ON_WEB) -> bool:
        """Whether its bytes are here, or behind a url that begins so."""
        return not self.url or self.url[:8].lower().startswith(beginnings)

    def __repr__(self) -> str:
        holds = self.url[:200] or f"{len(self.data)} bytes"  # a longer one may hold bytes
        return f"<Blob {self.media_type} {holds}{f' {self.name!r}' if self.name else ''}>"


def type_of(name: str) -> str:
    """The media type of a file of that name, or behind a URL; "" if that does not tell."""
    last = name.partition("?")[0].partition("#")[0].rpartition("/")[2]
    return TYPES.get(last.rpartition(".")[2].lower(), "")


class Parted(NamedTuple):
    """A result in two parts: the JSON text of all but its blobs (None if it is one blob and no more), and the blobs."""

    text: str | None
    blobs: tuple[Blob, ...]


def parted(content: str, carried: Callable[[Blob], bool]) -> Parted:
    """`content`, a JSON text, with its blobs beside it. Those that are not carried are only named."""
    if KEY not in content:
        return Parted(content, ())
    blobs: list[Blob] = []

    def taken(blob: Blob) -> dict[str, Any]:
        if not carried(blob):
            return _named(blob, "it can't be told in this format")
        blobs.append(blob)
        return {"$blob": len(blobs) - 1}

    try:
        value = _replaced(msgspec.json.decode(content), taken)
    except (msgspec.DecodeError, RecursionError):
        return Parted(content, ())
    alone = len(blobs) == 1 and value == {"$blob": 0}
    return Parted(None if alone else msgspec.json.encode(value).decode(), tuple(blobs))


def unlinked(content: str) -> str:
    """`content`, a JSON text that strangers may have written, with the urls of its blobs only named.

    Whoever fetches a url tells its owner what stands in it: it could carry away what the model knows.
    """
    if KEY not in content:
        return content

    def put(node: dict[str, Any]) -> Any:
        blob = _blob(node)
        return None if blob is None or not blob.url else _named(blob, "it comes from outside, and is not fetched")

    try:
        return msgspec.json.encode(_walked(msgspec.json.decode(content), put)).decode()
    except msgspec.DecodeError:
        return content
    except RecursionError:  # with more of the stack left somebody may come to its end
        return msgspec.json.encode(content).decode()


def joined(text: str | None, blobs: Sequence[Blob]) -> str:
    """The JSON text whose parts these are. Blobs that have no place in it come after it, in a list."""
    if not blobs:
        return text or "null"
    if text is None and len(blobs) == 1:
        return msgspec.json.encode(blobs[0]).decode()
    used: set[int] = set()

    def put(node: dict[str, Any]) -> Any:
        place = node.get("$blob")
        if len(node) != 1 or type(place) is not int or not 0 <= place < len(blobs) or place in used:
            return None  # a blob has one place: many would make gigabytes of a few
        used.add(place)
        return blobs[place]

    value: Any = None
    if text is not None:
        try:
            value = _walked(msgspec.json.decode(text), put)
        except RecursionError:  # too deep to be looked through
            used.clear()
            value = msgspec.Raw(text.encode())
    rest = [blob for place, blob in enumerate(blobs) if place not in used]
    if rest:
        value = [*([] if text is None else [value]), *rest]
    return msgspec.json.encode(value).decode()


def _replaced(value: Any, taken: Callable[[Blob], dict[str, Any]]) -> Any:
    def put(node: dict[str, Any]) -> Any:
        blob = _blob(node)
        return None if blob is None else taken(blob)

    return _walked(value, put)


def _blob(node: dict[str, Any]) -> Blob | None:
    """The blob that an object of JSON is. An empty one is none: it is told of as it stands."""
    if "$blob" not in node:
        return None
    try:
        blob = msgspec.convert(node, Blob)
    except msgspec.ValidationError:
        return None
    return blob if blob.data or blob.url else None


def _named(blob: Blob, why: str) -> dict[str, Any]:
    holds = {"url": blob.url} if blob.url else {"bytes": len(blob.data)}
    return {"$blob": blob.media_type, **holds, "left_out": why}


def _walked(value: Any, put: Callable[[dict[str, Any]], Any]) -> Any:
    """`value` with what `put` gives in the place of objects; None leaves one as it is."""
    if isinstance(value, dict):
        found = put(value)
        return {key: _walked(entry, put) for key, entry in value.items()} if found is None else found
    return [_walked(entry, put) for entry in value] if isinstance(value, list) else value
