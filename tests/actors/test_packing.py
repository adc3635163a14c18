"""A result that is too large, as it is told."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toolwire import Artifact
from toolwire.actors.packing import HEAD, head, spilled, truncated

WRAPPING = 200
"""Bytes that stand around a head."""


@given(st.text(max_size=300), st.integers(0, 700))
def test_a_head_is_as_long_as_fits(text: str, room: int) -> None:
    found = head(text.encode(), room)
    assert text.startswith(found)
    size = len(json.dumps(found, ensure_ascii=False).encode()) - 2
    assert size <= room
    if found != text:
        assert size >= room // 2 - 6


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=2_000), st.integers(WRAPPING, 1_000))
def test_what_is_truncated_is_json_that_fits(text: str, limit: int) -> None:
    data = text.encode()
    written = truncated(data, limit)
    assert len(written.encode()) <= limit
    told: dict[str, Any] = json.loads(written)
    assert (told["truncated"], told["bytes"]) == (True, len(data))
    assert text.startswith(told["head"])
    assert f"the first {len(told['head'].encode())} of {len(data)} bytes" in told["missing"]


def test_a_limit_that_is_too_small_for_any_head() -> None:
    told = json.loads(truncated(b"abc" * 100, 1))
    assert told["head"] == ""
    assert told["bytes"] == 300


def test_what_is_spilled_says_where_it_is_and_how_it_begins() -> None:
    data = "ü".encode() * 5_000
    told = json.loads(spilled(data, 100_000, Artifact("w.x", len(data), "w")))
    assert told == {"artifact": "w.x", "bytes": 10_000, "head": "ü" * (HEAD // 2), "read_with": "read_artifact"}
    assert len(spilled(data, 500, Artifact("w.x", len(data), "w")).encode()) <= 500
