"""Server-sent events: the data in them, out of bytes that may be cut anywhere.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. Names, ids and
comments are passed over: what Toolwire reads says in its data what it is.
"""

import re

_LINE = re.compile(rb"(.*?)(\r\n|\r(?!\Z)|\n)", re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventStream:
    """Hears bytes, tells the data of each event that is complete by them."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self._data: list[bytes] = []
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in `piece`. An event that is not ended by an empty line does not count."""
        self._rest += piece
        if not self._begun and len(self._rest) >= len(_BYTE_ORDER_MARK):
            self._begun = True
            if self._rest.startswith(_BYTE_ORDER_MARK):
                del self._rest[: len(_BYTE_ORDER_MARK)]
        events: list[bytes] = []
        for line in self._lines():
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._data.append(b"")
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        return events

    def _lines(self) -> list[bytes]:
        """The lines that are complete. A CR at the very end may be half of a CR LF: it waits."""
        if b"\n" not in self._rest[self._searched :] and b"\r" not in self._rest[self._searched :]:
            self._searched = len(self._rest)  # a long line in small pieces is looked through once
            return []
        lines: list[bytes] = []
        end = 0
        for match in _LINE.finditer(bytes(self._rest)):
            lines.append(match[1])
            end = match.end()
        del self._rest[:end]
        self._searched = max(len(self._rest) - 1, 0)
        return lines
