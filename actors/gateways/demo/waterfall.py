"""What the demo shows at its end: the turn as a waterfall, and its seconds beside those of two loops."""

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .play import Outcome
from .recording import Row
from .watched import Spoken

COLOURS = {"worker 1": "cyan", "worker 2": "magenta", "here": "green", "here, thread": "yellow"}
MODEL = "bright_black"
NARROWEST = 12
TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
APART = 8
"""Columns between two numbers of the axis, at least."""


class Bar:
    """A line in time, in halves of a column: `waits` dotted, then `runs`. The whole width is `total` seconds."""

    def __init__(self, total: float, waits: tuple[float, float], runs: tuple[float, float], style: str) -> None:
        self._total = total
        self._waits = waits
        self._runs = runs
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        halves = 2 * options.max_width
        a, b = (round(at / self._total * halves) for at in self._runs)
        b = min(max(b, a + 1), halves)
        a = min(a, b - 1)
        w = round(self._waits[0] / self._total * halves)
        full, right, left, dot = ("=", "=", "=", ".") if options.ascii_only else ("━", "╺", "╸", "·")
        waiting, running = Style.parse("bright_black"), Style.parse(self._style)
        first, last = a // 2, (b - 1) // 2
        yield Segment(" " * min(w // 2, first))
        yield Segment(dot * (first - w // 2), waiting)
        for column in range(first, last + 1):
            begun, on = 2 * column >= a, 2 * column + 1 < b
            yield Segment(full if begun and on else left if begun else right, running)
        yield Segment(" " * (options.max_width - last - 1))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(NARROWEST, options.max_width)


class Axis:
    """The seconds above the bars."""

    def __init__(self, total: float) -> None:
        self._total = total

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        step = next((tick for tick in TICKS if tick / self._total * width >= APART), self._total)
        line = [" "] * (width + APART)
        for n in range(int(self._total / step) + 1):
            column = round(n * step / self._total * width)
            label = f"{n * step:g} s" if n == 0 else f"{n * step:g}"
            if column + len(label) <= width:
                line[column : column + len(label)] = label
        yield Segment("".join(line[:width]), Style(dim=True))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(NARROWEST, options.max_width)


def waterfall(rows: Sequence[Row], replies: Sequence[Spoken]) -> Table:
    """One line for each reply of the model and each call: what it waited for, when it ran, where, how it ended."""
    total = max([row.finished for row in rows] + [reply.ended for reply in replies], default=1.0) or 1.0
    shown = Table(box=None, pad_edge=False, expand=True, header_style="dim", collapse_padding=True)
    shown.add_column("", justify="right", no_wrap=True)
    shown.add_column("call", no_wrap=True)
    shown.add_column("where", no_wrap=True)
    shown.add_column("waits for", no_wrap=True)
    shown.add_column(Axis(total), ratio=1)
    shown.add_column("took", justify="right", no_wrap=True)
    shown.add_column("ended", no_wrap=True)
    left = list(rows)
    for number, reply in enumerate(replies, 1):
        bar = Bar(total, (reply.began, reply.began), (reply.began, reply.ended), MODEL)
        took = f"{reply.ended - reply.began:.2f} s"
        what = f"reply {number}" if reply.calls else "the answer"
        shown.add_row("", Text(what, MODEL), Text("the model", MODEL), "", bar, Text(took, MODEL), "")
        asked, left = left[: len(reply.calls)], left[len(reply.calls) :]
        for row in asked:
            shown.add_row(*cells(row, total))
    return shown


def cells(row: Row, total: float) -> Iterable[RenderableType]:
    """One call."""
    good = row.ended == "ok"
    colour = COLOURS.get(row.where, "blue") if good else "red"
    waits = [*map(str, row.needs), *(f"after {number}" for number in row.order), *["a person"] * row.confirmed]
    tried = f" at try {row.attempts}" if row.attempts > 1 else ""
    yield Text(str(row.number), "dim")
    yield Text(row.name, "bold" if good else "bold red")
    yield Text(row.where or "refused", COLOURS.get(row.where, "dim"))
    yield Text(", ".join(waits))
    yield Bar(total, (row.asked, row.began), (row.began, row.finished), colour)
    yield f"{row.finished - row.began:.2f} s"
    yield Text(f"ok{tried}", "green") if good else Text(row.ended, "red")


def comparison(outcome: Outcome) -> RenderableType:
    """The seconds of the turn, beside those of the loops."""
    measured = [("Toolwire", outcome.seconds, len(outcome.replies), "of the model")]
    if outcome.gather is not None:
        loop = outcome.gather
        measured.append(("plain gather", loop.seconds, loop.replies, "a needed result costs one more"))
    if outcome.one_by_one is not None:
        loop = outcome.one_by_one
        measured.append(("one by one", loop.seconds, loop.replies, "never two calls at once"))
    longest = max(seconds for _, seconds, _, _ in measured)
    shown = Table.grid(padding=(0, 2, 0, 0), expand=True)
    shown.add_column(no_wrap=True)
    shown.add_column(justify="right", no_wrap=True)
    shown.add_column(ratio=1)
    shown.add_column(no_wrap=True)
    for n, (name, seconds, replies, why) in enumerate(measured):
        style = "green" if n == 0 else "bright_black"
        bar = Bar(longest, (0.0, 0.0), (0.0, seconds), style)
        told = Text.assemble(f"{replies} replies{' ' if n == 0 else ': '}", why, style="dim")
        shown.add_row(Text(name, f"bold {style}" if n == 0 else ""), Text(f"{seconds:.2f} s", "bold"), bar, told)
    return shown


def summary(outcome: Outcome) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [waterfall(outcome.rows, outcome.replies), Text()]
    if outcome.gather is not None:
        parts += [comparison(outcome), Text()]
    return Group(*parts)
