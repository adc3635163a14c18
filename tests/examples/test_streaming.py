"""examples/streaming.py, served by uvicorn: what a client reads, and what ends when it leaves in the middle."""

import re
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from toolwire import CallFinished, CallStarted, Event, Runtime, TextDelta, TurnFinished

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 20.0
"""Seconds after which something hangs. What is waited for takes far less than one."""

decode = msgspec.json.Decoder(Event).decode


@pytest.fixture(scope="module")
def server() -> Iterator["Server"]:
    command = [sys.executable, "-m", "uvicorn", "streaming:app", "--app-dir", str(EXAMPLES), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == -15 or process.returncode == 0


class Server:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.output = process.stdout
        self.port = int(self.said(r"running on http://127\.0\.0\.1:(\d+)")[1])

    def said(self, pattern: str) -> re.Match[str]:
        """The next line in which that stands."""
        for line in self.output:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it ended without {pattern!r}")

    @contextmanager
    def asked(self, query: str) -> Iterator["Any"]:
        """The lines of its answer."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(f"GET /?{query} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
            with connection.makefile("rb") as lines:
                yield lines


def events(lines: Any) -> Iterator[Event]:
    return (decode(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: "))


def test_a_client_reads_the_events_of_the_turn(server: Server) -> None:
    with server.asked("0.001") as lines:
        heard = list(events(lines))
    assert [event.number for event in heard] == list(range(1, len(heard) + 1))
    assert "".join(event.text for event in heard if isinstance(event, TextDelta)) == "I ask.Done."
    assert isinstance(heard[-1], TurnFinished)
    assert heard[-1].reply.text == "Done."
    server.said("nobody works on the report any more")


def test_a_client_who_leaves_in_the_middle_ends_the_turn_and_the_tool(server: Server) -> None:
    with server.asked("1000") as lines:
        assert any(isinstance(event, CallStarted) for event in events(lines))
    server.said("nobody works on the report any more")  # the test ends, or its server is stuck
    with server.asked("0.001") as lines:
        assert isinstance(list(events(lines))[-1], TurnFinished)


@pytest.mark.anyio
@pytest.mark.parametrize("leaving", [True, False])
async def test_the_same_on_both_loops(capsys: pytest.CaptureFixture[str], *, leaving: bool) -> None:
    app = runpy.run_path(str(EXAMPLES / "streaming.py"))["app"]
    began, over = anyio.Event(), anyio.Event()
    heard: list[Event] = []
    asked = False

    async def receive() -> dict[str, str]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request"}
        await (began if leaving else over).wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        heard.extend(events(message.get("body", b"").splitlines()))
        if any(isinstance(event, CallStarted) for event in heard):
            began.set()
        if "body" in message and not message["more_body"]:
            over.set()

    with anyio.fail_after(PATIENCE):
        async with Runtime() as runtime:
            scope = {"type": "http", "query_string": b"1000" if leaving else b"0", "state": {"runtime": runtime}}
            await app(scope, receive, send)
    assert any(isinstance(event, CallFinished) for event in heard) is not leaving
    assert capsys.readouterr().out == "nobody works on the report any more\n"
