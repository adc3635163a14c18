"""A provider on loopback: real sockets, its own wire, and no patience with requests that it would refuse.

`Provider("anthropic", said(text("Mild.")))` answers its first request with the first of its answers, and so on; a
request that streams gets the same in pieces. What it is asked is judged first, by all that was said before.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint
from anyio.streams.buffered import BufferedByteReceiveStream

from .anthropic import binding
from .judge import objection
from .said import Said
from .spoken import WIRES, Wire, event
from .words import Exchange, Json


@dataclass
class Failing:
    """A no. `kind` is the provider's own word; a `body` that is text is sent as it is, as somebody's page."""

    status: int
    kind: str = "error"
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None


@dataclass
class Delivery:
    """How an answer comes: `size` bytes at a time, by default an event; `between` them comments or pings.

    `upto` events are told, all by default, then `tail` as it is; then comes the `end`: proper, abrupt (the connection
    is cut) or silent (nothing more until the client goes). `line_end` ends the lines. The head of the answer comes once
    `late` is set.
    """

    said: Said
    size: int | None = None
    between: bytes = b""
    upto: int | None = None
    tail: bytes = b""
    end: str = "proper"
    line_end: bytes = b"\n"
    late: anyio.Event | None = None


@dataclass
class Raw:
    """An answer with the status 200 whose body is nothing of the kind."""

    content: bytes
    kind: str = "application/json"


class Silence:
    """No answer at all, until the client goes."""


Answer = Said | Failing | Delivery | Raw | Silence


class Provider:
    """See the module. With `binding` it asks of what stood before a thought what Anthropic's newest models ask.

    `bodies` are the requests, `heads` their heads, `refused` what was objected to them.

    `asked` is set with the first request, `silent` once nothing more is said, `left` once a client has gone;
    `connections` counts those that came.
    """

    def __init__(self, wire: str | Wire, *answers: Answer, binding: bool = False) -> None:
        self.binding = binding
        self.wire: Wire = WIRES[wire]() if isinstance(wire, str) else wire
        self.answers = list(answers)
        self.exchanges: list[Exchange] = []
        self.bodies: list[Json] = []
        self.raw: list[bytes] = []
        self.heads: list[str] = []
        self.refused: list[str] = []
        self.asked = anyio.Event()
        self.silent = anyio.Event()
        self.left = anyio.Event()
        self.connections = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The base URL for the SDK, while it serves."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra_attributes[SocketAttribute.local_port]()
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._serve)
            yield f"http://127.0.0.1:{port}{self.wire.base}"
            tasks.cancel_scope.cancel()

    async def _serve(self, stream: ByteStream) -> None:
        self.connections += 1
        received = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while True:
                    await self._answer(stream, received)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.left.set()

    async def _answer(self, stream: ByteStream, received: BufferedByteReceiveStream) -> None:
        head = (await received.receive_until(b"\r\n\r\n", 65536)).decode()
        length = int(re.findall(r"(?i)content-length: (\d+)", head)[0])
        raw = await received.receive_exactly(length)
        body = json.loads(raw)
        self.heads.append(head)
        self.raw.append(raw)
        self.bodies.append(body)
        self.asked.set()
        answer = self._to(head, body)
        match answer:
            case Failing():
                await stream.send(self._no(answer))
            case Raw(content, kind):
                await stream.send(_response(200, {"Content-Type": kind}, content))
            case Silence():
                self.silent.set()
                await received.receive()
            case Said():
                await self._speak(stream, received, body, Delivery(answer))
            case Delivery():
                await self._speak(stream, received, body, answer)

    def _to(self, head: str, body: Json) -> Answer:
        """The answer to a request: a refusal, or what comes next."""
        asked = head.split(" ", 2)[1].partition("?")[0]
        wrong = "" if asked == self.wire.path else f"Invalid URL ({asked})"
        wrong = wrong or objection(self.wire.name, body, self.exchanges)
        if self.wire.name == "anthropic":
            wrong = wrong or next(binding(body, head, self.exchanges if self.binding else ()), "")
        if wrong:
            self.refused.append(wrong)
            return Failing(400, "invalid_request_error", wrong)
        return self.answers.pop(0) if self.answers else Failing(500, "server_error", "the script is at its end")

    def _no(self, failing: Failing) -> bytes:
        if failing.body is not None:
            return _response(failing.status, {"Content-Type": "text/html", **failing.headers}, failing.body.encode())
        told = json.dumps(self.wire.error(failing.kind, failing.message)).encode()
        return _response(failing.status, {"Content-Type": "application/json", **failing.headers}, told)

    async def _speak(
        self, stream: ByteStream, received: BufferedByteReceiveStream, body: Json, delivery: Delivery
    ) -> None:
        answer = self.wire.whole(delivery.said)
        self.exchanges.append(Exchange(body, answer))
        if delivery.late is not None:
            await delivery.late.wait()
        streams = bool(body.get("stream"))
        if streams:
            events = self.wire.streamed(answer)[: delivery.upto]
            told = [*(each.replace(b"\n", delivery.line_end) + delivery.between for each in events), delivery.tail]
        else:
            told = [json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")]
            if delivery.end != "proper":
                told = [told[0][: len(told[0]) // 2]]
        kind = "text/event-stream; charset=utf-8" if streams else "application/json"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send(head.encode())
        chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in cut(told, delivery.size)]
        if delivery.end == "proper":
            # With the last piece: a client waits a moment only for the end before it gives the connection up.
            chunks[-1:] = [b"".join(chunks[-1:]) + b"0\r\n\r\n"]
        for chunk in chunks:
            await stream.send(chunk)
            await checkpoint()
        if delivery.end == "abrupt":
            await stream.aclose()
        elif delivery.end == "silent":
            self.silent.set()
            await received.receive()


def cut(told: Sequence[bytes], size: int | None) -> Iterator[bytes]:
    """`told` in pieces of `size` bytes, or as it is; no piece is empty."""
    if size is None:
        return filter(None, told)
    whole = b"".join(told)
    return (whole[n : n + size] for n in range(0, len(whole), size))


def _response(status: int, headers: dict[str, str], content: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


__all__ = ["Answer", "Delivery", "Failing", "Provider", "Raw", "Silence", "cut", "event"]
