"""Records in a SQLite database, which can be asked much of."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ...protocol.options import COUNT, TRUTH, check
from ...protocol.record import CallRecord, read, written
from .contract import LIMIT

if TYPE_CHECKING:
    import sqlite3

KINDS = {"most": COUNT, "content": TRUTH}

MAGIC = b"SQLite format 3\x00"
"""How a database begins (https://sqlite.org/fileformat.html, section 1.3)."""

PATIENCE = 5.0
"""Seconds to wait for another writer."""

TABLE = """
create table if not exists calls (
    n integer primary key autoincrement,
    time real not null,
    tool text not null,
    conversation text not null,
    code text not null,
    record text not null
);
create index if not exists calls_tool on calls (tool, n);
create index if not exists calls_conversation on calls (conversation, n);
create index if not exists calls_code on calls (code, n);
"""
"""`record` is JSON, so that what is added to it needs no other table."""

INSERT = "insert into calls (time, tool, conversation, code, record) values (?, ?, ?, ?, ?)"
TRIM = "delete from calls where n <= (select max(n) from calls) - ?"
FIND = """
select record from calls
where (:tool is null or tool = :tool) and (:conversation is null or conversation = :conversation)
    and (:code is null or code = :code) and (:since is null or time >= :since)
order by n desc limit :limit
"""


class Sqlite:
    """Keeps the latest `most` records in the database `path`."""

    def __init__(self, path: str | Path, *, most: int = 1_000_000, content: bool = False) -> None:
        check("Sqlite", {"most": most, "content": content}, KINDS)
        self.path = Path(path)
        self.most = most
        self.content = content
        self._database: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"<Sqlite {self.path}>"

    def open(self) -> None:
        """Open the database, make its table if there is none, and let others read while it is written."""
        with as_os_errors():
            database = connect(self.path.absolute().as_uri())
            try:
                database.execute("pragma journal_mode = wal")
                database.execute("pragma synchronous = normal")
                database.executescript(TABLE)
            except BaseException:
                database.close()
                raise
            self._database = database

    def write(self, records: Sequence[CallRecord]) -> None:
        """Add the records in one transaction, and drop as many old ones as that takes."""
        if self._database is None:
            self.open()
        assert self._database is not None  # noqa: S101 - it is open now
        rows = [(each.time.timestamp(), each.tool, each.conversation, each.code, written(each)) for each in records]
        with as_os_errors(), self._database as transaction:
            transaction.executemany(INSERT, rows)
            transaction.execute(TRIM, (self.most,))

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def find(
        self,
        *,
        tool: str | None = None,
        conversation: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        limit: int = LIMIT,
    ) -> list[CallRecord]:
        """See `Sink.find`. With a connection of its own, so that it may be called from anywhere."""
        instant = None if since is None else since.astimezone(UTC).timestamp()
        wanted = {"tool": tool, "conversation": conversation, "code": code, "since": instant, "limit": limit}
        with as_os_errors(), closing(connect(f"{self.path.absolute().as_uri()}?mode=ro")) as database:
            return [read(row[0]) for row in database.execute(FIND, wanted)]


def connect(uri: str) -> "sqlite3.Connection":
    """A connection that any one thread at a time may use."""
    import sqlite3  # noqa: PLC0415 - 5 ms, and only for who keeps records so

    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, check_same_thread=False)


@contextmanager
def as_os_errors() -> Iterator[None]:
    """What a database raises, as the contract says it."""
    import sqlite3  # noqa: PLC0415 - as above

    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def is_database(path: Path) -> bool:
    """Whether the file at `path` is a database. Raises OSError if it can't be read."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
