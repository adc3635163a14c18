"""`toolwire demo`: a trip planned in one turn, and what it shows."""

from typing import Annotated, Any, Self

import anyio
import msgspec
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from ....protocol.events import Event
from ..console import Output, harmless, output
from ..demo.play import PACE, SCRIPT, Audience, Outcome, Stage, chosen, play
from ..demo.script import ASKED
from ..demo.waterfall import summary
from ..live import TurnView
from .exits import Exit, as_by_ctrl_c, exit_of
from .options import Json

TRIP = "toolwire.actors.gateways.demo.tools:TRIP"

REAL = f"""\
real model  OPENAI_API_KEY=… toolwire demo
your own    toolwire demo --model openai:NAME --base-url http://127.0.0.1:11434/v1
talk to it  toolwire chat --model openai:gpt-5.1 --tools {TRIP}"""


def demo(
    *,
    model: Annotated[
        str | None, Parameter(help="A real model, such as openai:gpt-5.1, or script. With OPENAI_API_KEY a real one.")
    ] = None,
    base_url: Annotated[str | None, Parameter(help="Where a server that speaks like OpenAI's is.")] = None,
    memory: Annotated[bool, Parameter(help="Without a broker and workers.", negative="")] = False,
    plain: Annotated[bool, Parameter(help="Without colour and movement.", negative="")] = False,
    json: Json = False,
) -> int:
    """Plan a trip in one turn: 15 calls over two worker processes, shown as a waterfall, and measured."""
    out = output(plain=plain)
    named = chosen(model, base_url)
    with as_by_ctrl_c(), Programme(out, silent=json) as programme:
        outcome = anyio.run(lambda: play(named, programme, embedded=not memory))
    if json:
        out.out(msgspec.json.encode(measurements(outcome)).decode())
    else:
        show(out, outcome)
    failure = outcome.reply.failure
    if failure is None:
        return Exit.DONE
    output(stderr=True).print(harmless(str(failure)), soft_wrap=True)
    return exit_of(failure)


class Programme(Audience):
    """Tells a terminal what goes on."""

    def __init__(self, out: Output, *, silent: bool) -> None:
        self._out = out
        self._silent = silent
        self._view = TurnView(out, transient=True) if out.is_terminal and not silent else None
        self._waiting = out.status("the same calls as a plain loop runs them …")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._view.__exit__(None, None, None)
        self._waiting.stop()

    def staged(self, stage: Stage, model: str) -> None:
        """All is up: say what."""
        if self._silent:
            return
        self._out.print(introduction(stage, model))
        if self._view is not None:
            self._view.__enter__()

    def hear(self, event: Event) -> None:
        """Show the turn while it runs."""
        if self._view is not None:
            self._view.hear(event)

    def compared(self) -> None:
        """The loops run."""
        if self._view is not None:
            self._view.__exit__(None, None, None)
            self._waiting.start()


def introduction(stage: Stage, model: str) -> Table:
    """Where it plays, and what is asked."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column()
    lines.add_row("bus", f"nats-server at {stage.url}" if stage.workers else f"in memory: {harmless(stage.reason)}")
    for name, worker in stage.workers.items():
        lines.add_row(name, f"process {worker.pid}: {', '.join(worker.tools)}")
    lines.add_row(
        "model",
        f"a script, {PACE.reply:g} s a reply and {PACE.call:g} s a call" if model == SCRIPT else harmless(model),
    )
    lines.add_row("asked", Text(ASKED, "bold"))
    lines.add_row()
    return lines


def show(out: Output, outcome: Outcome) -> None:
    """The end of the programme."""
    if outcome.replies:
        out.print(summary(outcome))
    if outcome.reply.text:
        out.print(Text(harmless(outcome.reply.text).strip()))
        out.print()
    if outcome.model == SCRIPT:
        out.print(Text(REAL, "dim"), soft_wrap=True)  # a command that is copied must stay in one piece


def measurements(outcome: Outcome) -> dict[str, Any]:
    """What a program may want to know."""
    loops = {"plain_gather": outcome.gather, "one_by_one": outcome.one_by_one}
    seconds = {name: loop.seconds for name, loop in loops.items() if loop is not None}
    replies = {name: loop.replies for name, loop in loops.items() if loop is not None}
    return {
        "bus": outcome.stage.url,
        "workers": {name: worker.pid for name, worker in outcome.stage.workers.items()},
        "model": outcome.model,
        "ended": outcome.reply.ended,
        "seconds": {"toolwire": outcome.seconds, **seconds},
        "replies": {"toolwire": len(outcome.replies), **replies},
        "spoken": outcome.replies,
        "calls": outcome.rows,
        "text": outcome.reply.text,
    }
