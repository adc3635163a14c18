"""How many requests and tokens a model may be asked in a time, and how many at once; who waits does so in order."""

import math
from collections import deque
from threading import Lock

import anyio
from msgspec import Struct

from ...protocol.failures import Failure, Misuse, ToolwireError, failed
from ...protocol.options import COUNT, check, maybe
from ...protocol.rate import Allowance, rate
from ...runtime.loops import Loop, here

WAITING = 1_024
"""Requests that may wait."""


class Waiter(Struct, eq=False):
    """A request that waits: its tokens, and what wakes it up."""

    tokens: float
    woken: anyio.Event


class Limiter:
    """Lets requests pass at a rate. Models for which one key pays share one. It is for one event loop: while that runs,
    a request of another one raises Misuse. One that comes after it goes on with what was taken.

    `requests` and `tokens` are rates such as "60/m" and "100000/m", `concurrent` how many may run at once. Who comes
    first goes first; who is cancelled leaves its place to those behind. Raises Misuse for what is no limit.
    """

    def __init__(
        self, *, requests: str | None = None, tokens: str | None = None, concurrent: int | None = None
    ) -> None:
        check("Limiter", {"concurrent": concurrent}, {"concurrent": maybe(COUNT)})
        if requests is None and tokens is None and concurrent is None:
            raise Misuse(failed("invalid_call", "nothing is limited: give requests=, tokens= or concurrent="))
        self.requests = None if requests is None else Allowance(rate(requests))
        self.tokens = None if tokens is None else Allowance(rate(tokens))
        self.concurrent = concurrent
        self.running = 0
        self._most = math.inf if concurrent is None else concurrent
        self._queue: deque[Waiter] = deque()
        self._queued = 0.0
        self._loop: Loop | None = None
        self._moving = Lock()

    def __repr__(self) -> str:
        limits = [] if self.requests is None else [f"{self.requests.limit} requests"]
        limits += [] if self.tokens is None else [f"{self.tokens.limit} tokens"]
        limits += [] if self.concurrent is None else [f"{self.concurrent} at once"]
        return f"<Limiter {', '.join(limits)} [running: {self.running} | waiting: {len(self._queue)}]>"

    def admit(self, tokens: float) -> bool:
        """Let a request of about so many tokens begin, if nobody waits and it may. Raises Misuse in another loop."""
        loop = here()
        if loop is not self._loop:
            self._move(loop)
        if self._queue or self.running >= self._most:
            return False
        by_requests, by_tokens = self.requests, self.tokens
        if by_requests is not None or by_tokens is not None:
            now = loop.clock()
            if by_tokens is not None and not by_tokens.fits(tokens, now):
                return False
            if by_requests is not None and not by_requests.fits(1, now):
                if by_tokens is not None:
                    by_tokens.settle(-tokens)
                return False
        self.running += 1
        return True

    async def enter(self, tokens: float, left: float | None) -> bool:
        """Wait until a request of about so many tokens may begin, for less than the `left` seconds. Whether it waited.

        Raises ToolwireError: `rate_limited` if that would take too long, `overloaded` if too many wait.
        """
        if self.admit(tokens):
            return False
        now = anyio.current_time()
        if len(self._queue) >= WAITING:
            raise ToolwireError(failed("overloaded", f"{WAITING} requests to the model wait already", by="waiting"))
        late = self._delay(tokens, now, self._queue, self._queued)
        if late and left is not None and late >= left:
            raise ToolwireError(self._refusal(tokens, now))
        waiter = Waiter(tokens, anyio.Event())
        queue = self._queue
        queue.append(waiter)
        self._queued += tokens
        try:
            with anyio.CancelScope(deadline=math.inf if left is None else now + left):
                await self._turn(waiter)
                return True
        finally:
            queue.remove(waiter)
            if queue is self._queue:
                self._queued -= tokens
                self._wake()
        raise ToolwireError(self._refusal(tokens, anyio.current_time()))

    def leave(self, more: float) -> None:
        """A request has ended; it took `more` tokens than was thought, or, below 0, less."""
        if self.running:
            self.running -= 1
        if more and self.tokens is not None:
            self.tokens.settle(more)
        if self._queue:
            self._wake()

    async def _turn(self, waiter: Waiter) -> None:
        """Wait for the first place, and there until the request fits."""
        while True:
            wait = math.inf
            if self._queue[0] is waiter and self.running < self._most:
                now = anyio.current_time()
                wait = self._delay(waiter.tokens, now)
                if not wait:
                    self._take(waiter.tokens, now)
                    return
            with anyio.move_on_after(wait):
                await waiter.woken.wait()
            waiter.woken = anyio.Event()

    def _take(self, tokens: float, now: float) -> None:
        self.running += 1
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def _delay(self, tokens: float, now: float, queue: "deque[Waiter] | tuple[()]" = (), queued: float = 0.0) -> float:
        """Seconds until both rates let it pass, behind those in `queue`."""
        by_requests = 0.0 if self.requests is None else self.requests.wait(1, now, len(queue))
        return by_requests if self.tokens is None else max(by_requests, self.tokens.wait(tokens, now, queued))

    def _wake(self) -> None:
        """Whoever is first now, or could go now, looks again."""
        if self._queue:
            self._queue[0].woken.set()

    def _move(self, loop: Loop) -> None:
        """Go on in another event loop, whose clock may show another time. Raises Misuse while the one before runs."""
        with self._moving:
            before = self._loop
            if before is not None and before is not loop:
                if before.over():
                    self.running, self._queue, self._queued = 0, deque(), 0.0  # who never left can't any more
                elif self.running or self._queue or before.runs():
                    said = "a Limiter is for one event loop, and the one that it was used in still runs"
                    raise Misuse(failed("invalid_call", f"{said}: give each loop, and each thread, one of its own"))
                ahead = loop.clock() - before.clock()
                for allowance in (self.requests, self.tokens):
                    if allowance is not None:
                        allowance.shift(ahead)
            self._loop = loop

    def _refusal(self, tokens: float, now: float) -> Failure:
        """Why it would take too long."""
        waits = {"concurrent": 0.0}
        if self.requests is not None:
            waits["requests"] = self.requests.wait(1, now, len(self._queue))
        if self.tokens is not None:
            waits["tokens"] = self.tokens.wait(tokens, now, self._queued)
        by = max(waits, key=waits.__getitem__)
        if not waits[by] and self.concurrent is None:
            return failed("rate_limited", "no time was left to wait for the requests before it", by="waiting")
        if not waits[by]:
            said = f"{self.concurrent} requests to the model run, and none of them ended in the time that was left"
            return failed("rate_limited", said, by="concurrent")
        allowance = self.requests if by == "requests" else self.tokens
        assert allowance is not None  # noqa: S101 - it has a wait
        limit, wait = str(allowance.limit), waits[by]
        said = f"the model may be asked {limit} {by} at most: the wait of {wait:.2g} s does not fit the time left"
        return Failure("rate_limited", said, retryable=True, retry_after=wait, details={"by": by, "rate": limit})
