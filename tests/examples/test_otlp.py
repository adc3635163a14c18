"""examples/otlp.py against a collector of our own: the turn, its call and what that calls arrive as one chain."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

EXAMPLE = Path(__file__).parents[2] / "examples" / "otlp.py"
PATIENCE = 30.0


class Collector(HTTPServer):
    """Takes what an OTLP exporter posts to /v1/traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.spans: dict[str, Span] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        request = ExportTraceServiceRequest()
        request.ParseFromString(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.update({span.name: span for span in scope.spans})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - so it is called
        """Be quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, name="collector")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_turn_arrives_as_one_chain(collector: Collector) -> None:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "no_proxy": "*"}
    command = [sys.executable, "-W", "error", str(EXAMPLE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "Walk!\n"
    turn, outer, inner = (
        collector.spans[name] for name in ("invoke_agent guide", "execute_tool plan", "execute_tool weather")
    )
    assert (outer.parent_span_id, inner.parent_span_id) == (turn.span_id, outer.span_id)
    assert {span.trace_id for span in collector.spans.values()} == {turn.trace_id}
    assert not turn.parent_span_id
