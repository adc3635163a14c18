"""What the model of the demo says, where there is no real one: three responses with calls, then the answer."""

from collections.abc import Sequence
from typing import Any

from ....protocol.tools import ToolCall
from ...models.scripted import Scripted, scripted

ASKED = "Plan a weekend in Lisbon for two, from Berlin, on the 1st of May. We pay in dollars."

SYSTEM = (
    "You plan trips. Ask for all that you can at once: a call may take its input from an earlier call of the same "
    'response, as {"$result": its position, "path": "/0/id"}. Answer in three sentences.'
)

ANSWER = (
    "You fly on TP-573 at 9:40 (seat 14A is held) and stay at Casa do Jasmim, 35 minutes on foot from MAAT, for which "
    "you have tickets at 10:00. A table for two waits at Taberna da Rua das Flores at 20:30. "
    "I could not learn what is on in the city: the service did not answer."
)

DAY = "2026-05-01"
TABLE = {"restaurant": "Taberna da Rua das Flores", "hour": "20:30"}


def result(position: int, path: str) -> dict[str, Any]:
    """What an earlier call of the same response returned, at a path."""
    return {"$result": position, "path": path}


ROUNDS: Sequence[Sequence[ToolCall]] = (
    (
        ToolCall("1", "search_flights", {"origin": "Berlin", "destination": "Lisbon", "day": DAY}),
        ToolCall("2", "search_hotels", {"city": "Lisbon", "nights": 2}),
        ToolCall("3", "weather", {"city": "Lisbon"}),
        ToolCall("4", "exchange_rate", {"currency": "USD"}),
        ToolCall("5", "hold_seat", {"flight": result(1, "/0/id")}),
        ToolCall("6", "walking_route", {"start": result(2, "/0/address"), "to": "MAAT"}),
    ),
    (
        ToolCall("7", "book_table", {**TABLE, "guests": "two"}),  # refused: the next response mends it
        ToolCall("8", "city_events", {"city": "Lisbon"}),  # times out
        ToolCall("9", "museum_hours", {"museum": "MAAT"}),
        ToolCall("10", "museum_ticket", {"museum": "MAAT", "entry": result(3, "/opens")}),
    ),
    (
        ToolCall("11", "book_table", {**TABLE, "guests": 2}),
        ToolCall("12", "add_to_calendar", {"day": DAY, "entry": "TP-573 at 9:40"}),
        ToolCall("13", "add_to_calendar", {"day": "2026-05-02", "entry": "MAAT at 10:00"}),
    ),
)


def trip() -> Scripted:
    """The model that speaks it."""
    return scripted([*(list(calls) for calls in ROUNDS), ANSWER])
