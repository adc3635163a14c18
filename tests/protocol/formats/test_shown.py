"""What users and tools show: taken by providers as strict as theirs, and in words where they take no such bytes."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strict.judge import FORMATS, objection_to
from toolwire.protocol.blob import Blob
from toolwire.protocol.formats.shown import heard_said, in_words, text_of
from toolwire.protocol.history import AssistantMessage, History, HistoryMessage, ToolMessage, UserMessage
from toolwire.protocol.said import Piece, said
from toolwire.protocol.tools import ToolCall, ToolResult

KINDS = ["image/png", "image/gif", "image/tiff", "image/svg+xml", "application/pdf", "text/plain", "text/csv"]
KINDS += ["application/json", "audio/wav", "audio/mpeg", "audio/ogg", "video/mp4", "application/zip"]
kinds = st.sampled_from(KINDS)
names = st.sampled_from(["", "a.png", "é.txt"])
data = st.binary(min_size=1, max_size=6)
URLS = ["https://x.y/z", "file:///etc/passwd", "javascript:alert(1)", "data:image/png;base64,eA==", "gs://a/b", "//x"]
blobs = st.builds(Blob, kinds, data, names) | st.builds(Blob, kinds, name=names, url=st.sampled_from(URLS))
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


TELLING = ["openai", "openai_responses", "anthropic", "gemini"]


@pytest.mark.parametrize("wire", TELLING)
@pytest.mark.parametrize("kind", ["image/png", "application/pdf"])
@pytest.mark.parametrize("url", [*URLS[1:4], "//x"])
def test_nobody_is_sent_where_no_provider_goes(wire: str, kind: str, url: str) -> None:
    content = msgspec.json.encode(Blob(kind, url=url)).decode()
    history = History([UserMessage("", (Blob(kind, url=url),)), AssistantMessage("", (ToolCall("c1", "look"),))])
    history = History([*history, ToolMessage("c1", "look", content)])
    told = json.dumps(getattr(history, f"to_{wire}")())
    assert not re.search(r'"(image_url|file_url|fileUri|file_data)"|"type": "url"', told)
    assert told.count(url) == 2


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        ("openai_responses", "audio/wav"),
        ("openai_responses", "video/mp4"),
        ("openai_responses", "application/zip"),
        ("openai_responses", "image/tiff"),
        ("gemini", "image/gif"),
        ("gemini", "application/zip"),
    ],
)
def test_bytes_in_a_result_that_would_be_refused_are_named(wire: str, kind: str) -> None:
    told = json.dumps(getattr(ToolResult("c1", "t", msgspec.json.encode(Blob(kind, b"xyz")).decode()), f"to_{wire}")())
    assert "left_out" in told
    assert "eHl6" not in told
