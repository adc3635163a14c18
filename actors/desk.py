"""What a person says about calls that were made from here, in no conversation."""

from collections.abc import Mapping
from typing import Any

from ..protocol.confirmation import denied
from ..protocol.envelope import NO_BYTES
from ..protocol.failures import Failure, failed
from ..protocol.tools import ToolCall, ToolResult
from ..runtime.context import Context, outside
from ..runtime.tracing import Tracing
from .dispatch import Dispatcher
from .held import Held
from .sending import Word

UNSPENT = frozenset(
    {"invalid_arguments", "rate_limited", "circuit_open", "overloaded", "not_allowed", "timed_out", "unreachable"}
)
"""After these, where nothing ran, the token may still count: only who gave it out knows, and takes it once."""


class Desk:
    """Carries out what a person says about the calls that are `held`."""

    def __init__(self, held: Held, dispatcher: Dispatcher, tracing: Tracing) -> None:
        self.held = held
        self._dispatcher = dispatcher
        self._tracing = tracing

    async def confirm(
        self, system: Any, token: str, arguments: Mapping[str, Any] | None, timeout: float | None
    ) -> ToolResult[Any]:
        """Run the call that waits for `token`, with other `arguments` if there are some."""
        waiting = self.held.take(token)
        if isinstance(waiting, Failure):
            return ToolResult("", "", None, waiting, 0)
        call = waiting.call
        if arguments is not None:
            try:
                call = ToolCall(call.id, call.name, ToolCall("", "", dict(arguments)).text())
            except NO_BYTES as error:
                self.held.give_back(token, waiting)
                said = f"the arguments are not what JSON can carry: {error}"
                return ToolResult(call.id, call.name, None, failed("invalid_arguments", said), 0)
        word = Word(token=token, changed=arguments is not None)
        try:
            result = await self._run(call, word, outside(system, waiting.trail), timeout)
        except BaseException:  # whoever said yes has left, maybe before the call began
            self.held.give_back(token, waiting)
            raise
        failure = result.failure
        if failure is not None and failure.code in UNSPENT and failure.effect == "none":
            self.held.give_back(token, waiting)
        return result

    async def _run(self, call: ToolCall, word: Word, context: Context, timeout: float | None) -> ToolResult[Any]:
        seconds = self._dispatcher.seconds(call.name, timeout)
        if not self._tracing.listens():
            return await self._dispatcher.run(call, seconds, context, None, word)
        with self._tracing.call(call, context, 0, 0) as span:
            return span.ended(await self._dispatcher.run(call, seconds, context, None, word))

    def deny(self, token: str, reason: str) -> ToolResult[Any]:
        """Forget the call that waits for `token`."""
        waiting = self.held.take(token)
        if isinstance(waiting, Failure):
            return ToolResult("", "", None, waiting, 0)
        return ToolResult(waiting.call.id, waiting.call.name, None, denied(reason), 0)
