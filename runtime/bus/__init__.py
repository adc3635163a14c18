"""How bytes travel between actors: one contract, a bus in memory, a bus over NATS (`nats`), and one of both."""

from .contract import (
    Abandoned,
    Bus,
    BusError,
    Closed,
    Handler,
    Listener,
    Lost,
    Progress,
    Refused,
    Stop,
    TooLarge,
    Unreachable,
)
from .local_first import LocalFirst
from .memory import MemoryBus
from .opening import open_bus

__all__ = [
    "Abandoned",
    "Bus",
    "BusError",
    "Closed",
    "Handler",
    "Listener",
    "LocalFirst",
    "Lost",
    "MemoryBus",
    "Progress",
    "Refused",
    "Stop",
    "TooLarge",
    "Unreachable",
    "open_bus",
]
