"""A model that is made when it is first needed: what stands around models takes names too, before there is a key."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from .contract import Model, ModelEvent, ModelReply, ModelRequest
from .hearing import check_settings, close, stream_of


class Named:
    """Stands for the model `name`, which `make` makes: for the first request, or earlier by `prepare`."""

    def __init__(self, name: str, make: Callable[[str], Model]) -> None:
        self.model = name
        self._make = make
        self._made: Model | None = None

    def __repr__(self) -> str:
        return f"<{self.model}>"

    def prepare(self) -> Model:
        """The model itself. Raises Misuse if it can't be made: no such provider, no SDK, no key."""
        if self._made is None:
            self._made = self._make(self.model)
        return self._made

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`."""
        return await self.prepare().complete(request)

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The events of the answer to `request`."""
        return stream_of(self.prepare())(request)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises Misuse for settings that the model can't have."""
        check_settings((self.prepare(),), settings)

    async def aclose(self) -> None:
        """Close the model, if it was made."""
        if self._made is not None:
            await close((self._made,))
