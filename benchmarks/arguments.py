"""The arguments of one call: checked and decoded when they are right, explained when they are wrong.

`take` is the whole way from JSON text to what the function is called with: decoder, safe rules, sanitizers.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Literal

import jsonschema
import msgspec
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from msgspec import Struct

from toolwire import tool
from toolwire.actors.intake import Customs, Intake
from toolwire.protocol.arguments import Checker

from .measure import TOOLWIRE, Bench, Gate, Side

CALLS = 20_000
ROUNDS = 20
"""Of so many rounds the quickest counts: a round takes a few milliseconds, and others use the machine too."""


class Place(Struct, forbid_unknown_fields=True):
    """Somewhere on earth."""

    lat: float
    lon: float


@tool
async def forecast(
    city: str, place: Place, units: Literal["celsius", "fahrenheit"], days: int, tags: list[str]
) -> None:
    """Forecast for a place."""


RIGHT = {"city": "Paris", "units": "celsius", "days": 3, "place": {"lat": 1.5, "lon": 2.5}, "tags": ["a", "b"]}
WRONG = {**RIGHT, "days": "three"}


def timed(work: Callable[[], Any], count: int) -> Side:
    """Microseconds of one `work()`."""

    def side() -> float:
        quickest = float("inf")
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(max(count // ROUNDS, 1)):
                work()
            quickest = min(quickest, time.perf_counter() - started)
        return quickest * 1e6 / max(count // ROUNDS, 1)

    return side


def benches(share: float) -> list[Bench]:
    """The lines of the table."""
    count = int(CALLS * share)
    right, wrong = json.dumps(RIGHT), json.dumps(WRONG)
    schema = forecast.spec.parameters
    checker, intake = Checker(schema), Intake(forecast, Customs())
    # As it comes, jsonschema makes all of it anew for each check; cached means that this one is kept.
    plain = jsonschema.Draft202012Validator(schema, registry=REGISTRY)
    decode = msgspec.json.Decoder(forecast.signature.arguments).decode
    return [
        Bench(
            "arguments.typed",
            "µs/call",
            {"msgspec": timed(lambda: decode(right), count), TOOLWIRE: timed(lambda: intake.take(right), count)},
            Gate(3.0),
        ),
        Bench("arguments.schema", "µs/call", {TOOLWIRE: timed(lambda: checker.judge(right), count)}, Gate(5.0)),
        Bench(
            "arguments.wrong",
            "µs/call",
            {
                "jsonschema": timed(lambda: list(plain.iter_errors(WRONG)), count // 50),
                TOOLWIRE: timed(lambda: checker.judge(wrong), count // 50),
            },
            Gate(1.5, "jsonschema"),
        ),
    ]
