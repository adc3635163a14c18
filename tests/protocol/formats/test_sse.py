import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.formats.sse import EventStream


def heard(pieces: list[bytes]) -> list[bytes]:
    stream = EventStream()
    return [data for piece in pieces for data in stream.feed(piece)]


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\r\n\r\ndata: b\r\rdata: c\n\n", [b"a", b"b", b"c"]),
        (b"data: a\ndata:  b\ndata\n\n", [b"a\n b\n"]),
        (b": comment\nevent: x\nid: 1\nretry: 5\ndata: a\nother: b\ndatabase: c\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\n\n\r\n", []),
        (b"data: torn\n", []),
        (b"data:\n\n", [b""]),
    ],
)
def test_events(wire: bytes, events: list[bytes]) -> None:
    assert heard([wire]) == events
    assert heard([bytes([byte]) for byte in wire]) == events


@given(st.lists(st.text()), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_it_does_not_matter_where_the_bytes_are_cut(texts: list[str], ending: str, data: st.DataObject) -> None:
    values = [json.dumps(text, ensure_ascii=False) for text in texts]
    # The last CR LF of a stream in CRs alone can't be told from half of one: a comment follows.
    wire = "".join(f"data: {value}{ending}{ending}" for value in values).encode() + b": bye\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert heard(pieces) == [value.encode() for value in values]


def test_a_long_line_in_small_pieces_is_looked_through_once() -> None:
    stream = EventStream()
    assert not any(stream.feed(b"x" * 64) for _ in range(10_000))
    assert stream._searched == 640_000
    assert stream.feed(b"\ndata: a\n\n") == [b"a"]
