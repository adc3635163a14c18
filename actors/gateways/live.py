"""A turn while it runs: the text as it is spoken, and the calls as they run, in the order in which they came."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ...protocol.events import CallFinished, CallProgress, CallStarted, Event, TextDelta
from ...protocol.tools import ToolResult
from .console import brief, harmless

BY_SECOND = 12
"""Pictures a second."""
ECHO = 2
"""Columns that stay free: a terminal writes ^C where its cursor is, and must not begin a line for it."""


class CallLine:
    """One call: a spinner and its seconds while it runs, then what came of it."""

    def __init__(self, started: CallStarted, clock: Callable[[], float]) -> None:
        self.told = shown(started.name, started.arguments)
        self._clock = clock
        self._began = clock()
        self._note = ""
        self._left = False
        self._result: ToolResult[Any] | None = None
        self._spinner = Spinner("dots", style="cyan")

    def note(self, progress: CallProgress) -> None:
        """What the tool says of itself."""
        part = f"{progress.done:g}/{progress.total:g}" if progress.total else f"{progress.done:g}"
        self._note = f" {part} {brief(progress.note)}".rstrip()

    def end(self, result: ToolResult[Any]) -> None:
        """The call has ended."""
        self._result = result

    def leave(self) -> None:
        """The turn is over; if the call is not, nobody waits for it any more."""
        self._left = True

    def ended(self) -> Text:
        """The line of a call that has ended, or was left."""
        result = self._result
        if result is None:
            return Text.assemble(("  - ", "yellow"), self.told, ("  stopped", "yellow"))
        if result.failure is None:
            came = f"  {result.seconds:.2f} s  {brief(result.content or '')}"
            return Text.assemble(("  ✓ ", "green"), self.told, (came, "dim"))
        said = f"{result.failure.code}: {brief(result.failure.message, 100)}"
        return Text.assemble(("  ✗ ", "red"), self.told, (f"  {result.seconds:.2f} s  ", "dim"), (said, "red"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The call as it stands, in one line of a terminal."""
        room = options.max_width - ECHO
        if self._result is not None or self._left:
            line = self.ended()
        else:
            seconds = f"  {self._clock() - self._began:.1f} s"
            told = Text(self.told)
            told.truncate(max(room - len("  ⠹ ") - len(seconds), 1), overflow="ellipsis")
            self._spinner.update(text=Text.assemble(told, (f"{seconds}{self._note}", "dim")))
            picture = self._spinner.render(console.get_time())
            line = Text("  ").append_text(picture) if isinstance(picture, Text) else Text("  ")
        line.truncate(room, overflow="ellipsis")
        yield line


class TurnView:
    """Shows a turn, inside `with`: alive on a terminal; elsewhere the text as it comes, and each call at its end.

    `calls` is where ended calls are written if nothing moves, else they go where the text goes.
    """

    def __init__(
        self,
        text: Console,
        calls: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        transient: bool = False,
    ) -> None:
        self._out = text
        self._calls_out = calls or text
        self._clock = clock
        self._parts: list[Text | CallLine] = []
        self._calls: dict[str, CallLine] = {}
        self._open_line = False
        self._live = (
            Live(self, console=text, refresh_per_second=BY_SECOND, vertical_overflow="ellipsis", transient=transient)
            if text.is_terminal and not text.is_dumb_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._calls.values():
            line.leave()
        if self._live is not None:
            self._live.stop()
        self._end_line()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let something else have the terminal for a while: the picture is taken away, and comes back below."""
        live = self._live
        if live is None:
            self._end_line()
            yield
            return
        live.transient, was = True, live.transient
        live.stop()
        try:
            yield
        finally:
            live.transient = was
            live.start()

    def __rich__(self) -> RenderableType:
        return Group(*self._parts)

    def hear(self, event: Event) -> None:
        """Show what has happened."""
        match event:
            case TextDelta(text=text):
                self._speak(harmless(text))
            case CallStarted():
                self._calls[event.id] = line = CallLine(event, self._clock)
                self._parts.append(line)
            case CallProgress() if event.id in self._calls:
                self._calls[event.id].note(event)
            case CallFinished(result=result):
                self._end(result)
            case _:
                pass

    def _speak(self, text: str) -> None:
        last = self._parts[-1] if self._parts else None
        if isinstance(last, Text):
            last.append(text)
        else:
            self._parts.append(Text(text))
        if self._live is None:
            self._out.out(text, end="", highlight=False)
            self._open_line = not text.endswith("\n")

    def _end(self, result: ToolResult[Any]) -> None:
        line = self._calls.get(result.id)
        if line is None:  # refused before it started
            line = CallLine(CallStarted(result.id, result.name, ""), self._clock)
            self._parts.append(line)
        line.end(result)
        if self._live is None:
            self._end_line()
            self._calls_out.print(line.ended(), soft_wrap=True)

    def _end_line(self) -> None:
        if self._open_line:
            self._out.out("")
            self._open_line = False


def shown(name: str, arguments: str) -> str:
    """A call as a person writes one: `search(city="Paris", nights=2)`."""
    try:
        given = msgspec.json.decode(arguments or "{}", type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return f"{brief(name)}({brief(arguments)})"
    return f"{brief(name)}({brief(', '.join(f'{key}={bytes(value).decode()}' for key, value in given.items()))})"
