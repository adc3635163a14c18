"""What the bus over NATS holds against: dead servers, a broker that goes, messages that nobody should send."""

import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.runtime.bus import BusError, Closed, Lost, Progress, TooLarge, Unreachable
from toolwire.runtime.bus.direct_link import DirectLink
from toolwire.runtime.bus.embedded import binary
from toolwire.runtime.bus.greeting import greeting
from toolwire.runtime.bus.nats import NatsBus
from toolwire.runtime.bus.thread_link import ThreadLink

pytestmark = pytest.mark.anyio

SUBJECT = "tw.default.tool.x"

SERVING = """
import sys, anyio
from toolwire.runtime.bus.nats import NatsBus

async def handler(payload, progress):
    progress(b"started")
    if payload == b"hold":
        await anyio.sleep_forever()
    return payload

async def main(url, namespace, backend):
    async with NatsBus(url, namespace=namespace) as bus:
        await bus.serve("tw.default.tool.x", handler)
        print(bus.instance, flush=True)
        await anyio.sleep_forever()

anyio.run(main, *sys.argv[1:], backend=sys.argv[3])
"""


@contextmanager
def server_process(url: str, namespace: str, backend: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves SUBJECT, and the name of its end."""
    command = [sys.executable, "-c", SERVING, url, namespace, backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def broker(port: int = -1, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A broker of one's own, to be ended at will."""
    command = [binary(), "--addr", "127.0.0.1", "--port", str(port), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "Listening for client connections on " in line:
                    port = int(line.rsplit(":", 1)[1])
                if "Server is ready" in line:
                    break
            yield process, port
        finally:
            process.kill()


class Raw:
    """NATS spoken by hand, for what no client would say."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=5)
        self.say(b'CONNECT {"verbose":false,"headers":true}')
        self.barrier()

    def say(self, line: bytes) -> None:
        self.socket.sendall(line + b"\r\n")

    def publish(self, subject: bytes, payload: bytes, reply: bytes = b"") -> None:
        self.say(b"PUB %s %s %d\r\n%s" % (subject, reply, len(payload), payload))

    def barrier(self) -> None:
        """Return when the broker has read all of it."""
        self.say(b"PING")
        heard = b""
        while b"PONG\r\n" not in heard:
            heard += self.socket.recv(65536)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()


@pytest.fixture
def namespace() -> str:
    return secrets.token_hex(8)


async def echo(payload: bytes, _progress: Progress) -> bytes:
    return payload


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells: the state of another thread, or of another process."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def answered(bus: NatsBus, seconds: float) -> None:
    """Wait until the bus carries a request again."""
    with anyio.fail_after(seconds):
        while True:
            with contextlib.suppress(BusError), anyio.move_on_after(0.5):
                assert await bus.request(SUBJECT, b"again") == b"again"
                return
            await anyio.sleep(0.01)


def link_of(bus: NatsBus) -> tuple[DirectLink, Callable[..., object]]:
    """nats-py's side of a bus, and how to call something there."""
    link = bus._link
    if isinstance(link, ThreadLink):
        inner, loop = link._inner, link._loop
        assert isinstance(inner, DirectLink)
        assert loop is not None
        return inner, loop.call_soon_threadsafe
    assert isinstance(link, DirectLink)
    return link, lambda call, *arguments: call(*arguments)


class TestServersThatDie:
    @pytest.mark.slow
    @pytest.mark.parametrize("known", [True, False])
    async def test_a_killed_server_is_noticed_in_three_seconds(
        self, nats_url: str, namespace: str, anyio_backend: str, *, known: bool
    ) -> None:
        with server_process(nats_url, namespace, anyio_backend) as (process, instance):
            async with NatsBus(nats_url, namespace=namespace) as bus:
                killed = 0.0

                def kill(_note: bytes) -> None:
                    nonlocal killed
                    killed = time.monotonic()
                    process.kill()

                with pytest.raises(Lost):
                    await bus.request(SUBJECT, b"hold", to=instance if known else "", progress=kill)
                assert time.monotonic() - killed < 3.0
                assert bus._requests.waiting == {}
                with anyio.fail_after(1), pytest.raises(Unreachable):
                    await bus.request(SUBJECT, b"")

    @pytest.mark.slow
    async def test_a_server_killed_after_its_acknowledgement_is_noticed(
        self, nats_url: str, namespace: str, anyio_backend: str
    ) -> None:
        lost = killed = 0.0
        with server_process(nats_url, namespace, anyio_backend) as (process, _):
            bus = NatsBus(nats_url, namespace=namespace)

            async def ask() -> None:
                nonlocal lost
                with pytest.raises(Lost, match="gone"):
                    await bus.request(SUBJECT, b"hold")
                lost = time.monotonic()

            async with bus, anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await until(lambda: any(waiting.taken for waiting in bus._requests.waiting.values()))
                killed = time.monotonic()
                process.kill()
        assert lost - killed < 3.0

    @pytest.mark.slow
    async def test_a_stopped_server_is_noticed_and_may_come_back(
        self, nats_url: str, namespace: str, anyio_backend: str
    ) -> None:
        with server_process(nats_url, namespace, anyio_backend) as (process, instance):
            async with NatsBus(nats_url, namespace=namespace) as bus:
                with pytest.raises(Lost, match=r"silent|no word"), anyio.fail_after(4):
                    await bus.request(
                        SUBJECT, b"hold", to=instance, progress=lambda _note: os.kill(process.pid, signal.SIGSTOP)
                    )
                os.kill(process.pid, signal.SIGCONT)
                await answered(bus, 5)

    @pytest.mark.slow
    async def test_a_slow_server_is_waited_for(self, nats_url: str, namespace: str) -> None:
        async def slow(payload: bytes, _progress: Progress) -> bytes:
            await anyio.sleep(4.0)
            return payload

        async with NatsBus(nats_url, namespace=namespace) as server, NatsBus(nats_url, namespace=namespace) as bus:
            await server.serve(SUBJECT, slow)
            assert await bus.request(SUBJECT, b"a") == b"a"

    @pytest.mark.slow
    async def test_a_server_that_has_forgotten_is_noticed(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace, grace=0) as server:

            async def forgets(_payload: bytes, _progress: Progress) -> bytes:
                server._services.jobs.clear()
                await anyio.sleep_forever()
                return b""

            async def acknowledged_first(payload: bytes, progress: Progress) -> bytes:
                await until(lambda: all(job.taken for job in server._services.jobs.values()))
                return await forgets(payload, progress)

            await server.serve(SUBJECT, acknowledged_first)
            async with NatsBus(nats_url, namespace=namespace) as bus:
                with anyio.fail_after(4), pytest.raises(Lost, match="forgotten"):
                    await bus.request(SUBJECT, b"")

    @pytest.mark.slow
    async def test_somebody_who_takes_requests_and_says_nothing_is_noticed(self, nats_url: str, namespace: str) -> None:
        with Raw(nats_url) as silent:
            silent.say(b"SUB %s 1" % f"tw.{namespace}.silent".encode())
            silent.barrier()
            async with NatsBus(nats_url, namespace=namespace) as bus:
                with anyio.fail_after(3.2), pytest.raises(Lost, match="no word"):
                    await bus.request(f"tw.{namespace}.silent", b"")


class TestBrokerThatGoes:
    @pytest.mark.slow
    @pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
    async def test_what_waits_goes_on_if_the_broker_comes_back_soon(self, namespace: str, kill: signal.Signals) -> None:
        started, release = anyio.Event(), anyio.Event()
        answers = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            started.set()
            await release.wait()
            return payload

        with broker() as (first, port):
            url = f"nats://127.0.0.1:{port}"
            async with NatsBus(url, namespace=namespace) as server, NatsBus(url, namespace=namespace) as bus:
                await server.serve(SUBJECT, handler)

                async def ask() -> None:
                    answers.append(await bus.request(SUBJECT, b"a"))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    await started.wait()
                    first.send_signal(kill)
                    first.wait()
                    with broker(port):
                        await until(lambda: server._link.since > 0 and bus._link.since > 0)
                        release.set()
                        await server.serve(SUBJECT + "2", echo)
                        assert await bus.request(SUBJECT + "2", b"b") == b"b"
        assert answers == [b"a"]

    @pytest.mark.slow
    async def test_without_a_broker_what_waits_is_lost_and_what_is_new_is_closed(self, namespace: str) -> None:
        started = anyio.Event()

        async def handler(_payload: bytes, _progress: Progress) -> bytes:
            started.set()
            await anyio.sleep_forever()
            return b""

        with broker() as (first, port):
            url = f"nats://127.0.0.1:{port}"
            async with NatsBus(url, namespace=namespace, grace=0) as bus:
                await bus.serve(SUBJECT + "2", handler)
                await bus.serve(SUBJECT, echo)
                lost = gone = 0.0

                async def ask() -> None:
                    nonlocal lost
                    with pytest.raises(Lost):
                        await bus.request(SUBJECT + "2", b"")
                    lost = time.monotonic()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    await started.wait()
                    first.kill()
                    first.wait()
                    gone = time.monotonic()
                    await until(lambda: not bus._link.ready)
                    with anyio.fail_after(1.5), pytest.raises(Closed, match="reached"):
                        await bus.request(SUBJECT, b"")
                    with anyio.fail_after(1.5), pytest.raises(Closed):
                        await bus.publish(SUBJECT, b"")
                    with anyio.fail_after(1.5), pytest.raises(Closed):
                        await bus.serve(SUBJECT + "3", echo)
                    assert not bus.serves(SUBJECT + "3")
                assert lost - gone < 3.3
                assert bus._requests.waiting == {}
                with broker(port):
                    await answered(bus, 3)

    async def test_closing_without_a_broker_ends(self, namespace: str) -> None:
        with broker() as (first, port), anyio.fail_after(8):
            async with NatsBus(f"nats://127.0.0.1:{port}", namespace=namespace) as bus:
                await bus.serve(SUBJECT, echo)
                first.kill()
                first.wait()
                await until(lambda: not bus._link.ready)

    async def test_a_connection_that_is_lost_is_told_once_and_leaves_no_exception_behind(
        self, namespace: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with broker() as (first, port), caplog.at_level(logging.WARNING):
            async with NatsBus(f"nats://127.0.0.1:{port}", namespace=namespace) as bus:
                await bus.serve(SUBJECT, echo)
                first.kill()
                first.wait()
                await until(lambda: not bus._link.ready)
                for _ in range(100):  # what beats and ends say while nobody hears
                    bus._link.post("toolwire.nobody", b"x" * 1000)
                await until(lambda: "is lost" in caplog.text)
            gc.collect()
        told = [record.message for record in caplog.records]
        assert told == [f"the connection to nats://127.0.0.1:{port} is lost; trying to connect again"]

    async def test_a_connection_that_is_back_is_told(self, namespace: str, caplog: pytest.LogCaptureFixture) -> None:
        with broker() as (first, port), caplog.at_level(logging.WARNING, "toolwire.bus"):
            async with NatsBus(f"nats://127.0.0.1:{port}", namespace=namespace):
                first.kill()
                first.wait()
                await until(lambda: "is lost" in caplog.text)
                with broker(port):
                    await until(lambda: f"the connection to nats://127.0.0.1:{port} is back" in caplog.text)

    @pytest.mark.slow
    async def test_closing_with_a_broker_that_stands_still_ends(self, namespace: str) -> None:
        with broker() as (first, port), anyio.fail_after(15):
            async with NatsBus(f"nats://127.0.0.1:{port}", namespace=namespace, grace=1) as bus:
                await bus.serve(SUBJECT, echo)
                os.kill(first.pid, signal.SIGSTOP)


class TestNobodyThere:
    async def refusal(self, url: str) -> str:
        began = time.monotonic()
        with pytest.raises(Closed) as refused:
            async with NatsBus(url):
                pass
        assert time.monotonic() - began < 3.0
        assert "\n" not in str(refused.value)
        return str(refused.value)

    async def test_a_port_where_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        assert await self.refusal(f"nats://127.0.0.1:{port}") == (
            f"no NATS server at 127.0.0.1:{port}: Connection refused"
        )

    async def test_a_host_that_is_none(self) -> None:
        assert "no NATS server at nobody.invalid:4222: " in await self.refusal("nats://nobody.invalid")

    async def test_a_port_that_says_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            said = await self.refusal(f"nats://127.0.0.1:{silent.getsockname()[1]}")
        assert "said nothing within 2 s" in said

    @pytest.mark.parametrize("words", [b"SSH-2.0-OpenSSH\r\n", b"INFO nonsense\r\n", b"INFO []\r\n", b""])
    async def test_a_port_that_is_something_else(self, words: bytes) -> None:
        async def greet(stream: Any) -> None:
            async with stream:
                await stream.send(words)

        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, greet)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django's
            assert f"no NATS server at 127.0.0.1:{port}: " in await self.refusal(f"nats://127.0.0.1:{port}")
            tasks.cancel_scope.cancel()

    async def test_a_server_that_lets_nobody_in(self) -> None:
        with broker(-1, "--auth", "right") as (_, port):
            said = await self.refusal(f"nats://wrong@127.0.0.1:{port}")
            assert said.startswith(f"the NATS server at nats://127.0.0.1:{port} let nobody in: ")
            assert said.endswith("; it asks who you are")
            assert "wrong" not in said
            async with NatsBus(f"nats://right@127.0.0.1:{port}") as bus:
                assert "right" not in bus.url + repr(bus)

    async def test_of_several_one_that_listens_is_enough(self, nats_url: str, namespace: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            nowhere = f"nats://127.0.0.1:{taken.getsockname()[1]}"
        async with NatsBus(f"{nowhere},{nats_url}", namespace=namespace) as bus:
            await bus.serve(SUBJECT, echo)
            assert await bus.request(SUBJECT, b"a") == b"a"

    async def test_opening_can_be_left(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, anyio.fail_after(4):
            with anyio.move_on_after(0.05):
                async with NatsBus(f"nats://127.0.0.1:{silent.getsockname()[1]}"):
                    pass


class TestHostileMessages:
    async def test_too_large_leaves_the_connection_alone(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace) as bus:
            await bus.serve(SUBJECT, echo)
            client = link_of(bus)[0]._client
            for size in (bus.largest + 1, bus._link.largest, bus._link.largest + 1, 64 * 1024 * 1024):
                with pytest.raises(TooLarge):
                    await bus.request(SUBJECT, bytes(size))
            assert len(await bus.request(SUBJECT, bytes(bus.largest))) == bus.largest
            assert link_of(bus)[0]._client is client
            assert not client.is_closed
            assert bus._requests.waiting == {}

    async def test_a_subject_that_is_no_text_is_dropped(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace) as bus:
            await bus.serve(SUBJECT, echo)
            inbox = bus._requests.inbox.encode()
            with Raw(nats_url) as raw:
                raw.publish(inbox + b".\xff\xfe", b"")
                raw.publish(SUBJECT.encode(), b"", reply=b"_INBOX.\xff")
                raw.barrier()
            assert await bus.request(SUBJECT, b"lives") == b"lives"
            assert bus._link.since < 0, "it had not even to connect again"

    async def test_a_reading_loop_that_has_ended_is_noticed(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace, watch=0.2) as bus:
            await bus.serve(SUBJECT, echo)
            with Raw(nats_url) as raw:
                poison = b"NATS/1.0 \xff\xff\xff\r\n\r\n"
                raw.say(b"HPUB %s %d %d\r\n%s" % (SUBJECT.encode(), len(poison), len(poison), poison))
                raw.barrier()
            link = link_of(bus)[0]
            await until(lambda: link.since > 0)
            await answered(bus, 5)

    async def test_an_error_that_closes_the_client_for_good_is_mended(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace, watch=0.2) as bus:
            await bus.serve(SUBJECT, echo)
            link, call = link_of(bus)
            before = link._client
            assert before._transport is not None
            call(before._transport.write, b"NONSENSE\r\n")
            await until(lambda: link._client is not before)
            await answered(bus, 5)

    async def test_a_flood_of_answers_to_nothing_is_dropped(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace) as bus:
            await bus.serve(SUBJECT, echo)
            inbox = bus._requests.inbox.encode()
            with Raw(nats_url) as raw:
                for about in (b"7", b"7.progress", b"7.taken", b"7.nonsense", b"x.y.z", b"alive.somebody"):
                    line = b"PUB %s.%s 1\r\nx\r\n" % (inbox, about)
                    raw.socket.sendall(line * 3000)
                raw.barrier()
            assert await bus.request(SUBJECT, b"lives") == b"lives"
            assert bus._requests.waiting == {}
            assert set(bus._requests._heard) <= {bus.instance, "somebody"}

    async def test_junk_where_ends_speak_to_each_other_is_dropped(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace) as bus:
            await bus.serve(SUBJECT, echo)
            subjects = bus._subjects
            with Raw(nats_url) as raw:
                for subject in (subjects.beat, subjects.cancel, subjects.ping_at(bus.instance)):
                    for junk in (b"", b"\xff" * 100, b"\x92\xa1a\x93\x01\x02\x03"):
                        raw.publish(subject.encode(), junk, reply=b"tw.elsewhere")
                raw.barrier()
            assert await bus.request(SUBJECT, b"lives") == b"lives"
            for number in range(1000):
                bus._services.hear_cancel("", "", b"%d" % number)
            assert len(bus._services._early) <= 256

    async def test_who_asks_for_an_answer_elsewhere_is_not_served(self, nats_url: str, namespace: str) -> None:
        ran = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            ran.append(payload)
            return payload

        async with NatsBus(nats_url, namespace=namespace) as bus:
            await bus.serve(SUBJECT, handler)
            with Raw(nats_url) as raw:
                raw.publish(SUBJECT.encode(), b"nowhere")
                raw.publish(SUBJECT.encode(), b"elsewhere", reply=bus._subjects.cancel.encode())
                raw.barrier()
            await bus.request(SUBJECT, b"here")
        assert ran == [b"here"]


class TestTable:
    async def test_no_entry_is_left_whatever_ends_a_request(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace, concurrency=1, backlog=0) as bus:
            release, started = anyio.Event(), anyio.Event()

            async def handler(payload: bytes, _progress: Progress) -> bytes:
                if payload == b"raise":
                    raise ValueError
                started.set()
                await release.wait()
                return payload

            async def ask(payload: bytes) -> None:
                with contextlib.suppress(BusError):
                    await bus.request(SUBJECT, payload)

            await bus.serve(SUBJECT, handler)
            await ask(b"raise")
            with contextlib.suppress(BusError):
                await bus.request(SUBJECT + "2", b"")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, b"hold")
                await started.wait()
                await ask(b"refused")
                for _ in range(20):
                    with anyio.CancelScope() as scope:
                        scope.cancel()
                        await bus.request(SUBJECT, b"left")
                release.set()
            assert bus._requests.waiting == {}
            assert bus._services.jobs == {}

    async def test_a_link_that_fails_leaves_no_entry(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace) as bus:
            await bus.serve(SUBJECT, echo)
            bus._link = Broken(bus._link)  # type: ignore[assignment]
            with pytest.raises(Closed):
                await bus.request(SUBJECT, b"")
            assert bus._requests.waiting == {}
            bus._link = bus._link.inner  # type: ignore[attr-defined]
            assert await bus.request(SUBJECT, b"a") == b"a"

    async def test_a_plain_client_is_answered(self, nats_url: str, namespace: str) -> None:
        async with NatsBus(nats_url, namespace=namespace) as bus:
            await bus.serve(f"tw.{namespace}.x", echo)
            with Raw(nats_url) as raw:
                raw.say(b"SUB _INBOX.plain 1")
                raw.publish(f"tw.{namespace}.x".encode(), b"hello", reply=b"_INBOX.plain")
                heard = b""
                while b"hello" not in heard:
                    heard += await anyio.to_thread.run_sync(raw.socket.recv, 4096)
        assert b"MSG _INBOX.plain 1 5\r\nhello\r\n" in heard


class Broken:
    """A link that sends nothing."""

    ready = True

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def send(self, _subject: str, _payload: bytes, _reply: str = "") -> None:
        await checkpoint()
        raise Closed("broken")


async def test_it_says_what_it_is(nats_url: str, namespace: str) -> None:
    bus = NatsBus(nats_url, namespace=namespace)
    assert repr(bus) == f"<NatsBus {nats_url} [closed]>"
    async with bus:
        await bus.serve(SUBJECT, echo)
        assert repr(bus) == f"<NatsBus {nats_url} [serves: 1 | running: 0]>"


async def test_namespaces_do_not_hear_each_others_beats(nats_url: str, namespace: str) -> None:
    async with NatsBus(nats_url, namespace=namespace) as one, NatsBus(nats_url, namespace=namespace + "2") as other:
        await other.serve(SUBJECT + namespace, echo)
        await one.serve(SUBJECT, echo)
        assert await one.request(SUBJECT, b"a") == b"a"
        assert other.instance not in one._requests._heard


def test_more_in_hand_than_a_beat_can_list_is_refused() -> None:
    with pytest.raises(ValueError, match="16384"):
        NatsBus("nats://127.0.0.1", concurrency=16_000, backlog=1000)


def test_nats_is_not_imported_before_a_bus_is_opened(tmp_path: Path) -> None:
    program = "import sys, toolwire.runtime.bus as bus; bus.open_bus('nats://x'); print('nats' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout == "False\n"


async def test_a_greeting_says_who_it_is(nats_url: str) -> None:
    parts = urlsplit(nats_url)
    assert parts.hostname is not None
    assert parts.port is not None
    known = await greeting(parts.hostname, parts.port)
    assert known["max_payload"] >= 1024 * 1024
    assert known["jetstream"] is True
