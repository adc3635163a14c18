"""Telling a model what it lacks: the tools on offer, and the whole of a history, in parts if it is long."""

from msgspec.structs import replace

from ..protocol.envelope import encode
from ..protocol.history import HistoryMessage
from ..protocol.messages import BatchEnded, Complete, Remember, SendAll
from ..protocol.tools import ToolSpec
from ..protocol.turn import Heard
from ..runtime.context import Context, Door
from .catalogue import Catalogue

CHUNK = 256 * 1024
"""Bytes of history in one message, where the model has to be told of all of it."""


async def retold(
    command: Complete, specs: tuple[ToolSpec, ...] | None, model: str | Door, context: Context
) -> Complete:
    """`command` with what the model lacks; a long history goes ahead in parts. Raises ToolwireError as `ask` does."""
    *ahead, newer = parts(command.newer)
    known = command.known
    for part in ahead:
        await context.ask(model, Remember(command.conversation, known, part))
        known += len(part)  # whoever forgot it meanwhile asks for all again
    return replace(command, known=known, newer=newer, specs=specs)


def specs_of(names: tuple[str, ...], catalogue: Catalogue, *, references: bool) -> tuple[ToolSpec, ...]:
    """What the tools of these names promise, as it is offered to a model. A name that is gone is left out."""
    found = map(catalogue.referring if references else catalogue.spec, names)
    return tuple(spec for spec in found if spec is not None)


def outdated(heard: Heard) -> bool:
    """Whether what is on offer should be selected anew after this, if the catalogue has changed.

    Before each further round, and where the specs themselves are asked for, which then have to be those selected.
    """
    return type(heard) is BatchEnded or (type(heard) is SendAll and heard.tools and not heard.history)


def parts(messages: tuple[HistoryMessage, ...], largest: int = CHUNK) -> list[tuple[HistoryMessage, ...]]:
    """`messages` in runs of at most `largest` encoded bytes each; a longer message is a run of its own."""
    runs: list[tuple[HistoryMessage, ...]] = []
    run: list[HistoryMessage] = []
    size = 0
    for message in messages:
        length = len(encode(message))
        if run and size + length > largest:
            runs.append(tuple(run))
            run, size = [], 0
        run.append(message)
        size += length
    return [*runs, tuple(run)]
