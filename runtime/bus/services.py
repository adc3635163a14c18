"""The requests that one end answers: taken in callbacks, done by a pool, acknowledged if slow, listed in beats."""

import time
from collections.abc import Callable, Iterable

from .contract import Closed, Handler
from .isolation import ends_all, lost
from .link import Link, until_ready
from .pool import Pool
from .signals import CANCELLED, EVERY, INBOX, LARGE, LOST, PROGRESS, REFUSED, TAKEN, Beat, Subjects, encode, key
from .ticker import Ticker

SOON = 0.05
"""Seconds within which an answer is its own acknowledgement; a slower request is acknowledged within twice that."""
AWAY = 2.5
"""Seconds that this process did not run, after which nobody waits any more for what it finds."""
EARLY = 256
"""Cancels that are remembered because they may have overtaken their request."""
BACK = b"back"
"""What an end that was away says to itself: once it hears that, it has read all that had come before."""


class Job:
    """One request in hand."""

    __slots__ = ("handler", "key", "left", "over", "payload", "reply", "services", "subject", "taken")

    def __init__(self, services: "Services", subject: str, handler: Handler, payload: bytes, reply: str) -> None:
        self.services = services
        self.subject = subject
        self.handler = handler
        self.payload = payload
        self.reply = reply
        self.key = b""
        self.taken = False  # its acknowledgement was sent
        self.left = False  # its requester has gone
        self.over = False  # its handler has ended

    def progress(self, note: bytes) -> None:
        """Tell the requester, unless it is too late, too much, or the connection is full of other things."""
        services = self.services
        if not self.over and len(note) <= services.largest() and services.link.ready:
            services.link.post(self.reply + PROGRESS, note)


class Services:
    """All requests in hand, by their reply subject."""

    def __init__(
        self, link: Link, instance: str, subjects: Subjects, largest: Callable[[], int], concurrency: int, backlog: int
    ) -> None:
        self.link = link
        self.instance = instance
        self.largest = largest
        self.pool: Pool[Job] = Pool(self._run, concurrency, backlog)
        self.jobs: dict[str, Job] = {}
        self.served: set[str] = set()
        self.acknowledging = Ticker(SOON, self.acknowledge)
        self.beating = Ticker(EVERY, self.beat)
        self._subjects = subjects
        self._young: list[Job] = []
        self._old: list[Job] = []
        self._early: dict[str, None] = {}
        self._ran = time.monotonic()
        self._returning = False

    def add(self, subject: str) -> None:
        """Beat from now on."""
        self.served.add(subject)
        if self.beating.asleep:
            self.beating.wake()
            self.beat()

    def take(self, subject: str, handler: Handler, reply: str, payload: bytes) -> None:
        """Take a request, or refuse it. What says nowhere to answer is none."""
        if not reply.startswith(INBOX):
            return
        if self._early and reply in self._early:
            del self._early[reply]
            self.link.post(reply + CANCELLED, b"")
            return
        job = Job(self, subject, handler, payload, reply)
        if self._was_away() or reply in self.jobs or not self.pool.take(job):
            self.link.post(reply + REFUSED, b"")
            return
        self.jobs[reply] = job
        self._young.append(job)
        if self.acknowledging.asleep:
            self.acknowledging.wake()

    def _was_away(self) -> bool:
        """Whether this process stood still for long and has not yet read what had come meanwhile."""
        now = time.monotonic()
        if now - self._ran > AWAY:
            self._returning = True
            self.link.post(self._subjects.ping_at(self.instance), BACK)
        self._ran = now
        return self._returning

    def hear_ping(self, _subject: str, reply: str, payload: bytes | None) -> None:
        """Give a sign of life."""
        if payload == BACK:
            self._returning = False
        elif reply.startswith(INBOX):
            self.link.post(reply, b"")

    def hear_cancel(self, _subject: str, _reply: str, payload: bytes | None) -> None:
        """Leave the request with this reply subject, if it is here."""
        reply = (payload or b"").decode("ascii", "replace")
        job = self.jobs.get(reply)
        if job is None:
            self._early[reply] = None
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]
        elif not job.over:
            job.left = True
            if self.pool.cancel(job):
                self._end(job)
                self.link.post(reply + CANCELLED, b"")

    async def _run(self, job: Job) -> None:
        """Have one request answered, whatever its handler does."""
        try:
            answer = await job.handler(job.payload, job.progress)
            size = len(answer)
        except BaseException as error:
            self._end(job)
            self._fail(job, error)
            if ends_all(error):
                raise
        else:
            job.over = True
            await self._answer(job, answer, size)
            self._end(job)

    async def _answer(self, job: Job, answer: bytes, size: int) -> None:
        if size > self.largest():
            self.link.post(job.reply + LARGE, str(size).encode())
            return
        if not self.link.ready and not job.left:
            await until_ready(self.link)
        try:
            await self.link.send(job.reply, answer)
        except Closed:
            return  # whoever waits sees this end fall silent

    def _fail(self, job: Job, error: BaseException) -> None:
        stopped = ends_all(error)
        if not stopped:
            lost(job.subject, error)
        if job.left:
            self.link.post(job.reply + CANCELLED, b"")
        else:
            why = "was stopped" if stopped else f"raised {type(error).__name__}"
            self.link.post(job.reply + LOST, why.encode())

    def _end(self, job: Job) -> None:
        job.over = True
        self.jobs.pop(job.reply, None)

    def refuse(self, jobs: Iterable[Job]) -> None:
        """Say that nothing of these ran."""
        for job in jobs:
            self._end(job)
            self.link.post(job.reply + REFUSED, b"")

    def acknowledge(self) -> bool:
        """Say of each request that has been here for a while that it is here. True while there are any."""
        self._ran = time.monotonic()
        if self.link.ready:
            for job in self._old:
                if not job.over:
                    job.taken = True
                    self.link.post(job.reply + TAKEN, self.instance.encode())
            self._old, self._young = self._young, []
        else:
            self._old, self._young = [job for job in self._old + self._young if not job.over], []
        return bool(self.jobs)

    def beat(self) -> bool:
        """Tell everybody that this end lives, and what it has in hand. True while it serves something."""
        self._ran = time.monotonic()
        keys = []
        for job in self.jobs.values():
            if job.taken:
                job.key = job.key or key(job.reply)
                keys.append(job.key)
        if self.link.ready:
            self.link.post(self._subjects.beat, encode(Beat(self.instance, keys)))
        return bool(self.served or self.jobs)
