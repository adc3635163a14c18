"""Who is taken for dead, and when: both sides of it by a clock of the test's own and a link that only notes."""

import math
from collections.abc import Callable

import pytest

from toolwire.runtime.bus import BusError, Lost, Progress, Refused, Unreachable
from toolwire.runtime.bus.requests import LATE, LOOK, NO_WORD, SETTLED, SILENT, Requests, Waiting
from toolwire.runtime.bus.services import AWAY, BACK, Services
from toolwire.runtime.bus.signals import Beat, Subjects, decode, encode, key

pytestmark = pytest.mark.anyio
INBOX = "_INBOX.me"


class Noted:
    """A link that notes what is posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, bytes, str]] = []
        self.ready = True
        self.largest = 1000
        self.since = -math.inf

    def post(self, subject: str, payload: bytes, reply: str = "") -> None:
        self.posted.append((subject, payload, reply))

    async def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        self.post(subject, payload, reply)


class Asking:
    """Requests under a clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.link = Noted()
        self.requests = Requests(INBOX, self.link, Subjects("ns"), lambda: self.now)  # type: ignore[arg-type]

    def ask(self, number: str, to: str = "") -> Waiting:
        waiting = self.requests.waiting[number] = Waiting("x", to, None)
        self.requests.look()
        return waiting

    def word(self, about: str, payload: bytes | None = b"") -> None:
        self.requests.hear(f"{INBOX}.{about}", "", payload)

    def beat(self, instance: str, *numbers: str) -> None:
        beat = Beat(instance, [key(f"{INBOX}.{number}") for number in numbers])
        self.requests.hear_beat("", "", encode(beat))

    def wait(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        """Let time go by, with a look every LOOK, and `each` done every second."""
        for step in range(round(seconds / LOOK)):
            self.now += LOOK
            if step % round(1 / LOOK) == 0:
                each()
            self.requests.look()


def why(waiting: Waiting) -> BusError:
    assert waiting.done.is_set()
    assert waiting.error is not None
    return waiting.error


async def test_an_instance_that_beats_and_lists_is_waited_for() -> None:
    asking = Asking()
    waiting = asking.ask("0")
    asking.word("0.taken", b"one")
    asking.wait(100, lambda: asking.beat("one", "0"))
    assert not waiting.done.is_set()
    asking.word("0", b"answer")
    assert waiting.answer == b"answer"
    assert asking.requests.waiting == {}


async def test_a_first_late_beat_is_asked_after_and_nobody_there_is_lost() -> None:
    asking = Asking()
    waiting = asking.ask("0", to="one")
    asking.word("0.taken", b"one")
    asking.wait(LATE - LOOK)
    assert asking.link.posted == []
    asking.wait(2 * LOOK)
    assert asking.link.posted == [("tw.ns.ping.one", b"", f"{INBOX}.alive.one")]
    asking.word("alive.one", None)
    assert isinstance(why(waiting), Lost)
    assert "gone" in str(why(waiting))


async def test_an_answer_to_a_ping_is_a_sign_of_life() -> None:
    asking = Asking()
    waiting = asking.ask("0", to="one")
    asking.word("0.taken", b"one")

    def alive() -> None:
        if asking.link.posted:
            asking.link.posted.clear()
            asking.word("alive.one", b"")

    asking.wait(20, alive)
    assert not waiting.done.is_set()


async def test_three_beats_of_silence_are_lost() -> None:
    asking = Asking()
    waiting = asking.ask("0", to="one")
    asking.word("0.taken", b"one")
    asking.wait(5, lambda: asking.beat("one", "0"))
    asking.beat("one", "0")
    asking.wait(SILENT - LOOK)
    assert not waiting.done.is_set()
    asking.wait(1)
    assert "silent" in str(why(waiting))


async def test_nobody_there_proves_nothing_while_others_may_still_be_reconnecting() -> None:
    asking = Asking()
    waiting = asking.ask("0", to="one")
    asking.word("0.taken", b"one")
    asking.link.since = asking.now
    asking.word("alive.one", None)
    assert not waiting.done.is_set()
    asking.now += SETTLED
    asking.word("alive.one", None)
    assert waiting.done.is_set()


async def test_no_word_at_all_is_lost_even_if_the_instance_beats() -> None:
    asking = Asking()
    waiting = asking.ask("0", to="one")
    asking.wait(NO_WORD - LOOK, lambda: asking.beat("one"))
    assert not waiting.done.is_set()
    asking.wait(3 * LOOK)
    assert "no word" in str(why(waiting))


async def test_a_request_that_is_listed_no_more_is_forgotten() -> None:
    asking = Asking()
    waiting, other = asking.ask("0"), asking.ask("1")
    asking.word("0.taken", b"one")
    asking.word("1.taken", b"two")
    asking.beat("one")
    asking.beat("one", "0")
    asking.beat("one")
    assert not waiting.done.is_set()
    asking.beat("one")
    assert "forgotten" in str(why(waiting))
    assert not other.done.is_set()


async def test_who_was_away_itself_takes_nobody_for_dead() -> None:
    asking = Asking()
    waiting, untaken = asking.ask("0", to="one"), asking.ask("1")
    asking.word("0.taken", b"one")
    asking.now += 60
    asking.requests.look()
    assert not waiting.done.is_set()
    assert not untaken.done.is_set()
    asking.wait(SILENT + 2 * LOOK)
    assert waiting.done.is_set()
    assert untaken.done.is_set()


async def test_after_a_sleep_the_ticker_does_not_think_it_was_away() -> None:
    asking = Asking()
    asking.now += 60
    asking.requests.awake()
    waiting = asking.ask("0")
    asking.wait(NO_WORD + 2 * LOOK)
    assert waiting.done.is_set()


async def test_without_a_connection_nobody_is_asked() -> None:
    asking = Asking()
    asking.ask("0", to="one")
    asking.link.ready = False
    asking.wait(LATE + 3 * LOOK)
    assert asking.link.posted == []


async def test_an_end_comes_once() -> None:
    asking = Asking()
    waiting = asking.ask("0")
    asking.word("0.refused")
    asking.word("0", b"late")
    asking.word("0.lost")
    assert isinstance(why(waiting), Refused)
    assert waiting.answer is None


async def test_the_brokers_word_is_unreachable() -> None:
    asking = Asking()
    waiting = asking.ask("0")
    asking.word("0", None)
    assert isinstance(why(waiting), Unreachable)


async def test_instances_that_fell_silent_are_forgotten() -> None:
    asking = Asking()
    for number in range(5000):
        asking.now += 0.1
        asking.beat(f"instance-{number}")
    assert len(asking.requests._heard) < 2000


async def echo(payload: bytes, _progress: Progress) -> bytes:
    return payload


@pytest.fixture
def services() -> Services:
    return Services(Noted(), "me", Subjects("ns"), lambda: 1000, 10, 10)  # type: ignore[arg-type]


def noted(services: Services) -> Noted:
    link: object = services.link
    assert isinstance(link, Noted)
    return link


def posted(services: Services) -> list[tuple[str, bytes, str]]:
    link = noted(services)
    said, link.posted = link.posted, []
    return said


async def test_a_slow_request_is_acknowledged_once_and_then_listed(services: Services) -> None:
    services.take("x", echo, "_INBOX.a.1", b"")
    services.beat()
    assert [decode(payload).keys for _, payload, _ in posted(services)] == [[]]
    services.acknowledge()
    assert posted(services) == []
    services.acknowledge()
    services.acknowledge()
    assert posted(services) == [("_INBOX.a.1.taken", b"me", "")]
    services.beat()
    assert [decode(payload).keys for _, payload, _ in posted(services)] == [[key("_INBOX.a.1")]]


async def test_what_has_ended_is_not_acknowledged(services: Services) -> None:
    services.take("x", echo, "_INBOX.a.1", b"")
    job = services.jobs["_INBOX.a.1"]
    await services._run(job)
    assert posted(services) == [("_INBOX.a.1", b"", "")]
    services.acknowledge()
    assert services.acknowledge() is False
    assert posted(services) == []


async def test_a_full_connection_is_given_no_acknowledgements_and_no_list_grows(services: Services) -> None:
    link = noted(services)
    link.ready = False
    services.take("x", echo, "_INBOX.a.1", b"")
    for _ in range(5):
        services.acknowledge()
        services.beat()
    assert posted(services) == []
    assert len(services._old) + len(services._young) == 1
    link.ready = True
    services.acknowledge()
    assert posted(services) == [("_INBOX.a.1.taken", b"me", "")]


async def test_a_cancel_that_overtook_its_request_is_remembered(services: Services) -> None:
    services.hear_cancel("", "", b"_INBOX.a.1")
    services.take("x", echo, "_INBOX.a.1", b"")
    assert posted(services) == [("_INBOX.a.1.cancelled", b"", "")]
    assert services.jobs == {}


async def test_the_same_reply_subject_twice_runs_once(services: Services) -> None:
    services.take("x", echo, "_INBOX.a.1", b"")
    services.take("x", echo, "_INBOX.a.1", b"")
    assert posted(services) == [("_INBOX.a.1.refused", b"", "")]
    assert len(services.pool) == 1


async def test_who_was_away_for_long_refuses_what_had_come_meanwhile(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = services._ran
    monkeypatch.setattr("time.monotonic", lambda: now)
    now += AWAY + 0.1
    for number in range(3):
        services.take("x", echo, f"_INBOX.a.{number}", b"")
    assert posted(services) == [
        ("tw.ns.ping.me", BACK, ""),
        *((f"_INBOX.a.{number}.refused", b"", "") for number in range(3)),
    ]
    services.hear_ping("", "", BACK)
    services.take("x", echo, "_INBOX.a.4", b"")
    assert list(services.jobs) == ["_INBOX.a.4"]


async def test_progress_that_can_not_be_sent_is_left_out(services: Services) -> None:
    services.take("x", echo, "_INBOX.a.1", b"")
    job = services.jobs["_INBOX.a.1"]
    job.progress(bytes(1001))
    link = noted(services)
    link.ready = False
    job.progress(b"a")
    link.ready = True
    job.progress(b"b")
    assert posted(services) == [("_INBOX.a.1.progress", b"b", "")]
