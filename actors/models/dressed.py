"""A provider's model with what its options ask for around each of its answers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ...protocol.tools import Retry
from ..steps.asked import retry
from .contract import ModelEvent, ModelReply, ModelRequest, StreamingModel
from .parsed import parsed
from .retrying import Retrying

RETRIES = 2
"""How often a provider is asked again where nobody says how often: as the SDKs do by themselves, but in the budget."""


class Asked(Protocol):
    """A provider's model, by what asks it exactly once."""

    model: str

    async def answer(self, request: ModelRequest) -> ModelReply:
        """Answer `request`."""
        ...

    def events(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The events of the answer to `request`."""
        ...

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises Misuse for settings that it can't have."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class Once:
    """A provider's model without what its options put around it."""

    def __init__(self, asked: Asked) -> None:
        self.model = asked.model
        self.check_settings = asked.check_settings
        self.aclose = asked.aclose
        self.stream = asked.events
        self._asked = asked

    def __repr__(self) -> str:
        return repr(self._asked)

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`."""
        return await self._asked.answer(request)


def dressed(once: StreamingModel, retries: int | Retry, tool_parser: str | None) -> StreamingModel:
    """`once`, asked again as `retries` says, calls that it writes as text read by `tool_parser`. Raises Misuse."""
    read: StreamingModel = once if tool_parser is None else parsed(once, tool_parser)
    asked = retry("retries", retries)
    return read if asked is None else Retrying(read, asked)
