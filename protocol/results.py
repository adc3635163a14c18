"""What calls have returned, as far as other calls of their batch take it in."""

from typing import Any, Final

import msgspec

from .draft import Draft, decode, hanging
from .failures import Failure, ToolwireError, failed
from .references import BrokenReference, Reference, resolve, shown, substitute
from .tools import encode_json

LARGEST: Final = 1 << 20
"""Bytes of a call's arguments once results are filled in: the limit that arguments have as such."""

_TOO_LARGE: Final = failed("too_large", f"with the results that they name, the arguments are over {LARGEST:,} bytes")

_checked: Any = msgspec.json.Decoder(msgspec.Raw).decode


class Results:
    """What was returned: each result is decoded once, and each part of one encoded once."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.contents: dict[int, str] = {}
        self._values: dict[int, Any] = {}
        self._parts: dict[tuple[int, str], msgspec.Raw] = {}

    def filled(self, n: int) -> str | Failure:
        """The arguments of a call with results in the place of its references."""
        room = LARGEST

        def part(reference: Reference) -> msgspec.Raw:
            nonlocal room
            found = self._part(reference)
            # Counted before anything is written: a short text may name a long result a thousand times.
            room -= len(memoryview(found))
            if room < 0:
                raise ToolwireError(_TOO_LARGE)
            return found

        try:
            filled = encode_json(substitute(self.draft.tree(n), part, ids=True))
        except ToolwireError as broken:
            return broken.failure
        except RecursionError:
            return failed("invalid_arguments", "the arguments nest too deeply")
        return filled.decode() if len(filled) <= LARGEST else _TOO_LARGE

    def _part(self, reference: Reference) -> msgspec.Raw:
        key = (self.draft.producer(reference), reference.path)
        if key not in self._parts:
            self._parts[key] = self._read(reference, *key)
        return self._parts[key]

    def _read(self, reference: Reference, producer: int, path: str) -> msgspec.Raw:
        """A part of a result as JSON text. Raises ToolwireError."""
        call = self.draft.calls[producer]
        named = f"at {shown(reference.at)}: the result of call {producer + 1} ({shown(call.name)}, id {shown(call.id)})"
        details = {"position": producer + 1, "id": call.id, "tool": call.name}
        try:
            if not path:
                # Not taken on trust: text that is more than one value would write itself into the arguments.
                whole: msgspec.Raw = _checked(self.contents[producer])
                return whole
            if producer not in self._values:
                self._values[producer] = decode(self.contents[producer])
            return msgspec.Raw(encode_json(resolve(self._values[producer], path)))
        except BrokenReference as broken:
            message = f"{named} has no {shown(path)}: {broken.failure.message}"
            raise ToolwireError(Failure("invalid_reference", message, details=details)) from None
        except (msgspec.DecodeError, RecursionError):
            raise ToolwireError(hanging(call, producer, failed("invalid_result", "it can't be read"))) from None
