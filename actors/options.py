"""Of what kind the options of tools, agents and runtimes are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..protocol.breaker import Breaker
from ..protocol.options import COUNT, COUNT_OR_0, SECONDS, TEXT, TRUTH, Kind, maybe
from ..protocol.policy import Policy
from .memory.contract import MemoryStrategy
from .selectors.contract import SelectionStrategy


def is_sinks(value: Any) -> bool:
    """Whether `value` is a list, or the like, of what can keep records."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    return all(hasattr(each, "write") and hasattr(each, "content") for each in value)


def is_tools(value: Any) -> bool:
    """Whether `value` is several things: one text is its letters, and one function none."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def is_selector(value: Any) -> bool:
    """Whether `value` is a selection strategy, whose bounds, if it names some, can be meant."""
    if isinstance(value, type) or not isinstance(value, SelectionStrategy):
        return False
    return COUNT.fits(getattr(value, "most", 1)) and TRUTH.fits(getattr(value, "always", True))


def is_memory(value: Any) -> bool:
    """Whether `value` is a memory strategy, and not the class of one."""
    return isinstance(value, MemoryStrategy) and not isinstance(value, type)


SELECTOR = Kind("an object with add, remove and select (and, if it likes, most and always)", is_selector)
RATE = Kind("a text such as '10/s', '30/m', '5/10s' or '100/h'", TEXT.fits)

TOOL = {
    **dict.fromkeys(("read_only", "idempotent", "destructive", "exclusive", "untrusted"), TRUTH),
    "name": maybe(TEXT),
    "description": maybe(TEXT),
    "version": TEXT,
    "timeout": maybe(SECONDS),
    "concurrency": COUNT,
    "lenient": maybe(TRUTH),
    "rate": maybe(RATE),
    "breaker": Kind("True, False or a Breaker", lambda value: isinstance(value, bool | Breaker)),
    "result_bytes": maybe(COUNT),
}
"""What is looked at by its kind alone. The others are looked at where they are understood."""

RUNTIME = {
    "call_seconds": SECONDS,
    "result_bytes": COUNT,
    "artifact_bytes": COUNT_OR_0,
    "threads": COUNT,
    "processes": maybe(COUNT_OR_0),
    "history": COUNT_OR_0,
    "audit": Kind("a list of sinks, such as [JsonLines('calls.jsonl')]", is_sinks),
    "policy": maybe(Kind("a Policy, such as Policy(Rule(deny='delete_*'))", lambda value: isinstance(value, Policy))),
    "taint": TRUTH,
    "audit_strict": TRUTH,
    "selector": maybe(SELECTOR),
}

AGENT = {
    "name": TEXT,
    "system": maybe(TEXT),
    "settings": Kind("a dict, such as {'temperature': 0.2}", lambda value: isinstance(value, Mapping)),
    "tools": maybe(Kind('a list: of tools, functions, names or globs, such as ["*"]', is_tools)),
    "references": TRUTH,
    "eager": Kind("'read_only', 'all' or 'off'", lambda value: value in ("read_only", "all", "off")),
    "last_answer": TRUTH,
    "selector": maybe(SELECTOR),
    "output_retries": COUNT_OR_0,
    "memory": maybe(Kind("an object with shorten, such as Trim(tokens=100_000)", is_memory)),
    "when_busy": Kind("'queue', 'refuse' or 'interrupt'", lambda value: value in ("queue", "refuse", "interrupt")),
}
