"""What every provider asks of a history: each call has its result right behind it, once; the system comes first."""

from collections.abc import Iterator, Sequence

from .history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage


def invalid(messages: Sequence[HistoryMessage]) -> str:
    """The first that a provider would refuse in `messages`, by its place, counted from 0. Empty if they are valid.

    Each call has an id of its own, and results come in the order asked. The first who speaks is the user.
    """
    return next(_wrong(messages), "")


def _wrong(messages: Sequence[HistoryMessage]) -> Iterator[str]:
    waiting: list[str] = []
    ids: set[str] = set()
    start = next((n for n, each in enumerate(messages) if not isinstance(each, SystemMessage)), len(messages))
    if isinstance(next(iter(messages[start:]), None), AssistantMessage):
        yield f"message {start} is the first that is said, and not the user's"
    for place, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.id not in waiting:
                yield f"message {place} is a result that no call waits for: {message.id!r}"
            elif message.id != waiting.pop(0):
                yield f"message {place} is the result of {message.id!r}, out of its order"
            continue
        if waiting:
            yield f"before message {place} the calls {waiting} have no result"
        if place > start and isinstance(message, SystemMessage):
            yield f"message {place} is the system's, which only comes first"
        waiting = [call.id for call in message.calls] if isinstance(message, AssistantMessage) else []
        if again := [id_ for n, id_ in enumerate(waiting) if not id_ or id_ in ids or id_ in waiting[:n]]:
            yield f"message {place} has calls without an id of their own: {again}"
        ids.update(waiting)
    if waiting:
        yield f"at the end the calls {waiting} have no result"
