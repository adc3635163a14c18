"""The tools of the trip. Nobody is asked anything: each waits as long as such a service takes, and knows one answer.

`FLIGHTS` and `CITY` are each served by a worker process of its own, `HERE` by the process of the conversation.
"""

import time
from typing import Any

import anyio
from msgspec import Struct

from ....protocol.failures import ToolError
from ....protocol.tools import Retry
from ...context import Context
from ...tool import Tool, tool

FREELY = 100
"""Euros that may be paid without asking a person."""


class Flight(Struct, frozen=True):
    """A flight that can be booked."""

    id: str
    departs: str
    euros: int


class Hotel(Struct, frozen=True):
    """A hotel with a room free."""

    name: str
    address: str
    euros: int


class Hours(Struct, frozen=True):
    """When a museum is open."""

    opens: str
    closes: str


@tool(read_only=True)
async def search_flights(origin: str, destination: str, day: str) -> list[Flight]:
    """Flights between two cities on a day, the cheapest first.

    Args:
        origin: The city of departure.
        destination: The city of arrival.
        day: The day, such as 2026-05-01.
    """
    await anyio.sleep(0.4)
    return [Flight("TP-573", f"{day} 09:40", 118), Flight("LH-1166", f"{day} 11:05", 171)]


@tool
async def hold_seat(flight: str) -> str:
    """Hold a seat on a flight for a day. Gives the code of the booking.

    Args:
        flight: The flight's id.
    """
    await anyio.sleep(0.3)
    return f"seat 14A on {flight}"


@tool
async def book_table(restaurant: str, guests: int, hour: str) -> str:
    """Book a table at a restaurant.

    Args:
        restaurant: Its name.
        guests: How many people come.
        hour: When, such as 20:30.
    """
    await anyio.sleep(0.25)
    return f"{restaurant}, {hour}, a table for {guests}"


@tool(read_only=True)
async def search_hotels(city: str, nights: int) -> list[Hotel]:
    """Hotels in a city that have a room free, the best first.

    Args:
        city: The city.
        nights: For how many nights.
    """
    await anyio.sleep(0.35)
    return [
        Hotel("Casa do Jasmim", "Rua do Jasmim 18", 96 * nights),
        Hotel("Memmo Alfama", "Travessa 27", 130 * nights),
    ]


@tool(read_only=True)
async def weather(city: str) -> str:
    """What the weather will be in a city.

    Args:
        city: The city.
    """
    await anyio.sleep(0.2)
    return f"{city}: 21 °C and sunny, a breeze on Sunday"


@tool(read_only=True)
async def walking_route(start: str, to: str) -> str:
    """How to walk from one place to another, and how long it takes.

    Args:
        start: The address of departure.
        to: Where to.
    """
    await anyio.sleep(0.25)
    return f"from {start} down to the river and along it to {to}: 35 minutes"


@tool(read_only=True)
async def museum_hours(museum: str) -> Hours:
    """When a museum is open.

    Args:
        museum: Its name.
    """
    await anyio.sleep(0.2)
    return Hours("10:00", "19:00")


@tool
async def museum_ticket(museum: str, entry: str) -> str:
    """Buy a ticket for a museum.

    Args:
        museum: Its name.
        entry: When you enter, such as 10:00.
    """
    await anyio.sleep(0.25)
    return f"{museum}, entry at {entry}"


@tool(read_only=True, retries=Retry(times=2, first=0.1))
async def city_events(city: str, context: Context) -> list[str]:  # noqa: D417 - the context is filled in
    """Concerts and fairs in a city. The service is busy at times.

    Args:
        city: The city.
    """
    await anyio.sleep(0.15)
    if context.attempt == 1:
        raise ToolError("the service is busy", retry=True)
    return [f"a street fair in {city}"]


@tool(read_only=True, isolation="process", timeout=0.5)
def fare_forecast(flight: str) -> str:
    """Whether a flight will get cheaper.

    Args:
        flight: The flight's id.
    """
    while flight:  # it never comes to an end: its process is killed when its time is over
        pass
    return "cheaper"


@tool(confirm=lambda stay: f"it costs {stay.euros} euros" if stay.euros > FREELY else False)
async def pay_hotel(hotel: str, euros: int) -> str:
    """Pay for a stay at a hotel. Gives the number of the receipt.

    Args:
        hotel: Its name.
        euros: How much.
    """
    await anyio.sleep(0.2)
    return f"paid {euros} euros to {hotel}, receipt 2071"


@tool(read_only=True)
def exchange_rate(currency: str) -> float:
    """How many euros one unit of a currency is worth.

    Args:
        currency: Its code, such as USD.
    """
    time.sleep(0.3)  # as a library does that knows no event loop: it runs in a thread
    return {"USD": 0.91, "GBP": 1.17}.get(currency, 1.0)


class Calendar:
    """The traveller's calendar: one object, whose calls run one at a time, in the order asked."""

    def __init__(self) -> None:
        self._entries: list[str] = []

    async def add_to_calendar(self, day: str, entry: str) -> int:
        """Write an entry into the calendar. Gives how many it has.

        Args:
            day: The day.
            entry: What happens.
        """
        await anyio.sleep(0.15)
        self._entries.append(f"{day}: {entry}")
        return len(self._entries)


FLIGHTS: list[Tool[Any]] = [search_flights, hold_seat, book_table, pay_hotel]
CITY: list[Tool[Any]] = [search_hotels, weather, walking_route, museum_hours, museum_ticket, city_events, fare_forecast]
HERE: list[Any] = [exchange_rate, Calendar]
TRIP: list[Any] = [*FLIGHTS, *CITY, *HERE]
"""All of them, for `toolwire chat --tools toolwire.actors.gateways.demo.tools:TRIP`."""

IN_THREADS = {made.name for made in TRIP if isinstance(made, Tool) and not made.is_async}
