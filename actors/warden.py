"""What stands before each call that is made from here: the policy, and what it counts."""

from typing import NamedTuple

from ..protocol.failures import Failure, failed
from ..protocol.policy import Limit, Policy, Subject
from ..protocol.rate import Meter, too_many
from ..runtime.context import Context
from ..runtime.deadline import Clock


class Entry(NamedTuple):
    """A call that was let in: why a person is to be asked first, "" if not, and where it counts until it leaves."""

    confirm: str = ""
    running: tuple[tuple[Limit, str], ...] = ()


class Warden:
    """Lets calls in as a policy says. What it keeps is bounded by who called lately and by what runs."""

    __slots__ = ("_clock", "_meters", "_running", "policy")

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self.policy = policy
        self._clock = clock
        self._meters = {limit.rule: Meter(limit.rate) for limit in policy.limits if limit.rate is not None}
        self._running: dict[tuple[int, str], int] = {}

    def __repr__(self) -> str:
        return f"<Warden {self.policy!r} [running: {sum(self._running.values())}]>"

    def enter(self, tool: str, context: Context, *, confirmed: bool) -> Entry | Failure:
        """Let a call of `tool` in, or say why not; it has to `leave`. One that is `confirmed` was counted before."""
        trail = context.whose()
        subject = Subject(trail.agent, trail.conversation, trail.caller)
        verdict = self.policy.verdict(tool, subject)
        if verdict.denied is not None:
            return verdict.denied
        if not verdict.limits:
            return Entry(verdict.confirm)
        keyed = tuple((limit, limit.key(subject)) for limit in verdict.limits)
        failure = self._busy(tool, keyed) or (None if confirmed else self._soon(tool, keyed))
        if failure is not None:
            return failure
        running = tuple((limit, key) for limit, key in keyed if limit.concurrency is not None)
        for limit, key in running:
            self._running[limit.rule, key] = self._running.get((limit.rule, key), 0) + 1
        return Entry(verdict.confirm, running)

    def leave(self, entry: Entry) -> None:
        """The call has ended."""
        for limit, key in entry.running:
            left = self._running[limit.rule, key] - 1
            if left:
                self._running[limit.rule, key] = left
            else:
                del self._running[limit.rule, key]

    def _busy(self, tool: str, keyed: tuple[tuple[Limit, str], ...]) -> Failure | None:
        for limit, key in keyed:
            most = limit.concurrency
            if most is not None and self._running.get((limit.rule, key), 0) >= most:
                said = f"{most} calls run already, as many as {limit.name} allows: wait until one has ended"
                return failed("rate_limited", f"{tool[:100]!r} has to wait: {said}", by=limit.name, concurrency=most)
        return None

    def _soon(self, tool: str, keyed: tuple[tuple[Limit, str], ...]) -> Failure | None:
        """Count the call where it counts; why it comes too soon, and then it is counted nowhere."""
        now = self._clock()
        counted: list[tuple[Meter, str]] = []
        for limit, key in keyed:
            if limit.rate is None:
                continue
            meter = self._meters[limit.rule]
            wait = meter.wait(key, now)
            if wait:
                for other, its in counted:
                    other.undo(its)
                return too_many(limit.rate, f"what {limit.name} is about", wait, limit.name)
            counted.append((meter, key))
        return None
