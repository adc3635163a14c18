"""What it costs to make a tool of a function, and to check and decode the arguments of one call.

The arguments are an object of five fields, one of them an object and one a list; right ones, as they mostly are.
"""

import timeit
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from toolwire import Tool, tool

from .measure import TOOLWIRE, Bench, Gate

CALLS = 20_000
MADE = 200
ROUNDS = 20
"""A round takes some milliseconds, and others use the machine too."""

ARGUMENTS = '{"city":"Paris","days":3,"units":"celsius","place":{"lat":48.8,"lon":2.3},"tags":["a","b"]}'


class Place(Struct):
    """Somewhere on earth."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: float


def forecast(
    city: str,
    days: Annotated[int, Meta(ge=1, le=14)],
    units: Literal["celsius", "fahrenheit"],
    place: Place,
    tags: list[str] = [],  # noqa: B006 - as people write it; each call gets its own
) -> dict[str, float]:
    """The weather of the next days.

    Args:
        city: City name, such as "Paris".
        days: How many days from today.
        units: Temperature unit.
        place: Where exactly.
        tags: What else to look for.
    """
    return {city: days + place.lat + len(units) + len(tags)}


def repeated(function: Callable[[], object], times: int, factor: float = 1e6) -> float:
    """What one call of `function` takes, in microseconds unless `factor` says otherwise: in the quickest round."""
    seconds = timeit.repeat(function, number=max(times // ROUNDS, 1), repeat=ROUNDS)
    return min(seconds) * factor / max(times // ROUNDS, 1)


def benches(share: float) -> list[Bench]:
    """The lines of the table."""
    typed: Tool[Any] = tool(forecast)
    given: Tool[Any] = Tool.from_schema("forecast", "", typed.spec.parameters, lambda arguments: arguments)
    struct = msgspec.json.Decoder(typed.signature.arguments)
    calls, made = int(CALLS * share), int(MADE * share)
    plain = {"msgspec": lambda: repeated(lambda: struct.decode(ARGUMENTS), calls)}
    untyped = {"msgspec": lambda: repeated(lambda: msgspec.json.decode(ARGUMENTS), calls)}
    return [
        Bench("schema", "ms", {TOOLWIRE: lambda: repeated(lambda: tool(forecast), made, 1e3)}, Gate(1.0)),
        Bench(
            "decode.typed",
            "µs/call",
            {**plain, TOOLWIRE: lambda: repeated(lambda: typed.signature.read(ARGUMENTS), calls)},
            Gate(3.0),
        ),
        Bench(
            "decode.schema",
            "µs/call",
            {**untyped, TOOLWIRE: lambda: repeated(lambda: given.signature.read(ARGUMENTS), calls)},
            Gate(5.0),
        ),
    ]
