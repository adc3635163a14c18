"""`toolwire audit`: what was kept of calls, the latest first."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from ....protocol.failures import Misuse, failed
from ....protocol.record import OK, CallRecord
from ...audit import JsonLines, Sink, Sqlite
from ...audit.sqlite import is_database
from ..console import brief, harmless, output
from .exits import Exit
from .options import Json

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
AGO = re.compile(r"(\d{1,9})([smhd])")
MOST_FILES = 1_000
"""Files that a log of lines may have been spread over."""


def audit(
    file: Annotated[Path, Parameter(help="The file: lines of JSON, or a SQLite database.", show_env_var=False)],
    /,
    *,
    tool: Annotated[str | None, Parameter(help="Only calls of this tool.")] = None,
    conversation: Annotated[str | None, Parameter(help="Only calls of this conversation.")] = None,
    code: Annotated[str | None, Parameter(help='Only calls that ended so: "ok", or a failure\'s code.')] = None,
    since: Annotated[str | None, Parameter(help="Only calls since then: 90s, 15m, 2h, 7d ago, or a date.")] = None,
    limit: Annotated[int, Parameter(help="How many calls, at most.")] = 100,
    json: Json = False,
) -> int:
    """Show the records of calls that a runtime kept (`Runtime(audit=[…])`), the latest first."""
    if limit < 1:
        raise Misuse(failed("invalid_call", f"--limit must be 1 or more, not {limit}"))
    start = None if since is None else instant(since, datetime.now(UTC))
    try:
        found = sink_of(file).find(tool=tool, conversation=conversation, code=code, since=start, limit=limit)
    except OSError as error:
        raise Misuse(failed("invalid_call", f"{file} can't be read: {error.strerror or error}")) from error
    if json:
        for record in found:
            output().out(msgspec.json.encode(record).decode())
    elif found:
        output().print(table(found))
    else:
        none = "no such call is recorded there" if recorded(file) else f"{file} holds no record of calls"
        output(stderr=True).print(harmless(none), soft_wrap=True)
    return Exit.DONE


def sink_of(file: Path) -> Sink:
    """What wrote `file`. Raises OSError if it can't be read."""
    return Sqlite(file) if is_database(file) else JsonLines(file, keep=MOST_FILES)


def recorded(file: Path) -> bool:
    """Whether there is any record, whatever was looked for. Raises OSError if the file can't be read."""
    return bool(sink_of(file).find(limit=1))


def instant(text: str, now: datetime) -> datetime:
    """What a person means by "2h", or by a date, which is in local time unless it says otherwise. Raises Misuse."""
    try:
        if (ago := AGO.fullmatch(text)) is not None:
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        said = f"--since takes a time ago, such as 90s, 15m, 2h or 7d, or a date such as 2026-01-31, not {text!r}"
        raise Misuse(failed("invalid_call", said)) from None


def table(found: Iterable[CallRecord]) -> Table:
    """The records as a person reads them."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("time", "tool", "call", "conversation", "ended", "seconds", "attempts", "how", "worker"):
        right = heading in {"seconds", "attempts"}
        shown.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=heading == "time")
    for record in found:
        shown.add_row(
            record.time.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            Text(brief(record.tool), "cyan"),
            brief(record.id, 30),
            brief(record.conversation, 30),
            Text(brief(record.code), "green" if record.code == OK else "red"),
            f"{record.seconds:.3f}",
            str(record.attempts),
            ", ".join(flag for flag in ("shared", "cached", "hedged", "repaired") if getattr(record, flag)),
            brief(record.worker, 30),
        )
    return shown
