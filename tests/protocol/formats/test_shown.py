"""What users and tools show: taken by providers as strict as theirs, and in words where they take no such bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strict.judge import FORMATS, objection_to
from toolwire.protocol.blob import Blob
from toolwire.protocol.formats.shown import heard_said, in_words, text_of
from toolwire.protocol.history import AssistantMessage, HistoryMessage, ToolMessage, UserMessage
from toolwire.protocol.said import Piece, said
from toolwire.protocol.tools import ToolCall

KINDS = ["image/png", "image/gif", "image/tiff", "image/svg+xml", "application/pdf", "text/plain", "text/csv"]
KINDS += ["application/json", "audio/wav", "audio/mpeg", "audio/ogg", "video/mp4", "application/zip"]
kinds = st.sampled_from(KINDS)
names = st.sampled_from(["", "a.png", "é.txt"])
data = st.binary(min_size=1, max_size=6)
blobs = st.builds(Blob, kinds, data, names) | st.builds(Blob, kinds, name=names, url=st.just("https://x.y/z"))
shown = st.lists(st.sampled_from(["look", "and", " ", ""]) | blobs, max_size=5)


@pytest.mark.parametrize("wire", FORMATS)
@given(first=shown, second=shown, content=blobs | st.lists(blobs, max_size=3))
def test_a_strict_provider_takes_it(
    wire: str, first: list[Piece], second: list[Piece], content: Blob | list[Blob]
) -> None:
    history: list[HistoryMessage] = [UserMessage(*said(first))]
    history += [AssistantMessage("", (ToolCall("c1", "look"), ToolCall("c2", "look")))]
    history += [ToolMessage(id_, "look", msgspec.json.encode(content).decode()) for id_ in ("c1", "c2")]
    history += [UserMessage(*said(second))]
    assert not objection_to(wire, history)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (Blob("text/csv", b"a,b", "t.csv"), "[t.csv]\na,b\n[end of t.csv]"),
        (Blob("application/json; charset=utf-8", b"{}"), None),
        (Blob("image/tiff", b"abc", "t.tiff"), "[t.tiff was shown here: image/tiff, of 3 bytes; it can't be told in"),
        (Blob("text/plain", b"\xff"), "[text/plain was shown here: of 1 bytes; it can't"),
        (Blob("audio/ogg", url="https://x.y/z"), "[audio/ogg was shown here: at https://x.y/z; it can't"),
    ],
)
def test_what_stands_in_its_place(blob: Blob, words: str | None) -> None:
    assert (text_of(blob) is None) == (words is not None and "was shown" in words)
    assert in_words(blob).startswith(words or "[application/json")


def test_bytes_that_are_none_are_not_heard() -> None:
    with pytest.raises(ValueError, match="without a byte in it has no word here"):
        heard_said(["a", Blob("image/png")])
