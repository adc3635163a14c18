"""What every model has that stands around another one."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from .contract import Model, ModelEvent, ModelRequest, StreamingModel
from .hearing import check_settings, close, name_of, prepare


class Standing(ABC):
    """Stands around the model `inner`, and streams if that does: by `_stream`, which hears it by `_hear`."""

    def __init__(self, inner: Model) -> None:
        self.inner = inner
        if isinstance(inner, StreamingModel):
            self._hear = inner.stream
            self.stream = self._stream

    @property
    def model(self) -> str:
        """What the model inside is called."""
        return name_of(self.inner)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises Misuse for settings that the model can't have."""
        check_settings((self.inner,), settings)

    async def aclose(self) -> None:
        """Close the model inside."""
        await close((self.inner,))

    def prepare(self) -> None:
        """Make what the first request needs. Raises Misuse if that can't be had."""
        prepare((self.inner,))

    @abstractmethod
    def _stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The events of the answer to `request`. Raises ToolwireError."""
