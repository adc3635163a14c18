"""What `toolwire tools` says of the way to a tool."""

import pytest

from toolwire.actors.gateways.cli.tools import flags
from toolwire.protocol.tools import Retry, ToolSpec


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ToolSpec("t", retry=Retry(3), needs="p95"), "3 retries, needs p95"),
        (ToolSpec("t", read_only=True, cache=60.0, share=True), "read_only, share, cached 60 s"),
        (ToolSpec("t", read_only=True, hedge=True, needs=0.5, timeout=2.0), "read_only, 2 s, hedge, needs 0.5 s"),
        (ToolSpec("t"), ""),
    ],
)
def test_what_it_asks_for_is_listed(spec: ToolSpec, said: str) -> None:
    assert flags(spec) == said
