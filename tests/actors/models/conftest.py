"""A provider on loopback that speaks Chat Completions over real sockets, and is as strict as OpenAI is."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def objection(body: dict[str, Any]) -> str:
    """What OpenAI would refuse `body` for, "" for nothing."""
    for tool in body.get("tools", [{"type": "function", "function": {"name": "no_tools_at_all", "parameters": {}}}]):
        if tool["type"] != "function" or not NAME.fullmatch(tool["function"]["name"]):
            return f"Invalid 'tools[].function.name': {tool}"
        if tool["function"]["parameters"].get("type", "object") != "object":
            return "Invalid schema for function: schema must have type 'object'"
    names = [tool["function"]["name"] for tool in body.get("tools", [])]
    if len(names) != len(set(names)):
        return "Tool names must be unique."
    if body.get("tools") == []:
        return "Invalid 'tools': empty array. Expected an array with minimum length 1"
    if "tool_choice" in body and "tools" not in body:
        return "'tool_choice' is only allowed when 'tools' are specified."
    return _objection_to_messages(body["messages"])


def _objection_to_messages(messages: list[dict[str, Any]]) -> str:
    open_ids: list[str] = []
    for n, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_ids:
                return f"messages[{n}]: 'tool' must be a response to a preceding message with 'tool_calls'"
            open_ids.remove(message["tool_call_id"])
            continue
        if open_ids:
            return f"messages[{n}]: 'tool_call_id's did not have response messages: {', '.join(open_ids)}"
        if role == "assistant" and "tool_calls" in message:
            open_ids = [call["id"] for call in message["tool_calls"]]
            if objected := _objection_to_calls(message["tool_calls"]):
                return f"messages[{n}]: {objected}"
        elif role not in {"system", "user", "assistant"} or not isinstance(message["content"], str):
            return f"messages[{n}]: invalid role or content"
    return f"'tool_call_id's did not have response messages: {', '.join(open_ids)}" if open_ids else ""


def _objection_to_calls(calls: list[dict[str, Any]]) -> str:
    ids = [call["id"] for call in calls]
    if not ids or len(ids) != len(set(ids)):
        return "no ids, or duplicate ids"
    for call in calls:
        if not 0 < len(call["id"]) <= 40:
            return "'tool_calls[].id': string too long. Expected a string with maximum length 40"
        if not NAME.fullmatch(call["function"]["name"]):
            return "Invalid 'tool_calls[].function.name'"
        if not isinstance(json.loads(call["function"]["arguments"]), dict):
            return "arguments are no object"
    return ""


@dataclass
class Failing:
    """An answer with a status of 400 and above."""

    status: int
    error: object
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Sse:
    """A stream: `pieces` as they are put on the wire. Then its end; or an abrupt one; or none until the client goes."""

    pieces: list[bytes]
    end: str = "proper"


class Provider:
    """Answers its first request with the first of `answers`, and so on. A dict is JSON; None stands for never."""

    def __init__(self, *answers: dict[str, Any] | Failing | Sse | None) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.asked = anyio.Event()
        self.left = anyio.Event()
        self.connections = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The base URL, while it serves."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra_attributes[SocketAttribute.local_port]()
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._serve)
            yield f"http://127.0.0.1:{port}/v1"
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
        body = json.loads(await received.receive_exactly(length))
        self.headers.append(head)
        self.bodies.append(body)
        self.asked.set()
        assert head.startswith("POST /v1/chat/completions ")
        refused = objection(body)
        answer = Failing(400, {"message": refused, "type": "invalid_request_error"}) if refused else self.answers.pop(0)
        match answer:
            case dict():
                await stream.send(_response(200, {}, answer))
            case Failing(status, error, headers):
                await stream.send(_response(status, headers, {"error": error}))
            case Sse(pieces, end):
                await self._stream(stream, received, pieces, end)
            case None:
                await received.receive()

    async def _stream(
        self, stream: ByteStream, received: BufferedByteReceiveStream, pieces: list[bytes], end: str
    ) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send(head.encode())
        for piece in pieces:
            await stream.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if end == "proper":
            await stream.send(b"0\r\n\r\n")
        elif end == "abrupt":
            await stream.aclose()
        else:
            await received.receive()


def _response(status: int, headers: dict[str, str], body: object) -> bytes:
    content = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@pytest.fixture
def provider_of() -> type[Provider]:
    return Provider


@pytest.fixture
def failing() -> type[Failing]:
    return Failing


@pytest.fixture
def sse() -> type[Sse]:
    return Sse
