"""The requests that one end waits for: what came of each, and whether whoever has it still lives.

The way of a request that is answered soon costs one entry in a dict. All watching is done by a ticker, which looks
at those that have waited for longer, and by what comes in.
"""

import time
from collections.abc import Callable

import anyio
import msgspec

from .contract import Abandoned, BusError, Lost, Progress, Refused, TooLarge, Unreachable
from .isolation import Gate, log
from .link import Link
from .signals import ALIVE, CANCELLED, EVERY, LARGE, LOST, PROGRESS, REFUSED, TAKEN, Subjects, decode, key

LOOK = 0.25
"""Seconds between two looks at what waits."""
LATE = 1.5 * EVERY
"""Seconds without a beat after which an instance is asked for a sign of life."""
SILENT = 2.75 * EVERY
"""Seconds without a beat after which an instance is taken for dead: its third beat is overdue at the next look."""
NO_WORD = 2.5
"""Seconds after which a request is lost that nobody has so much as taken; it is due to be taken in 0.1."""
SETTLED = 2 * EVERY
"""Seconds for which a connection must have stood before "nobody there" proves anything: others reconnect too."""
UNLISTED = 2
"""Beats of an instance without a request that it had taken, after which it has forgotten it."""
MANY = 1024
"""Instances from which on those are forgotten that have long been silent."""
REMEMBERED = 10 * EVERY
"""Seconds after which a silent instance is forgotten."""


class Waiting:
    """One request that waits for its end."""

    __slots__ = ("answer", "done", "error", "gate", "instance", "key", "since", "subject", "taken", "unlisted")

    def __init__(self, subject: str, instance: str, progress: Progress | None) -> None:
        self.subject = subject
        self.instance = instance
        self.gate = None if progress is None else Gate(progress)
        self.done = anyio.Event()
        self.answer: bytes | None = None
        self.error: BusError | None = None
        self.since = 0.0  # when the ticker first saw it
        self.taken = False
        self.key = b""
        self.unlisted = 0

    def end(self, answer: bytes | None, error: BusError | None = None) -> None:
        """Let the requester go on."""
        self.answer, self.error = answer, error
        if self.gate is not None:
            self.gate.close()
        self.done.set()


class Requests:
    """All that waits, by the number under the inbox. `hear` and `hear_beat` take what comes in."""

    def __init__(self, inbox: str, link: Link, subjects: Subjects, clock: Callable[[], float] = time.monotonic) -> None:
        self.inbox = inbox
        self.waiting: dict[str, Waiting] = {}
        self._cut = len(inbox) + 1
        self._link = link
        self._subjects = subjects
        self._clock = clock
        self._looked = clock()
        self._heard: dict[str, float] = {}
        self._pinged: dict[str, float] = {}

    def hear(self, subject: str, _reply: str, payload: bytes | None) -> None:
        """Take what has come to the inbox. What belongs to nothing that waits is dropped."""
        about = subject[self._cut :]
        waiting = self.waiting.pop(about, None)
        if waiting is not None:
            if payload is not None:
                waiting.end(payload)
            else:
                waiting.end(None, Unreachable(f"nobody serves {waiting.subject}"))
        elif about.startswith(ALIVE):
            self._sign_of_life(about.removeprefix(ALIVE), payload)
        elif payload is not None:
            self._word(about, payload)

    def _word(self, about: str, payload: bytes) -> None:
        number, dot, rest = about.partition(".")
        waiting = self.waiting.get(number)
        if waiting is None:
            return
        word = dot + rest
        if word == PROGRESS:
            if waiting.gate is not None:
                waiting.gate(payload)
            return
        if word == TAKEN:
            waiting.instance, waiting.taken = payload.decode("ascii", "replace"), True
            self._heard.setdefault(waiting.instance, self._clock())
            return
        error = ending(word, waiting.subject, payload)
        if error is not None:
            del self.waiting[number]
            waiting.end(None, error)

    def _sign_of_life(self, instance: str, payload: bytes | None) -> None:
        if payload is not None:
            self._heard[instance] = self._clock()
        elif self._settled():
            self._lose(instance, "is gone")

    def hear_beat(self, _subject: str, _reply: str, payload: bytes | None) -> None:
        """Take a beat: who sent it lives, and has what it lists."""
        try:
            beat = decode(payload or b"")
        except msgspec.DecodeError as error:
            log.warning("a beat that is none was dropped: %s", error)
            return
        now = self._clock()
        self._heard[beat.instance] = now
        if len(self._heard) > MANY:
            self._heard = {each: at for each, at in self._heard.items() if now - at < REMEMBERED}
        keys = None
        for number, waiting in list(self.waiting.items()):
            if waiting.taken and waiting.instance == beat.instance:
                keys = set(beat.keys) if keys is None else keys
                self._listed(number, waiting, keys)

    def _listed(self, number: str, waiting: Waiting, keys: set[bytes]) -> None:
        waiting.key = waiting.key or key(f"{self.inbox}.{number}")
        waiting.unlisted = 0 if waiting.key in keys else waiting.unlisted + 1
        if waiting.unlisted >= UNLISTED:
            self._fail(number, waiting, f"{waiting.instance} has forgotten the request to {waiting.subject}")

    def _settled(self) -> bool:
        return self._link.ready and self._clock() - self._link.since >= SETTLED

    def awake(self) -> None:
        """The ticker begins to look."""
        self._looked = self._clock()

    def look(self) -> bool:
        """Look at all that waits. True if there is something to look at again."""
        now = self._clock()
        away, self._looked = now - self._looked - LOOK, now
        if away > EVERY:  # it is this process that did not run: everybody else's beats lie unread
            self._heard = {each: at + away for each, at in self._heard.items()}
        for number, waiting in list(self.waiting.items()):
            if waiting.since == 0.0:
                waiting.since = now
            elif away > EVERY:
                waiting.since += away
            else:
                self._judge(number, waiting, now)
        return bool(self.waiting)

    def _judge(self, number: str, waiting: Waiting, now: float) -> None:
        instance, since = waiting.instance, waiting.since
        if not waiting.taken and now - since >= NO_WORD:
            self._fail(number, waiting, f"no word from whoever has the request to {waiting.subject}")
            return
        if not instance:
            return
        silent = now - max(since, self._heard.get(instance, 0.0))
        if silent >= SILENT:
            self._fail(number, waiting, f"{instance}, which has the request to {waiting.subject}, is silent")
        elif silent >= LATE and now - self._pinged.get(instance, 0.0) >= EVERY / 2 and self._link.ready:
            self._pinged = {each: at for each, at in self._pinged.items() if now - at < EVERY}
            self._pinged[instance] = now
            self._ask(instance)

    def _ask(self, instance: str) -> None:
        self._link.post(self._subjects.ping_at(instance), b"", f"{self.inbox}.{ALIVE}{instance}")

    def _lose(self, instance: str, why: str) -> None:
        for number, waiting in list(self.waiting.items()):
            if waiting.instance == instance:
                self._fail(number, waiting, f"{instance}, which has the request to {waiting.subject}, {why}")

    def _fail(self, number: str, waiting: Waiting, why: str) -> None:
        del self.waiting[number]
        waiting.end(None, Lost(why))

    def close(self, url: str) -> None:
        """End all that waits, and have its handlers cancelled: nobody will hear what they say."""
        for number, waiting in self.waiting.items():
            self._link.post(self._subjects.cancel_at(waiting.instance), f"{self.inbox}.{number}".encode())
            waiting.end(None, Abandoned(f"{url} was closed before {waiting.subject} answered"))
        self.waiting.clear()


def ending(word: str, subject: str, payload: bytes) -> BusError | None:
    """The error that a word stands for. None for a word that is not known here, which a later version may say."""
    said = payload.decode("utf-8", "replace")
    if word == REFUSED:
        return Refused(f"whoever serves {subject} is full")
    if word == LOST:
        return Lost(f"the handler of {subject} {said}")
    if word == LARGE:
        return TooLarge(f"the answer of {subject} has {said} bytes, more than the bus carries")
    if word == CANCELLED:
        return Lost(f"the handler of {subject} was cancelled")
    return None
