"""What the model of the demo says, where there is no real one: three responses with calls, then the answer."""

from collections.abc import Sequence
from typing import Any

from ....protocol.tools import ToolCall
from ...models.scripted import Scripted, scripted, spoken

ASKED = "Plan a weekend in Lisbon for two, from Berlin, on the 1st of May. We pay in dollars."

SYSTEM = (
    "You plan trips. Ask for all that you can at once: a call may take its input from an earlier call of the same "
    'response, as {"$result": its position, "path": "/0/id"}. Answer in three sentences.'
)

ANSWER = (
    "You fly on TP-573 at 9:40 (seat 14A is held) and stay at Casa do Jasmim, 35 minutes on foot from MAAT, for which "
    "you have tickets at 10:00. A table for two waits at Taberna da Rua das Flores at 20:30. "
    "The hotel is paid, and there is a street fair on. I could not learn whether fares will fall: that took too long."
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
        ToolCall("8", "city_events", {"city": "Lisbon"}),  # fails at first, and is tried again
        ToolCall("9", "fare_forecast", {"flight": "TP-573"}),  # never ends, and is killed
        ToolCall("10", "museum_hours", {"museum": "MAAT"}),
        ToolCall("11", "museum_ticket", {"museum": "MAAT", "entry": result(4, "/opens")}),
    ),
    (
        ToolCall("12", "book_table", {**TABLE, "guests": 2}),
        ToolCall("13", "pay_hotel", {"hotel": "Casa do Jasmim", "euros": 192}),  # not before a person says yes
        ToolCall("14", "add_to_calendar", {"day": DAY, "entry": "TP-573 at 9:40"}),
        ToolCall("15", "add_to_calendar", {"day": "2026-05-02", "entry": "MAAT at 10:00"}),
    ),
)


def trip(every: float = 0.0) -> Scripted:
    """The model that speaks it: `every` is how many seconds each call takes to be said."""
    return scripted([*(spoken(list(calls), every=every) for calls in ROUNDS), ANSWER])
