"""What a batch of calls would do, told without running any of it."""

from collections.abc import Sequence

from ..protocol.arguments import parse
from ..protocol.failures import Failure, ToolwireError
from ..protocol.outline import Graph, outline
from ..protocol.plan import Plan
from ..protocol.references import mentions
from ..protocol.tools import ToolCall
from .dispatch import Dispatcher
from .sending import encoded


def explained(calls: Sequence[ToolCall], dispatcher: Dispatcher, *, references: bool, ids: bool) -> Graph:
    """The graph of `calls`: who would wait for whom and why, and what would be refused."""
    found = [encoded(call) for call in calls]
    refuse = {n: failure for n, (_, failure) in enumerate(found) if failure is not None}
    for n, (call, _) in enumerate(found):
        if n not in refuse and (failure := refusal(call, dispatcher, references=references)) is not None:
            refuse[n] = failure
    catalogue = dispatcher.catalogue
    plan = Plan(
        [call for call, _ in found],
        catalogue.spec,
        references=references,
        ids=ids,
        resources=catalogue.resources,
        check=dispatcher.foreseen,
        refuse=refuse,
    )
    return outline(plan)


def refusal(call: ToolCall, dispatcher: Dispatcher, *, references: bool) -> Failure | None:
    """Why a call would be refused for its tool, or for arguments that wait for nobody."""
    entry = dispatcher.catalogue.entries.get(call.name)
    if entry is None:
        return dispatcher.catalogue.unknown(call.name)
    text = call.text()
    if references and mentions(text) and not isinstance(parse(text), Failure):
        return entry.check()  # the plan looks at the rest
    try:
        dispatcher.means.customs.understood(entry.spec, entry.checker, text)
    except ToolwireError as error:
        return error.failure
    return None
