"""A tool that gives more than one value: what it yields is progress, and the last of it the result."""

from collections.abc import AsyncIterator
from inspect import isawaitable
from typing import Any

from ..protocol.events import CallProgress
from ..protocol.standins import written
from .context import Context

SHOWN = 1_000
"""Characters of a value that a note of progress has at most."""


async def last(source: Any, context: Context) -> Any:
    """The last value that `source` yields, None if it yields none. Who follows the turn hears of each when it comes.

    `source` is an async iterator, or an awaitable of one. It is closed before this returns.
    """
    values: AsyncIterator[Any] = await source if isawaitable(source) else source
    value, number = None, 0
    try:
        async for value in values:
            number += 1
            if context.message.events:
                context.report(CallProgress(context.call_id, number, 0.0, note(value)))
    finally:
        close = getattr(values, "aclose", None)
        if close is not None:
            await close()
    return value


def note(value: Any) -> str:
    """`value` as a text to show: itself if it is one, else as JSON; shortened."""
    try:
        text = value if isinstance(value, str) else written(value).decode()
    except Exception as error:  # noqa: BLE001 - somebody's own type may raise anything while it is read
        text = f"a {type(value).__name__} that JSON can't carry ({type(error).__name__})"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
