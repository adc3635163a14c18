"""A model whose every request and answer is written to a file, to be spoken again from it."""

import os
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio.to_thread
from msgspec import Raw
from msgspec.structs import replace

from ...protocol.failures import Failure, ToolwireError, failed
from ...protocol.history import History, HistoryMessage
from ...protocol.tools import ToolSpec, encode_json
from .contract import Model, ModelEvent, ModelReply, ModelRequest
from .hearing import failure_from
from .recorded import Exchange, Told, digest, line_of
from .standing import Standing

CONVERSATIONS = 1_024
"""Conversations of which only what is new is written."""

LEFT = failed("cancelled", "the request was left before its end")


class Recording(Standing):
    """Writes what `model` is asked and answers to the file `path`, a line of JSON each, see `Exchange`.

    All content is in it, secrets of the conversation too; a new file can be read by its owner alone, one that is there
    is added to. A line is written in a thread once the answer has ended, before its end is told; that of a request
    which was cancelled with the next one, or by `aclose`. What can't be written raises ToolwireError, `storage_failed`.
    """

    def __init__(self, model: Model, path: str | os.PathLike[str]) -> None:
        super().__init__(model)
        self.path = Path(path)
        self._lines: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._at_line = False
        self._known: OrderedDict[str, History] = OrderedDict()
        self._offered: tuple[Sequence[ToolSpec], dict[str, str]] = ((), {})

    def __repr__(self) -> str:
        return f"<Recording {self.inner!r} to {self.path}>"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`. Raises what the model raises."""
        asked = self.asked(request)
        try:
            reply = await self.inner.complete(request)
        except BaseException as error:
            await self.failed(asked, error)
            raise
        self.ended(replace(asked, reply=reply))
        await self.written()
        return reply

    async def aclose(self) -> None:
        """Write what is left, and close the model inside."""
        await self.written()
        await super().aclose()

    def _stream(self, request: ModelRequest) -> "RecordedStream":
        """The events of the answer to `request`."""
        return RecordedStream(self, self.asked(request), self._hear(request))

    def asked(self, request: ModelRequest) -> Exchange:
        """The line of `request`, so far."""
        if request.tools is not self._offered[0]:
            self._offered = (request.tools, {spec.name: digest(spec) for spec in request.tools})
        known, newer = self._newer(request)
        settings = Raw(encode_json(request.settings))
        output = Raw(encode_json(request.output))
        return Exchange(
            request.conversation, known, tuple(newer), self._offered[1], settings, request.tool_choice, output
        )

    def _newer(self, request: ModelRequest) -> tuple[int, Sequence[HistoryMessage]]:
        messages, known = request.messages, self._known
        if not isinstance(messages, History) or not request.conversation:
            return 0, messages
        before = known.get(request.conversation)
        known[request.conversation] = messages
        known.move_to_end(request.conversation)
        if len(known) > CONVERSATIONS:
            known.popitem(last=False)
        if before is None or not messages.continues(before):
            return 0, messages
        return len(before), messages[len(before) :]

    def ended(self, exchange: Exchange) -> None:
        """Have it written."""
        self._lines.append(line_of(exchange))

    async def failed(self, exchange: Exchange, error: BaseException) -> None:
        """The same for a request that came to nothing; one that was cancelled waits for the next."""
        try:
            failure: Failure | None = failure_from(error)
        except BaseException as other:
            if other is not error:
                raise
            failure = None
        self.ended(replace(exchange, failure=failure or LEFT))
        if failure is not None:
            await self.written()

    async def written(self) -> None:
        """Wait until all lines are written."""
        try:
            await anyio.to_thread.run_sync(self._write)
        except OSError as error:
            raise ToolwireError(failed("storage_failed", f"the recording can't be written: {error}")) from error

    def _write(self) -> None:
        with self._lock:  # one writes, in the order of the lines; who comes later finds them gone
            lines = b"".join(self._lines.popleft() for _ in range(len(self._lines)))
            if not lines:
                return
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                if not self._at_line and _is_torn(file):
                    lines = b"\n" + lines
                self._at_line = False
                while lines:
                    lines = lines[os.write(file, lines) :]
                self._at_line = True
            finally:
                os.close(file)


def _is_torn(file: int) -> bool:
    """Whether it ends inside of a line: who wrote that was killed, or the disk was full."""
    if not os.fstat(file).st_size:
        return False
    os.lseek(file, -1, os.SEEK_END)
    return os.read(file, 1) != b"\n"


class RecordedStream:
    """The events of an answer, which are written down, inside `async with`."""

    __slots__ = ("_error", "_events", "_exchange", "_recording", "_reply", "_stream", "_told")

    def __init__(
        self, recording: Recording, exchange: Exchange, stream: AbstractAsyncContextManager[AsyncIterator[ModelEvent]]
    ) -> None:
        self._recording = recording
        self._exchange = exchange
        self._stream = stream
        self._told: list[Told] = []
        self._reply: ModelReply | None = None
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        try:
            self._events = aiter(await self._stream.__aenter__())
        except BaseException as error:
            await self._recording.failed(self._so_far(), error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._stream.__aexit__(kind, error, trace)
        finally:
            wrong = self._error or error
            if wrong is not None and self._reply is None:
                await self._recording.failed(self._so_far(), wrong)
            else:
                answer = replace(self._so_far(), reply=self._reply)
                self._recording.ended(answer if self._reply is not None else replace(answer, failure=LEFT))
                if error is None:
                    await self._recording.written()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self._error = error
            raise
        if isinstance(event, ModelReply):
            self._reply = event
        else:
            self._told.append(event)
        return event

    def _so_far(self) -> Exchange:
        return replace(self._exchange, told=tuple(self._told))
