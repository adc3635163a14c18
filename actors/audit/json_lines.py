"""Records as lines of JSON in files, which any tool can read."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ...protocol.options import COUNT, COUNT_OR_0, TRUTH, check
from ...protocol.record import CallRecord, Wanted, read, written
from .contract import LIMIT

MIB = 1024 * 1024

KINDS = {"largest": COUNT, "keep": COUNT_OR_0, "content": TRUTH}


class JsonLines:
    """Keeps records in the file `path`; one process writes it.

    When it would be longer than `largest` bytes it becomes `path.1`, that `path.2`, and so on; `keep` of these are
    kept. The files can be read by their owner alone.
    """

    def __init__(self, path: str | Path, *, largest: int = 64 * MIB, keep: int = 5, content: bool = False) -> None:
        check("JsonLines", {"largest": largest, "keep": keep, "content": content}, KINDS)
        self.path = Path(path)
        self.largest = largest
        self.keep = keep
        self.content = content
        self._file: int | None = None
        self._size = 0

    def __repr__(self) -> str:
        return f"<JsonLines {self.path}>"

    def open(self) -> None:
        """Open the file, and end a line that a crash has torn."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            self._put(b"\n")

    def write(self, records: Sequence[CallRecord]) -> None:
        """Add the lines, to as many files as they need."""
        chunk: list[bytes] = []
        length = 0
        for record in records:
            line = written(record) + b"\n"
            if self._size + length + len(line) > self.largest and self._size + length:
                self._put(b"".join(chunk))
                self._rotate()
                chunk, length = [], 0
            chunk.append(line)
            length += len(line)
        self._put(b"".join(chunk))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def find(
        self,
        *,
        tool: str | None = None,
        conversation: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        limit: int = LIMIT,
    ) -> list[CallRecord]:
        """See `Sink.find`. Reads file after file, the latest first, until there are enough."""
        wanted = Wanted(tool, conversation, code, None if since is None else since.astimezone(UTC))
        found: list[CallRecord] = []
        for number in range(self.keep + 1):
            if len(found) >= limit:
                break
            fitting = deque(filter(wanted.fits, self._lines(number)), limit - len(found))
            found.extend(reversed(fitting))
        return found

    def _lines(self, number: int) -> Iterator[CallRecord]:
        """The records of a file, without lines that are none: torn by a crash, or somebody else's."""
        try:
            file = self._named(number).open("rb")
        except FileNotFoundError:
            if number:
                return
            raise
        with file:
            for line in file:
                with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                    yield read(line)

    def _named(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _put(self, chunk: bytes) -> None:
        """Add `chunk`, all of it or nothing."""
        if self._file is None:
            self.open()
        assert self._file is not None  # noqa: S101 - it is open now
        try:
            done = 0
            while done < len(chunk):
                done += os.write(self._file, chunk[done:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(chunk)

    def _rotate(self) -> None:
        self.close()
        if self.keep:
            for number in reversed(range(self.keep)):
                with suppress(FileNotFoundError):
                    self._named(number).replace(self._named(number + 1))
        else:
            self.path.unlink()
        self.open()
