"""What is taken down of each call: in the latest ones, in what is kept, and in the log."""

import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from anyio.abc import TaskGroup
from msgspec import Raw
from msgspec.structs import replace

from ..protocol.envelope import EMPTY_TRAIL, Trail
from ..protocol.failures import Misuse, ToolwireError, failed
from ..protocol.record import CallRecord, recorded, whose
from ..protocol.redaction import Redaction, has_secrets
from ..protocol.secret import HIDDEN
from ..protocol.tools import ToolCall, ToolResult
from ..runtime.border import fault
from .audit.contract import Sink
from .audit.writer import Writer
from .catalogue import Catalogue
from .context import Context
from .middleware import Next

log = logging.getLogger("toolwire.calls")

LOGGED = tuple(
    name for name in CallRecord.__struct_fields__[1:] if name not in {"arguments", "result", "message", "caller"}
)


class Records:
    """Takes down how calls ended. Nothing is made for a call while nobody wants it: see `wanted`.

    `latest` are the last `history` of them. Each call goes to the log `toolwire.calls` at INFO, if that is on.
    """

    def __init__(
        self, catalogue: Catalogue, history: int = 0, sinks: Sequence[Sink] = (), *, strict: bool = False
    ) -> None:
        if history < 0:
            raise Misuse(failed("invalid_call", f"history must be 0 or more, not {history!r}"))
        self.catalogue = catalogue
        self.latest: deque[CallRecord] = deque(maxlen=history)
        self.writers = [Writer(sink, strict=strict) for sink in sinks]
        self.content = any(sink.content for sink in sinks)
        self._always = bool(history or sinks)
        self._trail = EMPTY_TRAIL
        self._of = Trail()

    async def open(self, tasks: TaskGroup) -> None:
        """Make ready what is written to, and let it be written in `tasks`. Raises ToolwireError, `storage_failed`."""
        for writer in self.writers:
            try:
                await writer.open()
            except OSError as error:
                said = f"no record of calls can be kept in {writer.sink!r}: {error}"
                raise ToolwireError(failed("storage_failed", said)) from error
            tasks.start_soon(writer.run)

    async def close(self) -> None:
        """Write what is left."""
        for writer in self.writers:
            await writer.close()

    def wanted(self) -> bool:
        """Whether anybody wants to know. Cheap: it is asked for each call."""
        return self._always or log.isEnabledFor(logging.INFO)

    def noted(self, result: ToolResult[Any], trail: Raw) -> ToolResult[Any]:
        """`result`, of a call that could not be sent at all."""
        if self.wanted():
            self.ended(result, "", trail)
        return result

    def ended(self, result: ToolResult[Any], arguments: str, trail: Raw) -> None:
        """A call has ended so. Whatever goes wrong here, or in somebody's own handler of logs, the result stands."""
        try:
            self._ended(result, arguments, trail)
        except Exception as error:  # noqa: BLE001 - see above
            fault("taking down a call", error)

    def _ended(self, result: ToolResult[Any], arguments: str, trail: Raw) -> None:
        if trail is not self._trail:  # the calls of one response have one
            self._trail, self._of = trail, whose(trail)
        of = self._of
        record = recorded(result, of, datetime.now(UTC))
        self.latest.append(record)
        if log.isEnabledFor(logging.INFO):
            extra = {name if name != "id" else "call_id": getattr(record, name) for name in LOGGED}
            name = record.tool if record.tool.isprintable() else repr(record.tool)  # a model may forge lines with it
            log.info("%s ended: %s", name, record.code, extra=extra)
        if self.writers:
            whole = self._with_content(record, result, arguments, of) if self.content else record
            for writer in self.writers:
                writer.add(whole if writer.sink.content else record)

    def cancelled(self, call: ToolCall, arguments: str | None, trail: Raw, seconds: float = 0.0) -> None:
        """Whoever wanted a call has left before its end. `arguments` are None for one that had not begun."""
        begun = arguments is not None
        failure = failed("cancelled", "whoever called has left", "maybe" if begun else "none", by="caller")
        self.ended(ToolResult(call.id, call.name, None, failure, int(begun), seconds), arguments or "", trail)

    def _with_content(self, record: CallRecord, result: ToolResult[Any], arguments: str, of: Trail) -> CallRecord:
        content = result.content or ""
        spec = self.catalogue.spec(record.tool)
        if spec is None:  # nobody knows any more what in it is secret
            arguments, content = f'"{HIDDEN}"', f'"{HIDDEN}"' if content else ""
        else:
            arguments = self.catalogue.shown(record.tool, arguments)
            if content and spec.returns is not None and has_secrets(spec.returns):
                value = Redaction(spec.returns).shown(msgspec.json.decode(content))
                content = msgspec.json.encode(value).decode()
        message = "" if result.failure is None else result.failure.message
        return replace(record, arguments=arguments, result=content, message=message, caller=of.caller)

    async def place(self, call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        """A middleware: a call begins only when there is room for what is to be taken down of it."""
        held: list[Writer] = []
        try:
            for writer in self.writers:
                await writer.place()
                held.append(writer)
            return await following(call)
        finally:
            for writer in held:
                writer.added()
