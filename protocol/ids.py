"""The ids of the calls in a history: each stands there once, whatever a model calls its calls.

Providers refuse an id that stands twice, whoever has given it: then no later turn would be answered.
"""

from collections import deque
from collections.abc import Container, Iterable
from operator import is_

from msgspec.structs import replace

from .history import AssistantMessage, HistoryMessage, Opaque
from .tools import ToolCall

Ids = dict[str, int]
"""The ids of the calls of a history, and how often each was given."""


def ids_of(history: Iterable[HistoryMessage]) -> Ids:
    """Those that stand in `history`."""
    ids: Ids = {}
    for message in history:
        if type(message) is AssistantMessage:
            for call in message.calls:
                ids[call.id] = 1
    return ids


def apart(message: AssistantMessage, ids: Ids) -> AssistantMessage:
    """`message`, which is added to the history of these `ids`, with one for each of its calls that no other has."""
    calls = message.calls
    if len(calls) == 1:
        only = calls[0].id
        if only and only not in ids:
            ids[only] = 1
            return message
    new = {call.id: 1 for call in calls}
    if len(new) == len(calls) and "" not in new and ids.keys().isdisjoint(new):
        ids.update(new)
        return message
    return told_apart(message, ids, new)


def told_apart(message: AssistantMessage, used: Ids, ids: Container[str]) -> AssistantMessage:
    """`message` with ids for its calls that no call before them has. `used` says how often each was given so far."""
    calls: list[ToolCall] = []
    new: dict[str, deque[str]] = {}
    for call in message.calls:
        id_ = call.id if call.id and call.id not in used else _free(call.id, used, ids)
        used.setdefault(id_, 1)
        new.setdefault(call.id, deque()).append(id_)
        calls.append(call if id_ == call.id else replace(call, id=id_))
    if all(map(is_, calls, message.calls)):
        return message
    opaque = tuple(_following(piece, new) for piece in message.opaque)
    return AssistantMessage(message.text, tuple(calls), opaque)


def _free(id_: str, used: Ids, ids: Container[str]) -> str:
    number = used.get(id_, 0) + 1
    while (free := f"{id_ or 'call'}_{number}") in used or free in ids:
        number += 1
    used[id_] = number  # of thousands with one id the next need not count from the start
    return free


def _following(piece: Opaque, new: dict[str, deque[str]]) -> Opaque:
    """`piece`, if it stands for a call whose id has changed, as the place of that call: its own words hold the id."""
    names = new.get(piece.call)
    if not piece.call or not names:
        return piece
    id_ = names.popleft()
    return piece if id_ == piece.call else Opaque(piece.provider, call=id_)
