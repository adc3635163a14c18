"""How bytes travel between actors: one contract, a bus in memory, a bus over NATS, and one of both."""

from .contract import (
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
from .embedded import embedded_server
from .local_first import LocalFirst
from .memory import MemoryBus
from .nats import NatsBus
from .opening import open_bus

__all__ = [
    "Bus",
    "BusError",
    "Closed",
    "Handler",
    "Listener",
    "LocalFirst",
    "Lost",
    "MemoryBus",
    "NatsBus",
    "Progress",
    "Refused",
    "Stop",
    "TooLarge",
    "Unreachable",
    "embedded_server",
    "open_bus",
]
