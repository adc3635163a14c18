"""Where records of calls are kept.

A sink is opened before the first record, written to by one thread at a time, in the order in which calls ended, and
closed after the last. What it was written stands there when `write` returns, all of it or, if it raises, nothing. It
keeps itself within its bounds: the oldest go first. It may be searched at any time, also while another writes, and by
another process.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ...protocol.record import CallRecord

LIMIT = 100
"""Records that a search gives, unless it is told otherwise."""


class Sink(Protocol):
    """Keeps records. `content` says whether they are to have what calls were about: arguments and results."""

    content: bool

    def open(self) -> None:
        """Make ready. Raises OSError if nothing can be kept there."""
        ...

    def write(self, records: Sequence[CallRecord]) -> None:
        """Keep `records`. Raises OSError if that can't be done now; the next ones may be kept all the same."""
        ...

    def close(self) -> None:
        """Write no more."""
        ...

    def find(
        self,
        *,
        tool: str | None = None,
        conversation: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        limit: int = LIMIT,
    ) -> list[CallRecord]:
        """The latest `limit` records that fit, the latest first; `code="ok"` for calls that succeeded.

        `since` is an instant, in local time if it names no time zone. Raises OSError if nothing can be read there.
        """
        ...
