"""What calls may do: rules as values, and what they say of one call.

A policy stands where calls come from. It is asked with the tool's name and with whose call it is; it knows nothing of
arguments, for what hangs on them is the tool's own to say (`confirm=`).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from .failures import Failure, Misuse, failed
from .rate import Rate, rate

Globs = str | Sequence[str] | AbstractSet[str]
"""One pattern, or several: `*` stands for any characters, `?` for one, `[ab]` for one of these. Case counts."""

Per = Literal["all", "caller", "conversation"]

VERDICTS = 4_096
"""How many verdicts are remembered: conversations and callers are many, and a glob takes a microsecond."""


class Rule(Struct, frozen=True, kw_only=True):
    """What holds for some calls. Without conditions, for all.

    It is about the calls of `tools` by an `agent`, in a `conversation` ("" for a call in none; all three by their
    names) and of a `caller`: an object each of whose named fields is, or, for a text, fits what is given here.

    `deny` refuses tools by name, `allow` all others than those named (of several rules that allow, one is enough), and
    before a call of those in `confirm` a person is asked. No more than `rate` ("10/s", "30/m", "5/10s", "100/h") may
    begin, and no more than `concurrency` run at once: of all calls that the rule is about together, or `per`
    conversation or caller. `name` is how a refusal speaks of it.

    Raises Misuse for a rate that is none, and for what is no glob.
    """

    name: str = ""
    tools: Globs = "*"
    allow: Globs | None = None
    deny: Globs = ()
    confirm: Globs = ()
    agent: str = "*"
    conversation: str = "*"
    caller: Mapping[str, Any] = {}
    rate: str = ""
    concurrency: int | None = None
    per: Per = "all"

    def __post_init__(self) -> None:
        for part in ("tools", "deny", "confirm"):
            globs(self, part)
        if self.allow is not None:
            globs(self, "allow")
        for part, kind in (("agent", str), ("conversation", str), ("caller", Mapping)):
            if not isinstance(getattr(self, part), kind):
                said = "an object of fields" if kind is Mapping else "a name or one glob"
                raise misuse(f"{part} is {said}, not {getattr(self, part)!r:.100}")
        if self.rate:
            rate(self.rate)
        if self.per not in {"all", "caller", "conversation"}:
            raise misuse(f"per is 'all', 'caller' or 'conversation', not {self.per!r:.100}")
        if self.concurrency is not None and self.concurrency < 1:
            raise misuse(f"concurrency is 1 or more, not {self.concurrency!r:.100}: to refuse calls, deny them")


class Subject(NamedTuple):
    """Whose call it is: names, "" where there is none, and the application's own data about who speaks, as JSON."""

    agent: str = ""
    conversation: str = ""
    caller: str = ""


class Limit(NamedTuple):
    """One rule's limits: `rate` or None, `concurrency` or None, and which rule it is."""

    rule: int
    name: str
    rate: Rate | None
    concurrency: int | None
    per: Per

    def key(self, subject: Subject) -> str:
        """What is counted together."""
        if self.per == "all":
            return ""
        return subject.caller if self.per == "caller" else subject.conversation


class Verdict(NamedTuple):
    """What the rules say of a call: why not; else why a person is asked first, "" if not; and what limits it."""

    denied: Failure | None
    confirm: str = ""
    limits: tuple[Limit, ...] = ()


class Policy:
    """Rules that hold together: `Policy(Rule(deny="delete_*"), Rule(caller={"role": "guest"}, allow="get_*"))`.

    A call is refused if any rule that is about it denies its tool, or if some allow tools and none allows this one.
    Their order says nothing.
    """

    __slots__ = ("_limits", "_verdicts", "rules")

    def __init__(self, *rules: Rule) -> None:
        for given in rules:
            if not isinstance(given, Rule):
                raise misuse(f"a policy is made of rules, not of {given!r:.100}")
        self.rules = tuple(msgspec.structs.replace(r, name=r.name or f"rule {n}") for n, r in enumerate(rules, 1))
        self._verdicts: dict[tuple[str, Subject], Verdict] = {}
        self._limits = tuple(limit(n, each) for n, each in enumerate(self.rules))

    def __repr__(self) -> str:
        return f"<Policy {', '.join(each.name for each in self.rules)}>"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits of every rule, in their order."""
        return self._limits

    def verdict(self, tool: str, subject: Subject) -> Verdict:
        """What the rules say of a call of `tool`."""
        known = self._verdicts.get((tool, subject))
        if known is None:
            if len(self._verdicts) >= VERDICTS:
                self._verdicts.clear()
            known = self._verdicts[tool, subject] = self._judged(tool, subject)
        return known

    def _judged(self, tool: str, subject: Subject) -> Verdict:
        caller = fields_of(subject.caller)
        about = [(n, each) for n, each in enumerate(self.rules) if is_about(each, tool, subject, caller)]
        for _, each in about:
            if fits(tool, globs(each, "deny")):
                return Verdict(denied(tool, each.name))
        allowing = [each for _, each in about if each.allow is not None]
        if allowing and not any(fits(tool, globs(each, "allow")) for each in allowing):
            return Verdict(denied(tool, ", ".join(each.name for each in allowing)))
        asking = [each.name for _, each in about if fits(tool, globs(each, "confirm"))]
        limits = tuple(self._limits[n] for n, each in about if each.rate or each.concurrency is not None)
        return Verdict(None, f"{', '.join(asking)} asks for that" if asking else "", limits)


def limit(n: int, rule: Rule) -> Limit:
    """The limits of the rule at `n`."""
    return Limit(n, rule.name, rate(rule.rate) if rule.rate else None, rule.concurrency, rule.per)


def is_about(rule: Rule, tool: str, subject: Subject, caller: dict[str, Any]) -> bool:
    """Whether a rule has something to say of a call."""
    return (
        fits(tool, globs(rule, "tools"))
        and fits(subject.agent, (rule.agent,))
        and fits(subject.conversation, (rule.conversation,))
        and all(name in caller and is_like(caller[name], wanted) for name, wanted in rule.caller.items())
    )


def is_like(value: object, wanted: object) -> bool:
    """Whether a field of a caller is what a rule names. True is not 1."""
    if isinstance(wanted, str):
        return isinstance(value, str) and fits(value, (wanted,))
    return type(value) is type(wanted) and value == wanted


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether `name` fits one of the patterns."""
    return any(pattern in ("*", name) or fnmatchcase(name, pattern) for pattern in patterns)


def fields_of(caller: str) -> dict[str, Any]:
    """The fields of a caller; none of one that is no object."""
    try:
        value = msgspec.json.decode(caller or "{}")
    except msgspec.DecodeError:  # it came over the bus: whoever sent it is nobody in particular
        return {}
    return value if isinstance(value, dict) else {}


def globs(rule: Rule, part: str) -> tuple[str, ...]:
    """The patterns of one part of a rule. Raises Misuse for what is none."""
    given = getattr(rule, part)
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Sequence | AbstractSet) or not all(isinstance(pattern, str) for pattern in given):
        raise misuse(f"{part} is a name or a glob, or several, not {given!r:.100}")
    return tuple(given)


def denied(tool: str, by: str) -> Failure:
    """That policy forbids a call."""
    said = f"{tool[:100]!r} is not allowed here ({by}): do without it, and say so if the task needs it"
    return failed("not_allowed", said, by=by, tool=tool[:100])


def misuse(said: str) -> Misuse:
    """The exception for a rule that is none."""
    return Misuse(failed("invalid_call", f"a rule of a policy: {said}"))
